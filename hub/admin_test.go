package hub_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

func TestServerSubscribes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		one, two, other := s.connect("ann"), s.connect("ann"), s.connect("bob")
		two.subscribe("log:x")
		n, err := s.hub.Subscribe(context.Background(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "log:x"})
		if n != 1 || err != nil {
			t.Fatalf("%d, %v: want the one that was not subscribed", n, err)
		}
		at := s.publish("log:x", "1")
		s.settle()
		one.wants(t, "sub log:x "+at.Epoch+" 0", "pub log:x "+at.Epoch+" 1 0 1")
		two.gets(t, "1")
		other.gets(t)
	})
}

// A client must hear that it is connected before it hears what else the server
// wants.
func TestServerSubscribesWhoIsConnecting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c, leaves := s.open(nil), s.open(nil)
		for _, c := range []*client{c, leaves} {
			if err := c.Identify(&auth.Identity{User: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.join(hub.SubscribeRequest{Channel: "live:own"}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		c.lines()
		for _, name := range []string{"live:own", "live:x", "live:x"} {
			n, err := s.hub.Subscribe(context.Background(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: name})
			if n != 2 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		s.publish("live:x", "1")
		leaves.Close(hub.DisconnectConnectionClosed)
		c.Send([]byte("connected\n"))
		c.Ready(t.Context())
		c.Ready(t.Context())
		leaves.Ready(t.Context())
		s.settle()
		c.wants(t, "connected", "sub live:x - 0")
		if n, err := s.hub.Subscribe(context.Background(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "live:y"}); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		s.settle()
		c.wants(t, "sub live:y - 0")
	})
}

// A session that has no room does not keep the others from being subscribed.
func TestServerSubscribesAllItCan(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.ChannelsPerConnection = 1 })
		full, free := s.connect("ann"), s.connect("ann")
		full.subscribe("log:y")
		n, err := s.hub.Subscribe(context.Background(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "log:x"})
		if n != 1 || !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("%d, %v", n, err)
		}
		s.publish("log:x", "1")
		free.gets(t, "1")
		full.gets(t)
	})
}

// A subscription with a position brings what came since, or is refused: its
// client cannot be told of a gap.
func TestServerSubscribesFromAPosition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.HistoryRead = 5 })
		c := s.connect("ann")
		at := s.publish("log:x", numbers(1, 10)...)
		subscribe := func(name string, offset uint64) (int, error) {
			return s.hub.Subscribe(context.Background(), hub.Target{Client: c.ID()}, hub.SubscribeRequest{
				Channel: name, Recover: true, Since: channel.Position{Epoch: at.Epoch, Offset: offset},
			})
		}
		for _, bad := range []struct {
			name   string
			offset uint64
			want   error
		}{
			{"log:x", 11, channel.ErrUnrecoverable}, // beyond the top
			{"log:x", 4, channel.ErrUnrecoverable},  // six are too many
			{"log:y", 0, channel.ErrUnrecoverable},  // another epoch
			{"live:x", 0, channel.ErrNotAvailable},
			{"none:x", 0, channel.ErrUnknownChannel},
		} {
			if n, err := subscribe(bad.name, bad.offset); n != 0 || !errors.Is(err, bad.want) {
				t.Errorf("%s from %d: %d, %v, want %v", bad.name, bad.offset, n, err, bad.want)
			}
		}
		if subs := c.Subscriptions(); len(subs) != 0 {
			t.Fatalf("refused, and subscribed to %q", subs)
		}
		if n, err := subscribe("log:x", 5); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.publish("log:x", "11")
		c.gets(t, numbers(6, 11)...)
	})
}

func TestTargetsHaveToBeNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("")
		c.subscribe("log:x")
		var nobody hub.Target
		_, err := s.hub.Subscribe(context.Background(), nobody, hub.SubscribeRequest{Channel: "log:y"})
		errs := []error{err}
		_, err = s.hub.Unsubscribe(context.Background(), nobody, "log:x")
		errs = append(errs, err)
		_, err = s.hub.Disconnect(context.Background(), nobody, hub.DisconnectForceReconnect, nil)
		errs = append(errs, err)
		_, err = s.hub.Refresh(context.Background(), nobody, 0, true)
		errs = append(errs, err)
		for i, err := range errs {
			if !errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if subs := c.Subscriptions(); !slices.Equal(subs, []string{"log:x"}) {
			t.Errorf("subscribed to %q", subs)
		}
	})
}

func TestServerUnsubscribes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a, b := s.connect("ann"), s.connect("ann")
		for _, name := range []string{"log:x", "log:y", "log:z"} {
			a.subscribe(name)
			b.subscribe(name)
		}
		check := func(to hub.Target, name string, want int) {
			t.Helper()
			if n, err := s.hub.Unsubscribe(context.Background(), to, name); n != want || err != nil {
				t.Fatalf("%d, %v, want %d", n, err, want)
			}
			s.settle()
		}
		check(hub.Target{User: "ann"}, "log:x", 2)
		a.wants(t, "unsub log:x 2000")
		b.wants(t, "unsub log:x 2000")
		check(hub.Target{User: "ann"}, "log:x", 0)
		check(hub.Target{User: "bob", Client: a.ID()}, "log:y", 0)
		check(hub.Target{Client: a.ID()}, "log:y", 1)
		a.wants(t, "unsub log:y 2000")
		b.wants(t)
		check(hub.Target{User: "ann", Client: b.ID()}, "", 2)
		if got := b.lines(); len(got) != 2 {
			t.Errorf("got %s", show(got))
		}
	})
}

func TestServerDisconnects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a, b, other := s.connect("ann"), s.connect("ann"), s.connect("bob")
		n, err := s.hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, []string{b.ID()})
		if n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.settle()
		a.wants(t, "bye 3503")
		if !a.closed() || b.closed() || other.closed() {
			t.Errorf("closed: %v, %v, %v", a.closed(), b.closed(), other.closed())
		}
		if n, err := s.hub.Disconnect(context.Background(), hub.Target{Client: b.ID()}, hub.Disconnect{Code: 4500, Reason: "own"}, nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.settle()
		b.wants(t, "bye 4500")
		if n, err := s.hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceReconnect, nil); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	})
}

func TestServerRefreshes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a, b := s.connect("ann"), s.connect("ann")
		at := time.Now().Add(time.Minute).Unix()
		if n, err := s.hub.Refresh(context.Background(), hub.Target{Client: a.ID()}, at, false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wait(time.Minute + 24*time.Second)
		if got := a.lines(); len(got) != 1 || a.closed() {
			t.Fatalf("got %s", show(got))
		}
		wait(3 * time.Second)
		a.wants(t, "bye 3005")
		b.wants(t)
		if n, err := s.hub.Refresh(context.Background(), hub.Target{User: "ann"}, 0, true); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.settle()
		b.wants(t, "bye 3005")
	})
}

func TestWhatIsHere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a, b, _ := s.connect("ann"), s.connect("ann"), s.connect("")
		s.open(nil)
		a.subscribe("log:x")
		b.subscribe("log:x")
		b.subscribe("room:y")
		if got, want := s.info(), (hub.Info{Node: "here", Clients: 4, Users: 2, Channels: 2, Subscriptions: 3}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		got := s.channels("room:*", 10)
		if len(got) != 1 || got["room:y"] != 1 {
			t.Errorf("got %v", got)
		}
		if got := s.channels("", 1); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}
