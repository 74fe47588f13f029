package conversation_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/protocol"
)

// What an error comes to where it cannot be answered, and as an HTTP status.
func TestErrorsWithoutAReply(t *testing.T) {
	for _, c := range []struct {
		err        error
		disconnect uint32
		status     int
	}{
		{channel.ErrInternal, 3004, 500},
		{errors.New("something of the server's own"), 3004, 500},
		{channel.ErrUnauthorized, 3507, 401},
		{channel.ErrUnknownChannel, 3507, 404},
		{channel.ErrPermissionDenied, 3507, 403},
		{channel.ErrLimitExceeded, 3505, 503},
		{channel.ErrBadRequest, 3501, 400},
		{channel.ErrNotAvailable, 3501, 400},
		{channel.ErrTokenExpired, 3005, 401},
		{channel.ErrExpired, 3005, 401},
		{channel.ErrTooManyRequests, 3013, 429},
		{channel.ErrUnrecoverable, 3501, 400},
		{channel.ErrUnavailable, 3004, 503},
		{channel.ErrTooLarge, 3501, 413},
		{hub.DisconnectInvalidToken, 3500, 401},
		{hub.DisconnectExpired, 3005, 401},
		{hub.DisconnectConnectionClosed, 3000, 503},
		{hub.DisconnectShutdown, 3001, 503},
		{hub.DisconnectBadRequest, 3501, 400},
		{hub.DisconnectForceNoReconnect, 3503, 403},
		{hub.DisconnectConnectionLimit, 3504, 429},
		{hub.DisconnectPermissionDenied, 3507, 403},
	} {
		if d := conversation.AsDisconnect(c.err); d.Code != c.disconnect || d.Reason == "" {
			t.Errorf("%v: disconnect %v, want %d", c.err, d, c.disconnect)
		}
		a := httptest.NewRecorder()
		conversation.Refuse(a, c.err)
		var body struct {
			Error struct {
				Code    uint32
				Message string
			}
		}
		if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil || body.Error.Code == 0 || body.Error.Message == "" {
			t.Errorf("%v: body %q: %v", c.err, a.Body, err)
		}
		if a.Code != c.status || strings.Contains(a.Body.String(), "server's own") {
			t.Errorf("%v: %d %s, want %d", c.err, a.Code, a.Body, c.status)
		}
	}
}

// A reason fits into a close frame and is text, wherever it has to be cut.
func TestReasons(t *testing.T) {
	for i := range 130 {
		text := strings.Repeat("a", i) + strings.Repeat("é€😀", 20)
		got := conversation.Reason(text)
		if len(got) > 123 || len(got) < 120 || !utf8.ValidString(got) || !strings.HasPrefix(text, got) {
			t.Errorf("%d: %q (%d bytes)", i, got, len(got))
		}
	}
	if got := conversation.Reason("short"); got != "short" {
		t.Errorf("%q", got)
	}
	d := conversation.AsDisconnect(channel.ErrBadRequest.With(strings.Repeat("é", 200)))
	if len(d.Reason) > 123 || !utf8.ValidString(d.Reason) {
		t.Errorf("%q", d.Reason)
	}
}

func FuzzOneWayRequest(f *testing.F) {
	f.Add(false, []byte(`{"token":"x","subs":{"a":{"recover":true}}}`), "b")
	f.Add(true, []byte("\n\x01x"), "")
	f.Fuzz(func(t *testing.T, protobuf bool, first []byte, name string) {
		format := protocol.JSON
		if protobuf {
			format = protocol.Protobuf
		}
		r, err := conversation.OneWayRequest(format, first, map[string][]string{"channel": {name, name}, "token": {"t"}})
		if err != nil {
			return
		}
		if r.Token == "" || r.Subs[name] == nil {
			t.Errorf("%v does not ask for what the query does", r)
		}
		for _, sub := range r.Subs {
			if sub == nil {
				t.Error("a subscription is nil")
			}
		}
	})
}
