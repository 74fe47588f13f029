package hub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// expiring publishes what is of use for so long.
func (s *stage) expiring(name, text string, ms int64) {
	s.t.Helper()
	r := &channel.PublishRequest{Channel: name, Data: []byte(text)}
	if err := hub.ExpireIn(r, ms); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.hub.Publish(context.Background(), r); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) wantExpired(t *testing.T, queue string, n int64) {
	t.Helper()
	if got := s.metrics.Expired(queue).Value(); got != n {
		t.Errorf("%d expired in %s, want %d", got, queue, n)
	}
}

// What has expired is handed to nobody, wherever it waited.
func TestExpiredAreNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Shards = 1
			o.Namespaces["log"].PositionCheck = time.Second
			o.Namespaces["room"].Expiry = time.Minute
		})
		c, slow, paced := s.connect(""), s.connect(""), s.connect("")
		c.subscribe("log:x")
		slow.subscribe("log:x")
		paced.paced("log:x", 1)

		slow.allow(0)
		s.expiring("log:x", "1", 1000)
		s.settle()
		s.expiring("log:x", "2", 1000)
		s.publish("log:x", "3")
		s.settle()
		s.expiring("log:x", "4", 500)
		wait(2 * time.Second)
		slow.allow(-1)
		c.gets(t, "1", "2", "3", "4")
		slow.gets(t, "1", "3") // the first was cut, and cannot be taken back
		paced.gets(t, "1")     // and then the fourth, which expired
		s.wantExpired(t, "backlog", 2)
		s.wantExpired(t, "paced", 1)

		// Who missed something that has expired has missed nothing.
		wait(5 * time.Second)
		if n := s.metrics.Namespace("log").PositionFailures.Value(); n != 0 {
			t.Errorf("%d were behind", n)
		}
		late := s.connect("")
		if err := late.join(hub.SubscribeRequest{Channel: "log:x", Recover: true}); err != nil {
			t.Fatal(err)
		}
		late.gets(t, "3")
		s.wantExpired(t, "recovery", 3)
		h, err := s.hub.History(context.Background(), hub.HistoryRequest{Channel: "log:x", Limit: -1})
		if err != nil || len(h.Pubs) != 1 || h.Top.Offset != 4 {
			t.Errorf("%d in history, at %v, %v", len(h.Pubs), h.Top, err)
		}
		// A page that has nothing left does not look like the end.
		h, err = s.hub.History(context.Background(), hub.HistoryRequest{Channel: "log:x", Limit: 1})
		if err != nil || len(h.Pubs) != 1 || string(h.Pubs[0].Data) != "3" {
			t.Errorf("%v, %v", h.Pubs, err)
		}

		// A namespace may say for those who do not.
		s.publish("room:x", "1")
		wait(2 * time.Minute)
		if h, err := s.hub.History(context.Background(), hub.HistoryRequest{Channel: "room:x", Limit: -1}); err != nil || len(h.Pubs) != 0 {
			t.Errorf("%v, %v", h.Pubs, err)
		}
	})
}

// What expires in the inbox of a shard is not handed on, and nobody is thought
// to have missed it.
func TestExpiredInTheInbox(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Shards = 1
			o.Namespaces["log"].PositionCheck = time.Second
		})
		c, own := s.connect(""), s.connectAs(nobody(), func(o *hub.SessionOptions) { o.Form, o.Private = &text{name: "private"}, true })
		for _, c := range []*client{c, own} {
			c.subscribe("log:x")
		}
		release := s.hold()
		s.publish("log:x", "1")
		s.expiring("log:x", "2", 10)
		s.publish("log:x", "3")
		s.expiring("log:x", "4", 10)
		time.Sleep(20 * time.Millisecond)
		release()
		for _, c := range []*client{c, own} {
			c.gets(t, "1", "3")
		}
		s.wantExpired(t, "inbox", 2)
		wait(5 * time.Second)
		s.publish("log:x", "5")
		c.gets(t, "5")
		own.gets(t, "5")
		if n := s.metrics.Namespace("log").PositionFailures.Value(); n != 0 {
			t.Errorf("%d were behind", n)
		}
	})
}

func TestExpiryIsBounded(t *testing.T) {
	for _, ms := range []int64{-1, 1 << 40} {
		if err := hub.ExpireIn(&channel.PublishRequest{}, ms); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("%d: %v", ms, err)
		}
	}
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, states)
		r := &channel.PublishRequest{Channel: "state:x", Op: channel.OpPut, Key: "k", Data: []byte("1")}
		if err := hub.ExpireIn(r, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.hub.Publish(context.Background(), r); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("a state channel: %v", err)
		}
	})
}
