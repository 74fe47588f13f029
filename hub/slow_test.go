package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/hub"
)

// hold keeps the shard of a hub with one shard busy until the answer is
// called, so that what is queued meanwhile is handled in one round.
func (s *stage) hold() (release func()) {
	s.t.Helper()
	gate := make(chan struct{})
	c := s.connect("")
	s.settle()
	c.listen(func(string) { <-gate })
	c.Send([]byte("hold\n"))
	s.settle()
	return func() {
		close(gate)
		s.settle()
	}
}

func oneShard(o *hub.Options) { o.Shards = 1 }

// Whatever is queued for a session goes out in one write, and is encoded once
// for all sessions of a form.
func TestWhatIsQueuedSharesAWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		other := &text{name: "other"}
		var clients []*client
		for range 10 {
			a, b := s.connect(""), s.open(func(o *hub.SessionOptions) { o.Form = other })
			if err := b.Connect(nobody()); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*client{a, b} {
				c.subscribe("log:x")
				c.subscribe("log:y")
				clients = append(clients, c)
			}
		}
		release := s.hold()
		before := make([]int, len(clients))
		for i, c := range clients {
			before[i] = c.writes()
		}
		encoded, otherwise := s.form.calls.Load(), other.calls.Load()
		s.publish("log:x", numbers(1, 50)...)
		s.publish("log:y", numbers(51, 60)...)
		release()
		for i, c := range clients {
			if n := c.writes() - before[i]; n != 1 {
				t.Errorf("%d writes", n)
			}
			c.gets(t, numbers(1, 60)...)
		}
		for form, n := range map[string]int64{"shared": s.form.calls.Load() - encoded, "other": other.calls.Load() - otherwise} {
			if n != 60 {
				t.Errorf("form %s encoded %d times, want once for each of 60", form, n)
			}
		}
		if n := s.metrics.Namespace("log").Delivered.Value(); n != 20*60 {
			t.Errorf("%d deliveries counted, want %d", n, 20*60)
		}
	})
}

// Joins and leaves go only to those who want them, still in one write.
func TestMixedEventsShareAWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		watcher, plain := s.connect("watcher"), s.connect("plain")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		plain.subscribe("room:x")
		watcher.lines()
		release := s.hold()
		writes := [2]int{watcher.writes(), plain.writes()}
		s.publish("room:x", "1")
		if err := s.connect("ann").join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
			t.Fatal(err)
		}
		s.publish("room:x", "2")
		release()
		if n := watcher.writes() - writes[0]; n != 1 {
			t.Errorf("%d writes to the watcher", n)
		}
		if n := plain.writes() - writes[1]; n != 1 {
			t.Errorf("%d writes to the other", n)
		}
		if l := watcher.lines(); len(l) != 3 || l[1] != "join room:x ann" {
			t.Errorf("the watcher got %s", show(l))
		}
		plain.gets(t, "1", "2")
	})
}

// A form that belongs to one session encodes for itself, on one goroutine.
func TestPrivateFormsEncodeForThemselves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		var forms []*text
		var clients []*client
		for range 5 {
			f := &text{name: "private"}
			forms = append(forms, f)
			c := s.connectAs(nobody(), func(o *hub.SessionOptions) { o.Form, o.Private = f, true })
			c.subscribe("log:x")
			clients = append(clients, c)
		}
		shared := s.connect("")
		shared.subscribe("log:x")
		calls := s.form.calls.Load()
		s.publish("log:x", numbers(1, 20)...)
		for i, c := range clients {
			c.gets(t, numbers(1, 20)...)
			if n := forms[i].calls.Load(); n != 20 {
				t.Errorf("form %d encoded %d times", i, n)
			}
		}
		shared.gets(t, numbers(1, 20)...)
		if n := s.form.calls.Load() - calls; n != 20 {
			t.Errorf("the shared form encoded %d times", n)
		}
	})
}

// A session that stops reading costs its queue and one write, is told that it
// is slow, and nobody else notices.
func TestSlowSessionIsBounded(t *testing.T) {
	const queue, one = 8 << 10, 64 << 10
	for name, together := range map[string]bool{"one by one": false, "in one round": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, func(o *hub.Options) { o.Shards, o.Limits.QueueBytes = 1, queue })
				stuck, fine := s.connect(""), s.connect("")
				stuck.subscribe("deep:x")
				fine.subscribe("deep:x")
				stuck.allow(0)
				before, _ := stuck.taken()
				release := func() {}
				if together {
					release = s.hold()
				}
				word := strings.Repeat("x", 1000)
				for range 1000 {
					s.publish("deep:x", word)
					if !together {
						s.settle()
					}
				}
				release()
				if n := s.metrics.Hub().SlowDisconnects.Value(); n != 1 {
					t.Errorf("%d sessions were slow", n)
				}
				if n := len(data(fine.lines())); n != 1000 {
					t.Errorf("the other got %d", n)
				}
				stuck.allow(-1)
				s.settle()
				after, _ := stuck.taken()
				if held := after - before; held > queue+one+100 {
					t.Errorf("%d bytes were held for it", held)
				}
				if l := stuck.lines(); l[len(l)-1] != "bye 3008" || !slices.Equal(data(l), slices.Repeat([]string{word}, len(l)-1)) {
					t.Errorf("it got %d lines, the last is %s", len(l), l[len(l)-1])
				}
			})
		})
	}
}

