package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"myelin/channel"
	"myelin/hub"
)

// A client that is told to subscribe again does so at once. It must not hear
// that it is subscribed already.
func TestWhoIsToldToComeBackMayAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{}
		s := newStage(t, e, nil)
		again := make(chan error, 1)
		c := s.connect("")
		c.listen(func(line string) {
			if line == "unsub log:x 2500" {
				// The client answers from a goroutine of its own, while the
				// hub still cleans up.
				go func() { again <- c.join(hub.SubscribeRequest{Channel: "log:x"}) }()
			}
		})
		if err := c.join(hub.SubscribeRequest{Channel: "log:x"}); err != nil {
			t.Fatal(err)
		}
		// Others on the channel make the cleaning up take longer.
		for range 200 {
			s.connect("").subscribe("log:x")
		}
		e.renew("log:x", true)
		if err := <-again; err != nil {
			t.Fatalf("subscribing again: %v", err)
		}
	})
}

// The reply to a subscription goes out before the word that it has ended, or
// the client believes in a subscription that is not there.
func TestEndOfASubscriptionComesAfterItsReply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "log:x"})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := s.hub.Unsubscribe(context.Background(), hub.Target{User: "ann"}, "log:x"); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		s.settle()
		c.wants(t)
		sn.Live([]byte("ok\n"))
		s.settle()
		c.wants(t, "ok", "unsub log:x 2000")
		s.publish("log:x", "1")
		c.gets(t)
	})
}

// The server ends a subscription that is still being made. That is not the end
// of the connection.
func TestServerEndsASubscriptionThatIsBeingMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{}
		going, goOn := make(chan struct{}), make(chan struct{})
		e.subscribing = func(context.Context, string) error {
			close(going)
			<-goOn
			return nil
		}
		s := newStage(t, e, nil)
		c := s.connect("ann")
		failed := make(chan error, 1)
		go func() { failed <- c.join(hub.SubscribeRequest{Channel: "log:x"}) }()
		<-going
		if n, err := s.hub.Unsubscribe(context.Background(), hub.Target{User: "ann"}, "log:x"); n != 1 || err != nil {
			t.Errorf("%d ended, %v", n, err)
		}
		close(goOn)
		if err := <-failed; !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("Subscribe: %v", err)
		}
		if subs := c.Subscriptions(); len(subs) != 0 {
			t.Errorf("still subscribed to %q", subs)
		}
		s.settle()
		if e.feeding("log:x") {
			t.Error("the engine still feeds")
		}
	})
}

// Whoever leaves and comes again is there, whatever else ends the first
// subscription at the same time.
func TestComingAgainWhileLeaving(t *testing.T) {
	s := newStage(t, nil, nil)
	keeper := s.connect("")
	if err := keeper.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		c := s.connect("ann")
		if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.hub.Unsubscribe(context.Background(), hub.Target{User: "ann"}, "room:x"); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := c.Unsubscribe("room:x"); err != nil {
				t.Error(err)
			}
			if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil && !errors.Is(err, channel.ErrPermissionDenied) {
				t.Error(err)
			}
		})
		both.Wait()
		st, err := s.hub.PresenceStats("room:x")
		if err != nil {
			t.Fatal(err)
		}
		if want := 1 + len(c.Subscriptions()); st.Clients != want {
			t.Fatalf("%d are present, want %d", st.Clients, want)
		}
		c.Close(hub.DisconnectConnectionClosed)
	}
}

// Looking at a session while it subscribes is safe.
func TestLookingWhileSubscribing(t *testing.T) {
	s := newStage(t, nil, nil)
	c := s.connect("ann")
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				c.Subscriptions()
				if _, err := s.hub.Unsubscribe(context.Background(), hub.Target{User: "ann"}, "log:other"); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 500 {
		if err := c.join(hub.SubscribeRequest{Channel: "log:x"}); err != nil {
			t.Error(err)
		}
		if err := c.Unsubscribe("log:x"); err != nil {
			t.Error(err)
		}
	}
	close(done)
	all.Wait()
}
