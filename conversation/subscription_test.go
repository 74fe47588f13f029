package conversation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

func recoverFrom(name string, r *protocol.SubscribeResult, offset uint64) *command {
	return &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: name, Recover: true, Epoch: r.Epoch, Offset: offset}}
}

func unsubscribe(id uint32, name string) *command {
	return &command{Id: id, Unsubscribe: &protocol.UnsubscribeRequest{Channel: name}}
}

func TestSubscribeResult(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		for i := range 3 {
			w.Publish(t, "log:a", i)
			w.Publish(t, "plain:a", i)
		}
		p := w.connected(t, "")
		r := p.subscribe("log:a")
		if !r.Recoverable || !r.Positioned || r.Epoch == "" || r.Offset != 3 || r.Recovered || r.WasRecovering || len(r.Publications) > 0 {
			t.Errorf("log: %v", r)
		}
		r = p.subscribe("plain:a")
		if r.Recoverable || r.Positioned || r.Epoch != "" || r.Offset != 0 {
			t.Errorf("plain: %v", r)
		}
		r = only(t, p.do(&command{Id: 3, Subscribe: &protocol.SubscribeRequest{Channel: "log:b"}})).Subscribe
		if r.GetRecoverable() || r.GetEpoch() != "" {
			t.Errorf("not asked to be recoverable: %v", r)
		}
		r = only(t, p.do(&command{Id: 3, Subscribe: &protocol.SubscribeRequest{Channel: "always:b"}})).Subscribe
		if !r.GetRecoverable() || r.GetEpoch() == "" {
			t.Errorf("always recoverable: %v", r)
		}
	})
}

// Exactly what was missed, then what is live.
func TestRecovery(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		at := p.subscribe("log:a")
		p.expect("3 unsubscribe", unsubscribe(3, "log:a"))
		for i := range 5 {
			w.Publish(t, "log:a", i)
		}
		for since := range uint64(6) {
			r := only(t, p.do(recoverFrom("log:a", at, since))).Subscribe
			var got []uint64
			for _, m := range r.GetPublications() {
				got = append(got, m.Offset)
			}
			wantOffsets(t, got, span(since+1, 5))
			if !r.GetRecovered() || !r.GetWasRecovering() || r.GetOffset() != 5 {
				t.Errorf("since %d: %v", since, r)
			}
			p.expect("3 unsubscribe", unsubscribe(3, "log:a"))
		}
	})
}

// Where something is gone the client is told, or refused if it wants that.
func TestUnrecoverable(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		at := p.subscribe("small:a")
		p.expect("3 unsubscribe", unsubscribe(3, "small:a"))
		for i := range 5 {
			w.Publish(t, "small:a", i)
		}
		for name, c := range map[string]*command{
			"evicted":        recoverFrom("small:a", at, 1),
			"another epoch":  {Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "small:a", Recover: true, Epoch: "x", Offset: 5}},
			"from beyond":    recoverFrom("small:a", at, 6),
			"from nowhere":   recoverFrom("small:a", at, 1<<60),
			"from beyond 64": recoverFrom("small:a", at, 1<<64-1),
		} {
			r := only(t, p.do(c)).Subscribe
			if r == nil || r.Recovered || !r.WasRecovering || len(r.Publications) > 0 || r.Offset != 5 || !r.Recoverable {
				t.Errorf("%s: %v", name, r)
			}
			p.expect("3 unsubscribe", unsubscribe(3, "small:a"))
			// With the flag there is no subscription with a hole.
			c.Subscribe.Flag = 1 << 1
			p.expect("2 error 112", c)
		}
		w.Publish(t, "small:a", "x")
		if got := tell(p.rest()); got != "" {
			t.Errorf("refused, but %s", got)
		}
		r := only(t, p.do(&command{Id: 2, Subscribe: &protocol.SubscribeRequest{
			Channel: "small:a", Recover: true, Epoch: at.Epoch, Offset: 4, Flag: 1 << 1,
		}})).Subscribe
		if !r.GetRecovered() || len(r.GetPublications()) != 2 {
			t.Errorf("nothing is gone, but %v", r)
		}
	})
}