// No write is longer than what is joined for one, unless one message is.
func TestWritesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		c := s.connect("")
		c.subscribe("deep:x")
		c.subscribe("deep:y")
		release := s.hold()
		word := strings.Repeat("x", 1000)
		for range 500 {
			s.publish("deep:x", word)
			s.publish("deep:y", word)
		}
		c.Send([]byte(strings.Repeat("y", 100_000) + "\n"))
		release()
		if _, longest := c.taken(); longest > 100_000+64<<10 {
			t.Errorf("a write of %d bytes", longest)
		}
		l := c.lines()
		if n := len(data(l)); n != 1000 || len(l) != 1001 {
			t.Errorf("got %d publications of %d lines", n, len(l))
		}
		if !slices.ContainsFunc(l, func(line string) bool { return len(line) == 100_000 }) {
			t.Error("the long line is not there")
		}
	})
}

// A write that comes short goes on where it stopped, byte by byte if need be.
func TestShortWritesResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("")
		c.subscribe("log:x")
		c.allow(0)
		c.allow(5)
		s.publish("log:x", numbers(1, 20)...)
		s.settle()
		for i := range 300 {
			c.allow(1 + i%3)
			s.settle()
			if i%50 == 0 {
				s.publish("log:x", numbers(21+i/50, 21+i/50)...)
			}
		}
		c.allow(-1)
		c.gets(t, numbers(1, 26)...)
	})
}

// A reply may be longer than the queue: a slow link that takes it bit by bit
// is not slow.
func TestLongReplyOnASlowLink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.QueueBytes = 1000 })
		c := s.connect("")
		c.subscribe("log:x")
		c.allow(0)
		c.Send([]byte(strings.Repeat("y", 100_000) + "\n"))
		s.settle()
		s.publish("log:x", "1")
		for range 11 {
			s.settle()
			c.allow(10_000)
		}
		s.settle()
		if l := c.lines(); len(l) != 2 || len(l[0]) != 100_000 || !slices.Equal(data(l), []string{"1"}) {
			t.Errorf("got %d lines, of them %q", len(l), data(l))
		}
	})
}

// Nor is it dead: as long as it takes what comes before a ping, it cannot have
// heard the ping. A trickle is not enough for that.
func TestPingsOnASlowLink(t *testing.T) {
	for _, link := range []struct {
		rate  int // bytes a second
		alive bool
	}{{20_000, true}, {2_000, true}, {100, false}, {0, false}} {
		t.Run(fmt.Sprint(link.rate), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, timers(25*time.Second, 10*time.Second))
				c := s.connect("")
				var bytes, pings int
				c.listen(func(line string) {
					bytes += len(line)
					if line == "ping" {
						pings++
						c.Pong()
					}
				})
				c.allow(0)
				c.Send([]byte(strings.Repeat("y", 600_000) + "\n"))
				for range 310 {
					if c.closed() {
						break
					}
					c.allow(link.rate)
					wait(time.Second)
				}
				if c.closed() == link.alive {
					t.Fatalf("closed: %v", c.closed())
				}
				if link.alive && (pings == 0 || bytes < 600_000) {
					t.Errorf("%d bytes and %d pings came", bytes, pings)
				}
			})
		})
	}
}

// Who takes a bit now and then but too little is slow too.
func TestTooLittleIsSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.QueueBytes = 1000 })
		c := s.connect("")
		c.subscribe("log:x")
		c.allow(0)
		for range 100 {
			s.publish("log:x", strings.Repeat("x", 90))
			c.allow(10)
			s.settle()
		}
		if s.hub.Connections() != 0 {
			t.Error("still there")
		}
		wait(6 * time.Second)
		if !c.closed() {
			t.Error("still open")
		}
	})
}

// A wire that breaks ends its session, at once or while bytes wait.
func TestBrokenWireEndsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		now, later := s.connect("ann"), s.connect("bob")
		for _, c := range []*client{now, later} {
			c.subscribe("room:x")
		}
		later.allow(0)
		now.cut()
		s.publish("room:x", "1")
		s.settle()
		if n := s.hub.Connections(); n != 1 || !now.closed() {
			t.Errorf("%d connections, closed: %v", n, now.closed())
		}
		later.cut()
		s.settle()
		if n := s.hub.Connections(); n != 0 || !later.closed() {
			t.Errorf("%d connections, closed: %v", n, later.closed())
		}
		if n := s.metrics.Disconnect(3009).Value(); n != 2 {
			t.Errorf("%d write errors counted", n)
		}
		if st, err := s.hub.PresenceStats("room:x"); err != nil || st.Clients != 0 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// What is sent to a session that is over goes nowhere.
func TestNothingAfterTheGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		c := s.connect("")
		sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "log:x"})
		if err != nil {
			t.Fatal(err)
		}
		release := s.hold()
		c.Send([]byte("before\n"))
		c.Close(hub.DisconnectForceReconnect)
		c.Close(hub.DisconnectExpired)
		c.Send([]byte("after\n"))
		sn.Live([]byte("reply\n"))
		s.publish("log:x", "1")
		release()
		c.wants(t, "before", "bye 3011")
	})
}
