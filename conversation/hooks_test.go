package conversation_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

// oracle is an application in this process.
type oracle struct {
	mu struct {
		sync.Mutex
		asked []string
		// lasts is for how many seconds what is granted or renewed lasts, 0 for
		// ever; renewals how often it is renewed before it ends.
		lasts    int64
		renewals int
		slow     time.Duration
	}
}

func (o *oracle) ask(format string, args ...any) {
	o.mu.Lock()
	o.mu.asked = append(o.mu.asked, fmt.Sprintf(format, args...))
	slow := o.mu.slow
	o.mu.Unlock()
	<-time.After(slow)
}

func (o *oracle) said() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.mu.asked
	o.mu.asked = nil
	return out
}

func (o *oracle) end() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.lasts == 0 {
		return 0
	}
	return time.Now().Unix() + o.mu.lasts
}

func (o *oracle) again() (auth.Renewal, error) {
	at := o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.renewals--
	return auth.Renewal{ExpiresAt: at, Expired: o.mu.renewals < 0}, nil
}

func (o *oracle) Asks(string) bool                        { return true }
func (o *oracle) Headers(http.Header) map[string][]string { return nil }

func (o *oracle) AskConnect(_ context.Context, _ *hub.Session, r *protocol.ConnectRequest) (*auth.Admission, error) {
	o.ask("connect")
	return &auth.Admission{Identity: &auth.Identity{User: string(r.Data), ExpiresAt: o.end()}, Data: []byte(`"hi"`)}, nil
}

func (o *oracle) AskRefresh(_ context.Context, s *hub.Session) (auth.Renewal, error) {
	o.ask("refresh %s", s.Identity().User)
	return o.again()
}

func (o *oracle) AskSubRefresh(_ context.Context, _ *hub.Session, name string) (auth.Renewal, error) {
	o.ask("sub_refresh %s", name)
	return o.again()
}

func (o *oracle) AskSubscribe(_ context.Context, _ *hub.Session, r *hub.SubscribeRequest) (*auth.Grant, error) {
	o.ask("subscribe %s", r.Channel)
	return &auth.Grant{Channel: r.Channel, ExpiresAt: o.end()}, nil
}

func (o *oracle) AskPublish(_ context.Context, _ *hub.Session, r *channel.PublishRequest) error {
	o.ask("publish %s", r.Channel)
	return nil
}

func (o *oracle) AskRPC(_ context.Context, _ *hub.Session, method string, data []byte) ([]byte, error) {
	o.ask("rpc %s", method)
	return data, nil
}

func asking(o *oracle) conversationtest.Options {
	spaces := conversationtest.Namespaces()
	spaces["ask"] = &hub.Namespace{Policy: &channel.Policy{Namespace: "ask"}, AskSubscribe: true, AskPublish: true}
	return conversationtest.Options{Namespaces: spaces, Hooks: o, Private: true, Quiet: true}
}

func (p *peer) meets(name string) {
	p.t.Helper()
	r := p.do(&command{Id: 1, Connect: &protocol.ConnectRequest{Data: []byte(name)}})
	if len(r) != 1 || r[0].Connect == nil || string(r[0].Connect.Data) != `"hi"` || r[0].Connect.Expires {
		p.t.Fatalf("connect gave %s", tell(r))
	}
}

// The hooks are asked by name, and who has a token is not asked about.
func TestHooksAreAsked(t *testing.T) {
	o := new(oracle)
	stage(t, asking(o), func(t *testing.T, w *world) {
		p := w.open(t)
		p.meets("1")
		p.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "ask:x"}})
		p.expectAll("3 publish, ask:x pub 5", &command{Id: 3, Publish: &protocol.PublishRequest{Channel: "ask:x", Data: []byte("5")}})
		p.expect("4 rpc", &command{Id: 4, Rpc: &protocol.RPCRequest{Method: "sum", Data: []byte("5")}})
		p.expect("5 rpc", &command{Id: 5, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
		p.expect("6 error 104", &command{Id: 6, Rpc: &protocol.RPCRequest{Method: "myelin.nothing"}})
		if got := o.said(); !slices.Equal(got, []string{"connect", "subscribe ask:x", "publish ask:x", "rpc sum"}) {
			t.Errorf("asked %q", got)
		}
		q := w.open(t)
		q.connect(conversationtest.Token(t, claims{"sub": "ann"}))
		if got := o.said(); len(got) > 0 {
			t.Errorf("asked %q of who has a token", got)
		}
	})
}

