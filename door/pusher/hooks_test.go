package pusher_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/door/pusher"
	"myelin/hub"
	"myelin/protocol"
)

// app is an application that answers as a test says, and what it was asked.
type app struct {
	mu struct {
		sync.Mutex
		asked []string
	}
	connect   func(r *protocol.ConnectRequest) (*auth.Admission, error)
	subscribe func(channel string) (*auth.Grant, error)
	publish   func(r *channel.PublishRequest) error
	renew     func() (auth.Renewal, error)
}

func (a *app) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.asked = append(a.mu.asked, what)
}

func (a *app) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := strings.Join(a.mu.asked, ", ")
	a.mu.asked = nil
	return out
}

func (a *app) Asks(name string) bool {
	return name == "connect" && a.connect != nil || name == "refresh" && a.renew != nil || name == "sub_refresh" && a.renew != nil
}
func (a *app) Headers(h http.Header) map[string][]string { return h }

func (a *app) AskConnect(_ context.Context, s *hub.Session, r *protocol.ConnectRequest) (*auth.Admission, error) {
	about := s.About()
	a.note("connect " + about.Transport + " " + about.Protocol + " " + r.Name + " " + r.Version + about.Headers["Upgrade"][0])
	return a.connect(r)
}

func (a *app) AskRefresh(context.Context, *hub.Session) (auth.Renewal, error) {
	a.note("refresh")
	return a.renew()
}

func (a *app) AskSubRefresh(_ context.Context, _ *hub.Session, name string) (auth.Renewal, error) {
	a.note("sub_refresh " + name)
	return a.renew()
}

func (a *app) AskSubscribe(_ context.Context, _ *hub.Session, r *hub.SubscribeRequest) (*auth.Grant, error) {
	a.note("subscribe " + r.Channel + " " + string(r.Data))
	if a.subscribe == nil {
		return &auth.Grant{Channel: r.Channel}, nil
	}
	return a.subscribe(r.Channel)
}

func (a *app) AskPublish(_ context.Context, s *hub.Session, r *channel.PublishRequest) error {
	a.note("publish " + r.Channel + " " + r.Tags["event"] + " " + s.Identity().User)
	return a.publish(r)
}

func (a *app) AskRPC(context.Context, *hub.Session, string, []byte) ([]byte, error) {
	return nil, errors.New("no rpc comes from here")
}

