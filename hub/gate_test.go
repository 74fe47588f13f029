package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// usher is a gate that notes who is in.
type usher struct {
	mu struct {
		sync.Mutex
		in      map[hub.Seat]bool
		granted int
	}
	closed error
}

func newUsher() *usher {
	u := &usher{}
	u.mu.in = make(map[hub.Seat]bool)
	return u
}

func (u *usher) Enter(_ context.Context, _ *hub.Session, _ string, granted bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if granted {
		u.mu.granted++
	}
	return u.closed
}

func (u *usher) Entered(at hub.Seat) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.in[at] = true
}

func (u *usher) Left(at hub.Seat) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.mu.in, at)
}

func (u *usher) seats() (out []hub.Seat) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for at := range u.mu.in {
		out = append(out, at)
	}
	return out
}

// gated returns a stage whose namespace "$own" has a gate.
func gated(t *testing.T, u *usher) *stage {
	return newStage(t, nil, func(o *hub.Options) {
		o.Namespaces["$own"] = &hub.Namespace{Policy: &channel.Policy{Namespace: "$own"}, Gate: u}
	})
}

// What is handed to a seat reaches its subscription alone, and nothing after
// its end.
func TestSeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := newUsher()
		s := gated(t, u)
		a, b := s.connect("ann"), s.connect("bob")
		a.subscribe("$own:x")
		only := u.seats()
		if len(only) != 1 || only[0].Session() != a.Session || only[0].Channel() != "$own:x" {
			t.Fatalf("seats %v", only)
		}
		b.subscribe("$own:x")
		pub := &channel.Publication{Channel: "$own:x", Data: []byte("for ann")}
		if !only[0].Hand(pub) {
			t.Error("the seat was taken for empty")
		}
		a.gets(t, "for ann")
		b.gets(t)
		if err := a.Unsubscribe("$own:x"); err != nil {
			t.Error(err)
		}
		if only[0].Hand(pub) {
			t.Error("something was handed to an empty seat")
		}
		a.gets(t)
		b.Close(hub.DisconnectConnectionClosed)
		if left := u.seats(); len(left) != 0 {
			t.Errorf("seats %v are taken still", left)
		}
		for what, err := range map[string]error{
			"a client": second(a.Publish(t.Context(), &channel.PublishRequest{Channel: "$own:x", Data: []byte("1")})),
			"the API":  second(s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "$own:x", Data: []byte("1")})),
		} {
			if !errors.Is(err, channel.ErrPermissionDenied) {
				t.Errorf("%s may publish: %v", what, err)
			}
		}
	})
}

func second(_ channel.Ack, err error) error { return err }

// A gate that is shut is the client's answer, and the server's wish is told.
func TestGateDecides(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := newUsher()
		u.closed = channel.ErrPermissionDenied.With("not you")
		s := gated(t, u)
		a := s.connectAs(&auth.Identity{User: "ann"}, nil)
		if err := a.join(hub.SubscribeRequest{Channel: "$own:x"}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("got %v", err)
		}
		u.closed = nil
		if n, err := s.hub.Subscribe(t.Context(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "$own:x"}); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if u.mu.granted != 1 || len(u.seats()) != 1 {
			t.Errorf("granted %d, seats %v", u.mu.granted, u.seats())
		}
	})
}

// A seat that is left while it is taken is not in the end.
func TestSeatsAreNotLeftBehind(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			u := newUsher()
			s := gated(t, u)
			a := s.connect("ann")
			sn, err := a.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "$own:x"})
			if err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup
			both.Go(func() { sn.Live(replyTo("$own:x", sn)) })
			both.Go(func() { a.Close(hub.DisconnectConnectionClosed) })
			both.Wait()
			if left := u.seats(); len(left) != 0 {
				t.Fatalf("seats %v are taken still", left)
			}
		})
	}
}

// A tap hears of what comes, until it is stopped, and keeps the feed open.
func TestTap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &fake{}
		s := newStage(t, f, nil)
		poked := make(chan struct{}, 100)
		stop, err := s.hub.Tap(t.Context(), "log:a", func() { poked <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		s.publish("log:a", "1", "2")
		wait(time.Second)
		if len(poked) != 2 {
			t.Errorf("%d pokes for two publications", len(poked))
		}
		f.renew("log:a", true)
		wait(time.Second)
		if len(poked) != 3 {
			t.Errorf("%d pokes, a new epoch is one", len(poked))
		}
		if !f.feeding("log:a") || len(s.channels("", 10)) != 0 {
			t.Errorf("fed %v, listed %v: a tap is no subscriber", f.feeding("log:a"), s.channels("", 10))
		}
		stop()
		if f.feeding("log:a") {
			t.Error("the feed is open still")
		}
		s.publish("log:a", "3")
		if len(poked) != 3 {
			t.Error("a stopped tap was poked")
		}
		if _, err := s.hub.Tap(t.Context(), "nowhere:a", func() {}); !errors.Is(err, channel.ErrUnknownChannel) {
			t.Errorf("got %v", err)
		}
	})
}

// Who brings a token that a gate does not let in loses the seat, unless the
// server gave it.
func TestRefreshIsAskedAtTheGate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := newUsher()
		s := gated(t, u)
		a, b := s.connect("ann"), s.connect("bob")
		a.subscribe("$own:x")
		sn, err := b.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "$own:x", Grant: &auth.Grant{Channel: "$own:x"}})
		if err != nil {
			t.Fatal(err)
		}
		sn.Live(nil)
		for _, c := range []struct {
			says error
			left int
		}{{nil, 2}, {channel.ErrUnavailable, 2}, {channel.ErrPermissionDenied, 1}} {
			u.closed = c.says
			for _, who := range []*client{a, b} {
				if err := who.Refresh(who.Identity()); err != nil {
					t.Fatal(err)
				}
			}
			if got := u.seats(); len(got) != c.left {
				t.Errorf("the gate says %v: %d seats, want %d", c.says, len(got), c.left)
			}
		}
	})
}
