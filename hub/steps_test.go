package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// A subscription can be ended from outside at every step of its making. None
// may leave anything behind.
func TestEndingAtEachStep(t *testing.T) {
	enders := map[string]func(s *stage, c *client){
		"close":       func(_ *stage, c *client) { c.Close(hub.DisconnectConnectionClosed) },
		"unsubscribe": func(s *stage, _ *client) { _, _ = s.hub.Unsubscribe(context.Background(), hub.Target{User: "ann"}, "") },
		"disconnect": func(s *stage, _ *client) {
			_, _ = s.hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceReconnect, nil)
		},
		"drain":      func(s *stage, _ *client) { _ = s.hub.Drain(context.Background(), 0) },
		"hub closes": func(s *stage, _ *client) { s.hub.Close() },
		"new epoch":  func(s *stage, _ *client) { fakeOf(s).renew("room:x", true) },
	}
	for _, step := range []string{"before", "opening", "opened", "reading", "before live", "live"} {
		for name, end := range enders {
			t.Run(name+" while "+step, func(t *testing.T) {
				bubble(t, func(t *testing.T) { endAt(t, step, end) })
			})
		}
	}
}

func fakeOf(s *stage) *fake {
	f, _ := s.engine.(*fake)
	return f
}

// endAt subscribes, and has end act at one step.
func endAt(t *testing.T, step string, end func(*stage, *client)) {
	var s *stage
	var c *client
	var ending sync.WaitGroup
	at := func(here string) error {
		if here == step {
			// The one goes on while the other is at it.
			ending.Go(func() { end(s, c) })
			synctest.Wait()
		}
		return nil
	}
	e := &fake{
		subscribing: func(context.Context, string) error { return at("opening") },
		subscribed:  func(context.Context, string) error { return at("opened") },
		reading: func(_ context.Context, r *channel.ReadRequest) error {
			if r.Limit != 0 && r.Since.Offset == 1 { // the client's own
				return at("reading")
			}
			return nil
		},
	}
	s = newStage(t, e, nil)
	s.publish("room:x", "1", "2")
	c = s.connect("ann")
	_ = at("before")
	sn, err := c.Subscribe(t.Context(), hub.SubscribeRequest{
		Channel: "room:x", Recover: true, Since: channel.Position{Epoch: "e1", Offset: 1}, JoinLeave: true,
	})
	if err == nil {
		_ = at("before live")
		sn.Live(replyTo("room:x", sn))
	}
	_ = at("live")
	ending.Wait()
	wait(time.Second)
	subs := c.Subscriptions()
	st, err := s.hub.PresenceStats("room:x")
	if err != nil {
		t.Fatal(err)
	}
	if st.Clients != len(subs) || e.feeding("room:x") != (len(subs) > 0) {
		t.Errorf("subscribed to %q, %d present, fed: %v", subs, st.Clients, e.feeding("room:x"))
	}
	if n := s.metrics.Namespace("room").Subscriptions.Value(); n != int64(len(subs)) {
		t.Errorf("%d subscriptions are counted, there are %d", n, len(subs))
	}
	heard(t, c.lines(), len(subs) > 0)
}

// heard fails unless a client that believes what it hears ends up with what
// the hub has.
func heard(t *testing.T, lines []string, subscribed bool) {
	t.Helper()
	believes := false
	for _, l := range lines {
		switch l[:2] {
		case "ok":
			believes = true
		case "un", "by":
			believes = false
		}
	}
	if believes != subscribed {
		t.Errorf("the client believes %v, the hub %v; it heard %s", believes, subscribed, show(lines))
	}
}

// Many do everything at once with few users and channels. Whatever comes of
// it, client and hub agree in the end, and nothing is left behind.
func TestEverybodyAtOnce(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { everybody(t, seed) })
		})
	}
}

func everybody(t *testing.T, seed uint64) {
	s := newStage(t, nil, func(o *hub.Options) { o.Limits.ChannelsPerConnection = 3 })
	channels := []string{"room:a", "room:b", "log:c", "live:d"}
	var all sync.WaitGroup
	var mu sync.Mutex
	var clients []*client
	for actor := range 8 {
		random := rand.New(rand.NewPCG(seed, uint64(actor)))
		all.Go(func() {
			for range 300 {
				c := act(s, random, channels, fmt.Sprint("user", random.IntN(4)))
				if c != nil {
					mu.Lock()
					clients = append(clients, c)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	wait(time.Second)
	for _, c := range clients {
		believes := make(map[string]bool)
		for _, l := range c.lines() {
			var kind, name string
			if _, err := fmt.Sscan(l, &kind, &name); err != nil {
				continue
			}
			switch kind {
			case "ok", "sub":
				believes[name] = true
			case "unsub", "left":
				delete(believes, name)
			case "bye":
				clear(believes)
			}
		}
		subs := c.Subscriptions()
		if len(subs) != len(believes) {
			t.Errorf("the hub has %q, the client %v", subs, believes)
		}
		for _, name := range subs {
			if !believes[name] {
				t.Errorf("the client does not know of %s", name)
			}
		}
	}
}

// act does one thing at random. A client of it is one that stays.
func act(s *stage, random *rand.Rand, channels []string, user string) *client {
	name := channels[random.IntN(len(channels))]
	ctx := context.Background()
	switch random.IntN(8) {
	case 0:
		_, _ = s.hub.Unsubscribe(context.Background(), hub.Target{User: user}, name)
	case 1:
		// These are channels of its own: a client that leaves one at the same
		// moment may hear of the two in either order.
		_, _ = s.hub.Subscribe(ctx, hub.Target{User: user}, hub.SubscribeRequest{Channel: name + ":server"})
	case 2:
		_, _ = s.hub.Disconnect(context.Background(), hub.Target{User: user}, hub.DisconnectForceReconnect, nil)
	case 3:
		_, _ = s.hub.Refresh(context.Background(), hub.Target{User: user}, time.Now().Add(time.Hour).Unix(), false)
	case 4:
		s.publish(name, "x")
		_, _ = s.hub.Presence(name)
		s.info()
	default:
		c := s.open(nil)
		_ = c.Identify(&auth.Identity{User: user})
		for range 1 + random.IntN(4) {
			name := channels[random.IntN(len(channels))]
			if random.IntN(3) > 0 {
				_ = c.join(hub.SubscribeRequest{Channel: name, JoinLeave: true})
				continue
			}
			if c.Unsubscribe(name) == nil {
				c.Send([]byte("left " + name + "\n"))
			}
		}
		c.Ready(ctx)
		if random.IntN(3) == 0 {
			c.Close(hub.DisconnectConnectionClosed)
		}
		return c
	}
	return nil
}