// Recovering in the middle of publishing loses nothing and repeats nothing.
func TestRecoveryWhileOthersPublish(t *testing.T) {
	stage(t, conversationtest.Options{Quiet: true, Namespaces: roomy()}, func(t *testing.T, w *world) {
		const total = 500
		p := w.connected(t, "")
		at := p.subscribe("log:a")
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for i := range total {
				w.Publish(t, "log:a", i)
			}
		})
		var seen []uint64
		for len(seen) < total {
			for _, r := range p.rest() {
				switch {
				case r.Push != nil && r.Push.Pub != nil:
					seen = append(seen, r.Push.Pub.Offset)
				case r.Subscribe != nil:
					if !r.Subscribe.Recovered {
						t.Fatalf("not recovered: %v", r.Subscribe)
					}
					for _, m := range r.Subscribe.Publications {
						seen = append(seen, m.Offset)
					}
				}
			}
			if n := len(seen); n < total {
				last := uint64(0)
				if n > 0 {
					last = seen[n-1]
				}
				p.conv.Handle(frame(w.format, unsubscribe(3, "log:a"), recoverFrom("log:a", at, last)))
			}
		}
		publishing.Wait()
		wantOffsets(t, seen, span(1, total))
	})
}

func roomy() map[string]*hub.Namespace {
	all := conversationtest.Namespaces()
	all["log"].Policy.HistorySize = 10_000
	return all
}

// The reply to unsubscribe is the last word of a channel.
func TestNothingAfterUnsubscribe(t *testing.T) {
	stage(t, conversationtest.Options{Quiet: true, Namespaces: roomy()}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		stop := make(chan struct{})
		var publishing sync.WaitGroup
		for range 2 {
			publishing.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						w.Publish(t, "log:a", i)
					}
				}
			})
		}
		for range 200 {
			p.conv.Handle(frame(w.format,
				&command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Recoverable: true}},
				&command{Id: 3, Rpc: &protocol.RPCRequest{Method: "myelin.time"}},
				unsubscribe(4, "log:a"),
				&command{Id: 5, Rpc: &protocol.RPCRequest{Method: "myelin.time"}}))
		}
		close(stop)
		publishing.Wait()
		subscribed, last := false, uint64(0)
		for _, r := range p.rest() {
			switch {
			case r.Subscribe != nil:
				subscribed, last = true, r.Subscribe.Offset
			case r.Unsubscribe != nil:
				subscribed = false
			case r.Push != nil && r.Push.Pub != nil:
				if !subscribed {
					t.Fatalf("publication %d came to a client that was not subscribed", r.Push.Pub.Offset)
				}
				if r.Push.Pub.Offset != last+1 {
					t.Fatalf("publication %d came after %d", r.Push.Pub.Offset, last)
				}
				last++
			}
		}
	})
}

// The subscriptions a token names are made with the connection, and recovered
// from where the client says it is.
func TestServerSideSubscriptions(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		token := conversationtest.Token(t, claims{
			"sub": "u", "channels": []string{"nobody:a", "plain:a"},
			"subs": map[string]any{"always:b": map[string]any{"data": map[string]int{"x": 1}}},
		})
		p := w.open(t)
		first := p.connect(token)
		if got := slices.Sorted(maps.Keys(first.Subs)); !slices.Equal(got, []string{"always:b", "nobody:a", "plain:a"}) {
			t.Fatalf("subscribed to %v", got)
		}
		if got := string(first.Subs["always:b"].Data); got != `{"x":1}` {
			t.Errorf("data is %q", got)
		}
		p.expect("2 error 105", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "plain:a"}})
		w.Publish(t, "always:b", 1)
		if got := tell(p.rest()); got != "always:b pub 1" {
			t.Errorf("live: %s", got)
		}
		p.conv.Close(hub.DisconnectConnectionClosed)
		w.Publish(t, "always:b", 2)
		w.Publish(t, "always:b", 3)

		p = w.open(t)
		r := only(t, p.do(&command{Id: 1, Connect: &protocol.ConnectRequest{Token: token, Subs: map[string]*protocol.SubscribeRequest{
			"always:b": {Recover: true, Epoch: first.Subs["always:b"].Epoch, Offset: 1},
			"log:z":    {Recover: true}, // nobody granted it
		}}})).Connect
		sub := r.GetSubs()["always:b"]
		if sub == nil || !sub.Recovered || len(sub.Publications) != 2 || sub.Publications[0].Offset != 2 || sub.Offset != 3 {
			t.Errorf("recovered %v", sub)
		}
		if len(r.GetSubs()) != 3 {
			t.Errorf("subscribed to %v", r.GetSubs())
		}
		w.Publish(t, "log:z", 1)
		w.Publish(t, "always:b", 4)
		if got := tell(p.rest()); got != "always:b pub 4" {
			t.Errorf("live: %s", got)
		}
	})
}

