package protocol_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/protocol"
)

func TestContentType(t *testing.T) {
	for _, c := range []struct {
		f    protocol.Format
		data string
		want string
	}{
		{protocol.JSON, `{"a":1}`, channel.ContentJSON},
		{protocol.Protobuf, `{"a":1}`, channel.ContentJSON},
		{protocol.Protobuf, " 1\n", channel.ContentJSON},
		{protocol.Protobuf, `"ä"`, channel.ContentJSON},
		{protocol.Protobuf, ``, channel.ContentBytes},
		{protocol.Protobuf, `{"a":}`, channel.ContentBytes},
		{protocol.Protobuf, `1 2`, channel.ContentBytes},
		{protocol.Protobuf, "\x00", channel.ContentBytes},
		// encoding/json takes this for JSON; a browser drops the connection.
		{protocol.Protobuf, "\"\xff\"", channel.ContentBytes},
	} {
		if got := protocol.ContentType(c.f, []byte(c.data)); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.f, c.data, got, c.want)
		}
	}
}

func TestPayloadOfBytes(t *testing.T) {
	for data, want := range map[string]string{
		"":             `{"$b64":""}`,
		"\x00":         `{"$b64":"AA=="}`,
		"\xfb\xff":     `{"$b64":"+/8="}`,
		"\xff\xfe\xfd": `{"$b64":"//79"}`,
	} {
		p := &channel.Publication{Data: []byte(data), ContentType: channel.ContentBytes}
		if got := string(protocol.Payload(protocol.JSON, p)); got != want {
			t.Errorf("%q for a JSON client: %s, want %s", data, got, want)
		}
		if got := string(protocol.Payload(protocol.Protobuf, p)); got != data {
			t.Errorf("%q for a Protobuf client: %q", data, got)
		}
	}
	p := &channel.Publication{Data: []byte(`{"a": 1}`), ContentType: channel.ContentJSON}
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		if got := string(protocol.Payload(f, p)); got != `{"a": 1}` {
			t.Errorf("%s: %s is not the JSON as it came", f, got)
		}
	}
}

// TestAnyPayloadReachesJSON shows that whatever a Protobuf client publishes, a
// JSON client gets one line of JSON, and the same bytes from it.
func TestAnyPayloadReachesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(jsonValue(), func(r protocol.Raw) []byte { return r }),
			rapid.SliceOf(rapid.SampledFrom([]byte(" \n\"\\{}:0a\xff"))),
		).Draw(t, "data")
		p := &channel.Publication{Data: data, ContentType: protocol.ContentType(protocol.Protobuf, data)}
		frame := protocol.AppendPush(nil, protocol.JSON, &protocol.Push{Channel: "a", Pub: protocol.FromPublication(protocol.JSON, p, false)})
		if bytes.IndexByte(frame, '\n') >= 0 || !json.Valid(frame) {
			t.Fatalf("not one line of JSON: %q", frame)
		}
		got, err := pushCodec().all(protocol.JSON, frame)
		if err != nil || len(got) != 1 {
			t.Fatalf("%q: %v", frame, err)
		}
		if p.ContentType == channel.ContentJSON {
			if want := bytes.ReplaceAll(data, []byte{'\n'}, nil); !bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(got[0].Pub.Data)) {
				t.Fatalf("%q, want %q", got[0].Pub.Data, want)
			}
			return
		}
		var wrapped struct {
			B64 string `json:"$b64"`
		}
		if err := json.Unmarshal(got[0].Pub.Data, &wrapped); err != nil {
			t.Fatal(err)
		}
		if back, err := base64.StdEncoding.DecodeString(wrapped.B64); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%q (%v), want %q", back, err, data)
		}
	})
}

