package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/internal/rate"
)

// tries has a client publish n times, pause apart, and returns how often it
// might. Every refusal says 111 and when to come back.
func (c *client) tries(t *testing.T, name string, n int, pause time.Duration) (in int) {
	t.Helper()
	for range n {
		_, err := c.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte("0123456789")})
		e := new(channel.Error)
		switch {
		case err == nil:
			in++
		case !errors.As(err, &e) || e.Code != channel.CodeTooManyRequests || e.Retry <= 0 || !e.Temporary:
			t.Fatalf("refused with %v", err)
		}
		wait(pause)
	}
	return in
}

// near fails unless n is within 5 % of want.
func near(t *testing.T, what string, n, want int) {
	t.Helper()
	if n < want*95/100 || n > want*105/100 {
		t.Errorf("%s: %d passed, want %d", what, n, want)
	}
}

// limited changes one namespace of a stage.
func limited(o *hub.Options, name string, change func(*hub.Namespace)) {
	c := *o.Namespaces[name]
	change(&c)
	o.Namespaces[name] = &c
}

// A channel takes what its rate says, from all together and from the server
// too; another channel has its own.
func TestChannelRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			limited(o, "live", func(n *hub.Namespace) { n.Rates.Channel = rate.Limit{N: 10, Burst: 20} })
		})
		ann, bob := s.connect("ann"), s.connect("bob")
		if n := ann.tries(t, "live:x", 50, 0); n != 20 {
			t.Errorf("%d at once, want the burst of 20", n)
		}
		if n := bob.tries(t, "live:y", 50, 0); n != 20 {
			t.Errorf("another channel: %d at once, want 20", n)
		}
		_, err := s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "live:x", Data: []byte("1")})
		if !errors.Is(err, channel.ErrTooManyRequests) || !strings.Contains(err.Error(), "10 publications a second") {
			t.Errorf("the server: %v", err)
		}
		// Ten seconds at twice the limit, by two.
		n := 0
		for range 100 {
			n += ann.tries(t, "live:x", 1, 50*time.Millisecond) + bob.tries(t, "live:x", 1, 50*time.Millisecond)
		}
		near(t, "10 s at twice the limit", n, 100)
		wait(time.Minute)
		if n := ann.tries(t, "live:x", 50, 0); n != 20 {
			t.Errorf("%d at once after a pause, want 20", n)
		}
		if s.metrics.Limit("channel_rate").Value() == 0 {
			t.Error("not counted")
		}
	})
}

// A rate may be slower than one a second.
func TestSlowRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			limited(o, "live", func(n *hub.Namespace) { n.Rates.User = rate.Limit{N: 1, Per: 10 * time.Second} })
		})
		c := s.connect("ann")
		if n := c.tries(t, "live:x", 100, time.Second); n != 10 {
			t.Errorf("%d in 100 s, want 10", n)
		}
		if n := s.connect("bob").tries(t, "live:x", 100, time.Second); n != 10 {
			t.Errorf("another user: %d in 100 s, want 10", n)
		}
		if n := s.connect("").tries(t, "live:x", 2, 0); n != 1 {
			t.Errorf("nobody: %d at once, want 1", n)
		}
		if n := s.connect("").tries(t, "live:x", 2, 0); n != 1 {
			t.Errorf("another nobody: %d at once, want 1", n)
		}
	})
}

// A user has one rate for all connections; a refusal of the channel's does not
// use it up.
func TestUserRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Limits.PerUser.Publish = rate.PerSecond(10)
			limited(o, "short", func(n *hub.Namespace) { n.Rates.Channel = rate.Limit{N: 1, Per: time.Hour} })
		})
		first, second := s.connect("ann"), s.connect("ann")
		if n := first.tries(t, "short:x", 100, 0); n != 1 {
			t.Errorf("%d on a channel for one", n)
		}
		if n := first.tries(t, "live:x", 20, 0) + second.tries(t, "live:y", 20, 0); n != 9 {
			t.Errorf("%d at once, want the 9 that are left of a burst of 10", n)
		}
		n := 0
		for range 100 {
			n += first.tries(t, "live:x", 1, 50*time.Millisecond) + second.tries(t, "live:x", 1, 50*time.Millisecond)
		}
		near(t, "10 s at twice the limit", n, 100)
		if n := s.connect("bob").tries(t, "live:x", 20, 0); n != 10 {
			t.Errorf("another user: %d, want 10", n)
		}
		for range 20 { // anonymous clients are no user
			if n := s.connect("").tries(t, "live:x", 5, 0); n != 5 {
				t.Errorf("nobody: %d, want 5", n)
			}
		}
	})
}

func TestUserBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.PerUser.Bytes = rate.PerSecond(1000) })
		c := s.connect("ann")
		c.tries(t, "live:x", 1000, 0)
		n := c.tries(t, "live:x", 1000, 5*time.Millisecond) // 2000 bytes a second for 5 s
		near(t, "half of the bytes", n, 500)
		if s.metrics.Limit("user_bytes").Value() == 0 {
			t.Error("not counted")
		}
	})
}

// The limits of a token hold for all connections made with it where it has an
// id, for each of them where not.
func TestTokenLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		l := &auth.Limits{PublishPerSecond: 5, CommandsPerSecond: 10, Subscriptions: 2}
		as := func(id string) *client { return s.connectAs(&auth.Identity{User: "ann", TokenID: id, Limits: l}, nil) }
		a, b, c, d := as("t1"), as("t1"), as(""), as("")
		if n := a.tries(t, "live:x", 20, 0) + b.tries(t, "live:x", 20, 0); n != 5 {
			t.Errorf("%d with one token, want 5", n)
		}
		for _, c := range []*client{c, d} {
			if n := c.tries(t, "live:x", 20, 0); n != 5 {
				t.Errorf("%d with a token without an id, want 5", n)
			}
		}
		in := 0
		for range 100 {
			if a.Admit() {
				in++
			}
		}
		if in != 20 {
			t.Errorf("%d commands, want twice the rate of 10", in)
		}
		a.subscribe("log:1")
		a.subscribe("log:2")
		if err := a.join(hub.SubscribeRequest{Channel: "log:3"}); !errors.Is(err, channel.ErrLimitExceeded) || !strings.Contains(err.Error(), "2 subscriptions") {
			t.Errorf("a third subscription: %v", err)
		}
	})
}

func TestMessagesOfANamespaceAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { limited(o, "live", func(n *hub.Namespace) { n.MessageBytes = 10 }) })
		c := s.connect("")
		for name, want := range map[string]error{"live:x": channel.ErrLimitExceeded, "log:x": nil} {
			_, err := c.Publish(t.Context(), &channel.PublishRequest{Channel: name, Data: []byte("12345678901")})
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	})
}

// turnedAway reports whether a session is refused for a limit on connections.
func turnedAway(t *testing.T, s *stage, id *auth.Identity) bool {
	t.Helper()
	c := s.open(nil)
	err := c.Connect(id)
	if err == nil {
		return false
	}
	d, ok := errors.AsType[hub.Disconnect](err)
	if !ok || d.Code != hub.DisconnectConnectionLimit.Code {
		t.Fatalf("refused with %v", err)
	}
	c.Close(d)
	return true
}

func TestConnectionsOfAUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.PerUser.Connections = 2 })
		first := s.connect("ann")
		s.connect("ann")
		if !turnedAway(t, s, &auth.Identity{User: "ann"}) {
			t.Error("a third connection is let in")
		}
		first.Close(hub.DisconnectConnectionClosed)
		if turnedAway(t, s, &auth.Identity{User: "ann"}) {
			t.Error("refused with a place free")
		}
		for range 5 {
			s.connect("")
		}
		one := &auth.Identity{User: "bob", TokenID: "t", Limits: &auth.Limits{Connections: 1}}
		if turnedAway(t, s, one) || !turnedAway(t, s, one) {
			t.Error("a token for one connection is not")
		}
		// What was refused for one reason does not count for the other.
		if turnedAway(t, s, &auth.Identity{User: "bob"}) || !turnedAway(t, s, &auth.Identity{User: "bob"}) {
			t.Error("bob has not two connections")
		}
		few := &auth.Identity{User: "eve", Limits: &auth.Limits{Connections: 1}}
		if turnedAway(t, s, few) || !turnedAway(t, s, few) {
			t.Error("a token without an id limits its user's connections")
		}
		if n := s.metrics.Limit("user_connections").Value(); n != 4 {
			t.Errorf("counted %d times, want 4", n)
		}
	})
}