func TestServerSideSubscriptionsThatCannotBe(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.ChannelsPerConnection = 3
	stage(t, o, func(t *testing.T, w *world) {
		many := []string{"log:1", "log:2", "log:3", "log:4"}
		for want, channels := range map[string][]string{
			"1 error 102, disconnect 3507": {"log:a", "who:b"},
			"1 error 106, disconnect 3505": many,
			"1 connect":                    many[:3],
		} {
			w.open(t).expect(want, connectWith(conversationtest.Token(t, claims{"sub": "u", "channels": channels})))
		}
		if n := channels(t, w.Hub); n != 3 {
			t.Errorf("%d channels have subscribers, want those of the one connection", n)
		}
	})
}

// unreachable is an engine that is away. It says so properly of subscriptions
// and like a fool of publications.
type unreachable struct{ channel.Engine }

func (*unreachable) Subscribe(context.Context, string, *channel.Policy) (channel.Position, error) {
	return channel.Position{}, channel.ErrUnavailable.Wrap(errors.New("connection refused"))
}

func (*unreachable) Publish(context.Context, *channel.PublishRequest) (channel.Ack, error) {
	return channel.Ack{}, errors.New("connection refused")
}

func TestAnEngineThatIsAway(t *testing.T) {
	o := conversationtest.Options{Engine: func(e channel.Engine) channel.Engine { return &unreachable{Engine: e} }}
	stage(t, o, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		p.expect("2 error 1000", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:a"}})
		p.expect("3 error 100", &command{Id: 3, Publish: &protocol.PublishRequest{Channel: "log:a", Data: []byte(`1`)}})
		// Clients are not sent away for ever by what is only for a moment.
		w.open(t).expect("1 error 1000, disconnect 3004",
			connectWith(conversationtest.Token(t, claims{"sub": "u", "channels": []string{"log:a"}})))
	})
}

func TestChannelLimit(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.ChannelsPerConnection = 2
	stage(t, o, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		p.subscribe("log:a")
		p.subscribe("log:b")
		p.expect("2 error 106", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:c"}})
		p.expect("3 unsubscribe", unsubscribe(3, "log:a"))
		p.subscribe("log:c")
	})
}