// TestLineBreaksInAPayload shows that JSON written over several lines stays
// one message, and that only its line breaks go.
func TestLineBreaksInAPayload(t *testing.T) {
	p := &channel.Publication{Data: []byte("{\n  \"a\": \"b\\nc\",\r\n\t\"d\": [\n1\n]\n}\n"), ContentType: channel.ContentJSON}
	r := &protocol.Reply{Push: &protocol.Push{Channel: "x", Pub: protocol.FromPublication(protocol.JSON, p, false)}}
	frame := replyCodec().frame(protocol.JSON, r, r)
	if n := bytes.Count(frame, []byte{'\n'}); n != 1 {
		t.Fatalf("%d line breaks between two messages: %q", n, frame)
	}
	got, err := replyCodec().all(protocol.JSON, frame)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if want := "{  \"a\": \"b\\nc\",\r\t\"d\": [1]}"; string(got[1].Push.Pub.Data) != want {
		t.Errorf("%q, want %q", got[1].Push.Pub.Data, want)
	}
	inProtobuf := protocol.FromPublication(protocol.Protobuf, p, false)
	if !bytes.Equal(inProtobuf.Data, p.Data) {
		t.Errorf("a Protobuf client gets %q", inProtobuf.Data)
	}
}

func TestFromPublication(t *testing.T) {
	p := &channel.Publication{
		Data: []byte(`1`), ContentType: channel.ContentJSON, Position: channel.Position{Epoch: "e", Offset: 7},
		Tags: map[string]string{"k": "v"},
		Info: &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte(`{}`), ChanInfo: []byte(`[]`)},
	}
	want := &protocol.Publication{
		Data: raw(`1`), Offset: 7, Tags: map[string]string{"k": "v"},
		Info: &protocol.ClientInfo{User: "u", Client: "c", ConnInfo: raw(`{}`), ChanInfo: raw(`[]`)},
	}
	if got := protocol.FromPublication(protocol.JSON, p, true); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	want.Offset = 0
	if got := protocol.FromPublication(protocol.Protobuf, p, false); !reflect.DeepEqual(got, want) {
		t.Errorf("not recoverable: %v, want %v", got, want)
	}
	p.Info = nil
	if got := protocol.FromPublication(protocol.JSON, p, true); got.Info != nil {
		t.Errorf("info of nobody: %v", got.Info)
	}
}

func TestFromError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want *protocol.Error
	}{
		{channel.ErrUnknownChannel, &protocol.Error{Code: 102, Message: "unknown channel"}},
		{channel.ErrTooManyRequests, &protocol.Error{Code: 111, Message: "too many requests", Temporary: true}},
		{fmt.Errorf("context: %w", channel.ErrBadRequest.With("no channel")), &protocol.Error{Code: 107, Message: "bad request: no channel"}},
		{channel.ErrUnavailable.Wrap(errors.New("secret")), &protocol.Error{Code: 1000, Message: "engine unavailable", Temporary: true}},
		{errors.New("secret"), &protocol.Error{Code: 100, Message: "internal server error", Temporary: true}},
	} {
		if got := protocol.FromError(c.err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// TestAppendGoesOn shows that Append functions keep what is in the buffer, and
// write the same with room to spare, with dirt in that room, and with none.
func TestAppendGoesOn(t *testing.T) {
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		for _, e := range replies() {
			want := protocol.AppendReply(nil, f, e.message)
			for room := range len(want) + 20 {
				b := append(bytes.Repeat([]byte{0xAA}, room), "head"...)
				got := protocol.AppendReply(append(b[:0], "head"...), f, e.message)
				if string(got) != "head"+string(want) {
					t.Fatalf("%s %s with room %d: %q", f, e.kind, room, got)
				}
			}
		}
	}
	large := &protocol.Reply{Rpc: &protocol.RPCResult{Data: raw(`"` + strings.Repeat("x", 1<<20) + `"`)}}
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		got, err := replyCodec().all(f, replyCodec().frame(f, large))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], large) {
			t.Errorf("%s: a megabyte did not come back: %v", f, err)
		}
	}
}

func TestFormatNames(t *testing.T) {
	if protocol.JSON.String() != "json" || protocol.Protobuf.String() != "protobuf" {
		t.Errorf("%s, %s", protocol.JSON, protocol.Protobuf)
	}
}
