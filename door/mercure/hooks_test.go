package mercure_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/door/mercure"
	"myelin/hub"
	"myelin/protocol"
)

// app is an application that answers as a test says, and what it was asked.
type app struct {
	mu struct {
		sync.Mutex
		asked []string
	}
	connect func(r *protocol.ConnectRequest) (*auth.Admission, error)
	renew   func() (auth.Renewal, error)
}

func (a *app) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.asked = append(a.mu.asked, what)
}

func (a *app) said() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.mu.asked
	a.mu.asked = nil
	return out
}

func (a *app) Asks(name string) bool {
	return name == "connect" && a.connect != nil || name == "refresh" && a.renew != nil
}
func (a *app) Headers(h http.Header) map[string][]string { return h }

func (a *app) AskConnect(_ context.Context, s *hub.Session, r *protocol.ConnectRequest) (*auth.Admission, error) {
	about := s.About()
	a.note("connect " + about.Transport + " " + about.Protocol + " " + about.Headers["Cookie"][0])
	for name := range r.Subs {
		a.note("for " + name)
	}
	return a.connect(r)
}

func (a *app) AskRefresh(context.Context, *hub.Session) (auth.Renewal, error) {
	a.note("refresh")
	return a.renew()
}

func (a *app) AskSubRefresh(context.Context, *hub.Session, string) (auth.Renewal, error) {
	return auth.Renewal{}, errors.New("not asked")
}

func (a *app) AskSubscribe(_ context.Context, s *hub.Session, r *hub.SubscribeRequest) (*auth.Grant, error) {
	a.note("subscribe " + r.Channel + " " + s.Identity().User)
	if strings.HasSuffix(r.Channel, "forbidden") {
		return nil, &channel.Error{Code: 1403, Message: "not for you"}
	}
	return &auth.Grant{Channel: r.Channel}, nil
}

func (a *app) AskPublish(_ context.Context, s *hub.Session, r *channel.PublishRequest) error {
	a.note("publish " + r.Channel + " " + s.Identity().User)
	switch string(r.Data) {
	case `"never"`:
		return &channel.Error{Code: 1403, Message: "not this"}
	case `"gone"`:
		return hub.Disconnect{Code: 4500, Reason: "out"}
	}
	r.Data, r.ContentType = []byte(`{"checked":1}`), channel.ContentJSON
	return nil
}

func (a *app) AskRPC(context.Context, *hub.Session, string, []byte) ([]byte, error) {
	return nil, errors.New("no rpc comes from here")
}

// The application says who listens and to what else, and is asked about public
// topics and what is published to them.
func TestTheApplicationIsAsked(t *testing.T) {
	a := &app{connect: func(*protocol.ConnectRequest) (*auth.Admission, error) {
		return &auth.Admission{Identity: &auth.Identity{
			User: "ann", Channels: []string{"mercure-private:mine", "chat:other", "mercure:**", "mercure:given"},
		}}, nil
	}}
	s := newStageWith(t, mercure.Options{}, a)
	cookie := map[string]string{"Cookie": "s=1"}
	_, in := s.listen(t, "?match=a&topic=b", cookie)
	want := []string{"connect sse mercure s=1", "for mercure:a", "for mercure:b", "subscribe mercure:a ann", "subscribe mercure:b ann"}
	got := a.said()
	slices.Sort(got[1:3])
	if !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	for _, form := range []string{"topic=mine&data=1&private", "topic=other&data=no", "topic=given&data=x", "topic=a&data=x"} {
		s.publish(t, form)
	}
	for _, want := range []string{"1", `{"checked":1}`, `{"checked":1}`} {
		if e := next(t, in); e.data != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	if got, want := a.said(), []string{"publish mercure:other ", "publish mercure:given ", "publish mercure:a "}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	if n := s.Hub.Connections(); n != 1 {
		t.Errorf("%d sessions: those of publishers are left", n)
	}
	for data, status := range map[string]int{"never": 403, "gone": 403} {
		r := s.do(t, http.MethodPost, "", "topic=a&data="+data, bearer(old(t, "*")))
		if b, _ := io.ReadAll(r.Body); r.StatusCode != status || !strings.Contains(string(b), "insufficient_scope") {
			t.Errorf("%s: %s %s", data, r.Status, b)
		}
	}
	if r := s.do(t, http.MethodGet, "?match=forbidden", "", cookie); r.StatusCode != http.StatusForbidden {
		t.Errorf("%s", r.Status)
	}
	// Nobody can be asked about all topics at once.
	if r := s.do(t, http.MethodGet, "?match=*", "", cookie); r.StatusCode != http.StatusBadRequest {
		t.Errorf("%s", r.Status)
	}
	a.said()
	// Who has a token is who that says, and the claims are what they are.
	s.listen(t, "?match=p", bearer(old(t, "p")))
	if got := a.said(); !slices.Equal(got, []string{"subscribe mercure:p "}) {
		t.Errorf("asked %q", got)
	}
}

// What the application says of who may not listen, in the protocol's words.
func TestTheApplicationTurnsAway(t *testing.T) {
	for _, c := range []struct {
		err       error
		status    int
		challenge string
	}{
		{hub.Disconnect{Code: 4501, Reason: "banned"}, 403, `error="insufficient_scope"`},
		{hub.Disconnect{Code: 4001, Reason: "come back"}, 503, ""},
		{&channel.Error{Code: 1403, Message: "not for you"}, 403, `error="insufficient_scope"`},
		{channel.ErrUnavailable.With("nobody answers"), 503, ""},
	} {
		a := &app{connect: func(*protocol.ConnectRequest) (*auth.Admission, error) { return nil, c.err }}
		var log logged
		s := newStageWith(t, mercure.Options{Anonymous: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}, a)
		r := s.do(t, http.MethodGet, "?match=a", "", map[string]string{"Cookie": "s=1"})
		if got := r.Header.Get("WWW-Authenticate"); r.StatusCode != c.status || !strings.Contains(got, c.challenge) {
			t.Errorf("%v: %s %s", c.err, r.Status, got)
		}
		if n := s.Hub.Connections(); n != 0 || log.text() != "" {
			t.Errorf("%d connections, logged %s", n, log.text())
		}
	}
}

// A stream that ends is asked about before it does, and ends where it may not
// go on.
func TestTheApplicationIsAskedAgain(t *testing.T) {
	soon := func() int64 { return time.Now().Unix() + 2 }
	var mu sync.Mutex
	left := 1
	a := &app{
		connect: func(*protocol.ConnectRequest) (*auth.Admission, error) {
			return &auth.Admission{Identity: &auth.Identity{Anonymous: true, ExpiresAt: soon()}}, nil
		},
		renew: func() (auth.Renewal, error) {
			mu.Lock()
			defer mu.Unlock()
			left--
			return auth.Renewal{ExpiresAt: soon(), Expired: left < 0}, nil
		},
	}
	s := newStageWith(t, mercure.Options{}, a)
	_, in := s.listen(t, "?match=a", map[string]string{"Cookie": "s=1"})
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Error(err)
	}
	if got := a.said(); len(got) != 5 || got[3] != "refresh" || got[4] != "refresh" {
		t.Errorf("asked %q", got)
	}
}