func TestPresenceAndJoins(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		token := func(user string) string {
			return conversationtest.Token(t, claims{"sub": user, "info": map[string]string{"name": user}})
		}
		a, b := w.connected(t, token("a")), w.connected(t, token("b"))
		join := &protocol.SubscribeRequest{Channel: "room:x", JoinLeave: true}
		a.expect("2 subscribe, room:x join", &command{Id: 2, Subscribe: join})
		b.expect("2 subscribe, room:x join", &command{Id: 2, Subscribe: join})
		r := only(t, a.rest()).Push.GetJoin().GetInfo()
		if r == nil || r.User != "b" || r.Client != b.conv.ID() || string(r.ConnInfo) != `{"name":"b"}` {
			t.Errorf("joined: %v", r)
		}
		c := w.connected(t, token("b"))
		c.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "room:x"}})
		if got := tell(a.rest()) + "; " + tell(b.rest()); got != "room:x join; room:x join" {
			t.Errorf("when a third came: %s", got)
		}
		stats := only(t, c.do(&command{Id: 3, PresenceStats: &protocol.PresenceStatsRequest{Channel: "room:x"}})).PresenceStats
		if stats.GetNumClients() != 3 || stats.GetNumUsers() != 2 {
			t.Errorf("stats: %v", stats)
		}
		b.conv.Close(hub.DisconnectConnectionClosed)
		if got := tell(a.rest()) + "; " + tell(c.rest()); got != "room:x leave; " {
			t.Errorf("when one left: %s", got)
		}
		members := only(t, a.do(&command{Id: 3, Presence: &protocol.PresenceRequest{Channel: "room:x"}})).Presence.GetPresence()
		if len(members) != 2 || members[a.conv.ID()].GetUser() != "a" || members[c.conv.ID()].GetUser() != "b" {
			t.Errorf("members: %v", members)
		}
	})
}

func TestHistory(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		for i := range 5 {
			w.Publish(t, "log:a", i)
		}
		epoch := only(t, p.do(&command{Id: 2, History: &protocol.HistoryRequest{Channel: "log:a"}})).History.GetEpoch()
		since := func(offset uint64) *protocol.StreamPosition {
			return &protocol.StreamPosition{Epoch: epoch, Offset: offset}
		}
		for want, r := range map[string]*protocol.HistoryRequest{
			"[]":          {},
			"[1 2]":       {Limit: 2},
			"[1 2 3 4 5]": {Limit: -1},
			"[5 4]":       {Limit: 2, Reverse: true},
			"[4 5]":       {Limit: -1, Since: since(3)},
			"[4]":         {Limit: 1, Since: since(3)},
			"[2 1]":       {Limit: -1, Since: since(3), Reverse: true},
		} {
			r.Channel = "log:a"
			h := only(t, p.do(&command{Id: 3, History: r})).History
			var got []uint64
			for _, m := range h.GetPublications() {
				got = append(got, m.Offset)
			}
			if fmt.Sprint(got) != want || h.GetOffset() != 5 || h.GetEpoch() != epoch {
				t.Errorf("%v: %v at %d, want %s at 5", r, got, h.GetOffset(), want)
			}
		}
	})
}

// meddling is an engine during whose first subscription something happens.
type meddling struct {
	channel.Engine
	meddle func()
}

func (m *meddling) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if f := m.meddle; f != nil {
		m.meddle = nil
		f()
	}
	return m.Engine.Subscribe(ctx, name, p)
}

// A client hears of nothing before it has heard that it is connected: it would
// take what it does not know of for gone.
func TestNothingBeforeConnect(t *testing.T) {
	var m meddling
	o := conversationtest.Options{Engine: func(e channel.Engine) channel.Engine {
		m = meddling{Engine: e}
		return &m
	}}
	who := hub.Target{User: "u"}
	stage(t, o, func(t *testing.T, w *world) {
		token := conversationtest.Token(t, claims{"sub": "u", "channels": []string{"log:a"}})
		late := func() {
			if _, err := w.Hub.Subscribe(t.Context(), who, hub.SubscribeRequest{Channel: "log:late"}); err != nil {
				t.Error(err)
			}
		}
		m.meddle = late
		p := w.open(t)
		p.expect("1 connect, log:late subscribed", connectWith(token))
		w.Publish(t, "log:late", 1)
		if got := tell(p.rest()); got != "log:late pub 1" {
			t.Errorf("live: %s", got)
		}
		p.conv.Close(hub.DisconnectConnectionClosed)

		m.meddle = late
		l := w.listen(t, true)
		if err := l.conv.ConnectOneWay(&protocol.ConnectRequest{Token: token}, ""); err != nil {
			t.Fatal(err)
		}
		l.wants("connect", "log:late subscribed")
	})
}