// Where the application is asked, who brings a subscription token is let in by
// that, and not asked about.
func TestASubscriptionTokenNeedsNoAsking(t *testing.T) {
	o := new(oracle)
	stage(t, asking(o), func(t *testing.T, w *world) {
		p := w.open(t)
		p.meets("1")
		token := conversationtest.Token(t, claims{"sub": "1", "channel": "ask:x"})
		p.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "ask:x", Token: token}})
		if got := o.said(); !slices.Equal(got, []string{"connect"}) {
			t.Errorf("asked %q", got)
		}
	})
}

// What ends is asked about before it does, and ends when the application says
// so or does not hear of it any more.
func TestRenewals(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		o := new(oracle)
		w = &world{conversationtest.New(t, asking(o)), w.format}
		o.mu.lasts, o.mu.renewals = 100, 3
		p := w.open(t)
		p.meets("1")
		time.Sleep(time.Second)
		if got := o.said(); len(got) != 1 {
			t.Errorf("asked %q at once", got)
		}
		time.Sleep(100 * time.Second)
		if got := o.said(); !slices.Equal(got, []string{"refresh 1"}) || p.gone {
			t.Errorf("asked %q", got)
		}
		o.mu.Lock()
		o.mu.lasts = 5
		o.mu.Unlock()
		p.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "ask:x"}})
		time.Sleep(5 * time.Second)
		if got := o.said(); !slices.Equal(got, []string{"subscribe ask:x", "sub_refresh ask:x"}) {
			t.Errorf("asked %q", got)
		}
		o.mu.Lock()
		o.mu.renewals = 0
		o.mu.Unlock()
		time.Sleep(5 * time.Second)
		if got := tell(p.rest()); got != "ask:x unsubscribed 2501" {
			t.Errorf("told %q", got)
		}
		time.Sleep(200 * time.Second)
		if got := o.said(); !slices.Equal(got, []string{"sub_refresh ask:x", "refresh 1"}) {
			t.Errorf("asked %q", got)
		}
		if got := tell(p.rest()); got != "disconnect 3005" {
			t.Errorf("told %q", got)
		}
		// Who has gone is not asked about.
		q := w.open(t)
		q.meets("2")
		q.conv.Close(hub.DisconnectConnectionClosed)
		o.said()
		time.Sleep(time.Hour)
		if got := o.said(); len(got) > 0 {
			t.Errorf("asked %q of nobody", got)
		}
	})
}

// Many that came together are asked about one after the other, not all in the
// same moment, and each in time.
func TestRenewalsAreSpread(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		o := new(oracle)
		w = &world{conversationtest.New(t, asking(o)), w.format}
		o.mu.lasts, o.mu.renewals = 1000, 1000
		var all []*peer
		for range 100 {
			p := w.open(t)
			p.meets("1")
			all = append(all, p)
		}
		o.said()
		o.mu.Lock()
		o.mu.lasts = 0
		o.mu.Unlock()
		time.Sleep(979 * time.Second)
		for range 12 {
			time.Sleep(time.Second)
			if n := len(o.said()); n > 40 {
				t.Errorf("%d were asked about in one second", n)
			}
		}
		time.Sleep(time.Hour)
		for _, p := range all {
			if got := tell(p.rest()); got != "" {
				t.Fatalf("told %q", got)
			}
		}
	})
}

// Who waits for a hook is not in the way of others.
func TestASlowHookHoldsUpItsClientAlone(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		o := new(oracle)
		w = &world{conversationtest.New(t, asking(o)), w.format}
		p, q := w.open(t), w.open(t)
		p.meets("1")
		q.meets("2")
		o.mu.Lock()
		o.mu.slow = time.Minute
		o.mu.Unlock()
		var waiting sync.WaitGroup
		waiting.Go(func() { p.conv.Handle(frame(p.format, &command{Id: 2, Rpc: &protocol.RPCRequest{Method: "slow"}})) })
		began := time.Now()
		q.expect("3 rpc", &command{Id: 3, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
		if time.Since(began) > 0 {
			t.Error("it waited")
		}
		waiting.Wait()
		if got := tell(p.rest()); got != "2 rpc" {
			t.Errorf("told %q", got)
		}
	})
}