// The application says who connects, gives channels, and is asked about others.
func TestTheApplicationIsAsked(t *testing.T) {
	a := &app{
		connect: func(*protocol.ConnectRequest) (*auth.Admission, error) {
			return &auth.Admission{Identity: &auth.Identity{
				User: "ann", Info: []byte(`{"n":1}`), Channels: []string{"pub:news", "chat:other", "priv:presence-x", "priv:private-mine"},
			}}, nil
		},
		subscribe: func(of string) (*auth.Grant, error) {
			switch {
			case strings.HasSuffix(of, "-no"):
				return nil, &channel.Error{Code: 1403, Message: "not for you"}
			case strings.HasSuffix(of, "-late"):
				return nil, channel.ErrUnavailable.With("nobody answers")
			}
			return &auth.Grant{Channel: of}, nil
		},
		publish: func(r *channel.PublishRequest) error {
			if r.Tags["event"] == "client-bad" {
				return &channel.Error{Code: 1400, Message: "mind your words"}
			}
			r.Data, r.ContentType = []byte(`{"checked":true}`), channel.ContentJSON
			return nil
		},
	}
	s := newStageAsking(t, hub.Limits{}, a)
	p := s.connect(t)
	if got := a.said(); got != "connect websocket pusher test 1websocket" {
		t.Errorf("asked %q", got)
	}
	s.Publish(t, "pub:news", 1)
	if m := p.wants("message"); m.Channel != "news" || m.text() != "1" {
		t.Errorf("%+v", m)
	}
	// What it has it need not be asked about, nor signed for.
	p.join("news", "")
	p.wants("pusher_internal:subscription_succeeded")
	p.send(`{"event":"pusher:subscribe","data":{"channel":"private-mine"}}`)
	p.wants("pusher_internal:subscription_succeeded")
	p.join("private-signed", "")
	p.wants("pusher_internal:subscription_succeeded")
	if got := a.said(); got != "" {
		t.Errorf("asked %q", got)
	}
	p.send(`{"event":"pusher:subscribe","data":{"channel":"open"}}`)
	p.wants("pusher_internal:subscription_succeeded")
	p.send(`{"event":"pusher:subscribe","data":{"channel":"private-a","channel_data":"x"}}`)
	p.wants("pusher_internal:subscription_succeeded")
	if got := a.said(); got != "subscribe pub:open , subscribe priv:private-a x" {
		t.Errorf("asked %q", got)
	}
	for of, want := range map[string]string{
		"private-no": `{"error":"not for you","status":403,"type":"AuthError"}`, "b-late": `"status":503`, "presence-x": `"status":401`,
	} {
		p.send(`{"event":"pusher:subscribe","data":{"channel":%q}}`, of)
		if m := p.wants("pusher:subscription_error"); !strings.Contains(string(m.Data), want) {
			t.Errorf("%s: %s", of, m.Data)
		}
	}
	a.said()
	// Who he is in a presence channel is signed, or the application's word.
	p.join("presence-x", "")
	if m := p.wants("pusher_internal:subscription_succeeded"); !strings.Contains(m.text(), `"hash":{"ann":{"n":1}}`) {
		t.Errorf("%s", m.text())
	}
	other := s.connect(t)
	other.join("private-a", "")
	other.wants("pusher_internal:subscription_succeeded")
	a.said()
	p.send(`{"event":"client-x","channel":"private-a","data":"raw"}`)
	if m := other.wants("client-x"); m.text() != `{"checked":true}` {
		t.Errorf("%s", m.text())
	}
	p.send(`{"event":"client-bad","channel":"private-a","data":"raw"}`)
	if m := p.wants("pusher:error"); !strings.Contains(string(m.Data), "mind your words") {
		t.Errorf("%s", m.Data)
	}
	if got := a.said(); got != "publish priv:private-a client-x ann, publish priv:private-a client-bad ann" {
		t.Errorf("asked %q", got)
	}
	// Nobody becomes another by signing in.
	quoted, _ := json.Marshal(`{"id":"bob"}`)
	p.send(`{"event":"pusher:signin","data":{"auth":"%s","user_data":%s}}`, key+":"+pusher.Sign(secret, p.socket+`::user::{"id":"bob"}`), quoted)
	p.wants("pusher:error")
	// Of what it left nothing comes.
	p.send(`{"event":"pusher:unsubscribe","data":{"channel":"news"}}`)
	p.send(`{"event":"pusher:ping"}`)
	p.wants("pusher:pong")
	s.Publish(t, "pub:news", 2)
	p.send(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
	p.wants("pusher_internal:subscription_succeeded")
}

// What the application says of who may not connect, in the protocol's codes.
func TestTheApplicationTurnsAway(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{hub.Disconnect{Code: 4501, Reason: "banned"}, 4009, "banned"},
		{hub.Disconnect{Code: 4001, Reason: "come back"}, 4100, "come back"},
		{&channel.Error{Code: 1403, Message: "not for you"}, 4009, "not for you"},
		{channel.ErrUnavailable.With("nobody answers"), 4100, "nobody answers"},
	} {
		a := &app{connect: func(*protocol.ConnectRequest) (*auth.Admission, error) { return nil, c.err }}
		s := newStageAsking(t, hub.Limits{}, a)
		p := s.dial(t, "/app/"+key+"?protocol=7")
		if m := p.wants("pusher:error"); !strings.Contains(string(m.Data), c.text) {
			t.Errorf("%v: %s", c.err, m.Data)
		}
		if m := p.wants("close"); m.code != c.code {
			t.Errorf("%v: %d, want %d", c.err, m.code, c.code)
		}
		if n := s.Hub.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
	}
}

// A connection and a subscription that end are asked about before they do, also
// of a user who signed in meanwhile; where they may not go on he comes back.
func TestTheApplicationIsAskedAgain(t *testing.T) {
	soon := func() int64 { return time.Now().Unix() + 2 }
	renewed := make(chan struct{}, 16)
	var mu sync.Mutex
	left := 3
	a := &app{
		connect: func(*protocol.ConnectRequest) (*auth.Admission, error) {
			return &auth.Admission{Identity: &auth.Identity{Anonymous: true, ExpiresAt: soon()}}, nil
		},
		subscribe: func(of string) (*auth.Grant, error) { return &auth.Grant{Channel: of, ExpiresAt: soon()}, nil },
		renew: func() (auth.Renewal, error) {
			mu.Lock()
			defer mu.Unlock()
			left--
			renewed <- struct{}{}
			return auth.Renewal{ExpiresAt: soon(), Expired: left < 0}, nil
		},
	}
	s := newStageAsking(t, hub.Limits{}, a)
	p := s.connect(t)
	p.join("a", "")
	p.wants("pusher_internal:subscription_succeeded")
	quoted, _ := json.Marshal(`{"id":"ann"}`)
	p.send(`{"event":"pusher:signin","data":{"auth":"%s","user_data":%s}}`, key+":"+pusher.Sign(secret, p.socket+`::user::{"id":"ann"}`), quoted)
	p.wants("pusher:signin_success")
	for range 4 {
		<-renewed
	}
	if m := p.wants("close"); m.code != 4200 {
		t.Errorf("%d", m.code)
	}
	if got := a.said(); !strings.Contains(got, "refresh") || !strings.Contains(got, "sub_refresh pub:a") {
		t.Errorf("asked %q", got)
	}
}