// Nodes count each other's connections, and those of a node that died do not
// count any more.
func TestConnectionsOfAUserOnAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.Limits.PerUser.Connections = 2 }, nil, "a", "b", "c")
		weird := "\x00 a name that no channel has " + strings.Repeat("x", 220)
		for _, user := range []string{"ann", weird} {
			first := w.nodes["a"].connect(user)
			w.nodes["b"].connect(user)
			wait(time.Second)
			for id := range w.nodes {
				if !turnedAway(t, w.nodes[id].stage, &auth.Identity{User: user}) {
					t.Errorf("node %s lets a third connection in", id)
				}
			}
			first.Close(hub.DisconnectConnectionClosed)
			wait(time.Second)
			w.nodes["c"].connect(user)
			wait(time.Second)
		}
		w.kill("c")
		wait(10 * time.Second)
		if turnedAway(t, w.nodes["a"].stage, &auth.Identity{User: "ann"}) {
			t.Error("connections of a dead node count")
		}
	})
}

// A rate holds for all nodes together: what one admits is charged by the
// others. The burst may be had at each of them at once, and is paid off.
func TestRatesOnAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) {
			limited(o, "live", func(n *hub.Namespace) { n.Rates.Channel = rate.Limit{N: 10, Burst: 20} })
			o.Limits.PerUser.Publish = rate.PerSecond(30)
		}, nil, "a", "b", "c")
		var clients []*client
		for _, id := range []string{"a", "b", "c"} {
			clients = append(clients, w.nodes[id].connect("ann"))
		}
		n := 0
		for range 1000 { // ten seconds, each node at ten times the limit
			for _, c := range clients {
				n += c.tries(t, "live:x", 1, 0)
			}
			wait(10 * time.Millisecond)
		}
		if want := 10*10 + 20; n < want*95/100 || n > want*105/100 {
			t.Errorf("%d passed a channel on three nodes in 10 s, want %d", n, want)
		}
		n = 0
		for i := range 2000 { // other channels, so that the user's own rate counts
			for _, c := range clients {
				n += c.tries(t, fmt.Sprint("live:", i), 1, 0)
			}
			wait(5 * time.Millisecond)
		}
		if want := 30*10 + 30; n < want*95/100 || n > want*105/100 {
			t.Errorf("%d of a user on three nodes in 10 s, want %d", n, want)
		}
	})
}

// What nobody can read charges nobody, and breaks nothing.
func TestStrangeWordsOfRates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) {
			limited(o, "live", func(n *hub.Namespace) { n.Rates.Channel = rate.PerSecond(1) })
		}, nil, "a")
		stranger := w.net.Join("z")
		if err := stranger.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, b := range []string{"", "\x00", "\x01", "\x01\x01", "\x01\x01\x00", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x01\x00\x06live:x", "\x01\x01\x7flive:x\x01", "\x02\x01\x00\x06live:x\x7f"} {
			if err := stranger.Broadcast("hub.rates", []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		wait(time.Second)
		c := w.nodes["a"].connect("ann")
		if n := c.tries(t, "live:x", 1, 0); n != 1 {
			t.Error("charged by strange words")
		}
		// And this one can be read: the largest number there is.
		if err := stranger.Broadcast("hub.rates", []byte("\x01\x01\x00\x06live:y\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if n := c.tries(t, "live:y", 1, 0); n != 0 {
			t.Error("not charged")
		}
		if err := stranger.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What one limit refuses uses up nothing of the others.
func TestRefusedPublicationsUseUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Limits.PerUser = hub.UserLimits{Publish: rate.PerSecond(2), Bytes: rate.PerSecond(10)}
		})
		c := s.connect("ann")
		for i, tc := range []struct {
			data string
			want error
		}{{"12345678", nil}, {"too long", channel.ErrTooManyRequests}, {"ab", nil}} {
			_, err := c.Publish(t.Context(), &channel.PublishRequest{Channel: "log:x", Data: []byte(tc.data)})
			if !errors.Is(err, tc.want) {
				t.Errorf("publication %d: %v, want %v", i, err, tc.want)
			}
		}
	})
}
