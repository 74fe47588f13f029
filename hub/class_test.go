package hub_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// patches lets the clients of namespaces have patches.
func patches(names ...string) func(o *hub.Options) {
	return func(o *hub.Options) {
		for _, n := range names {
			o.Namespaces[n].Delta = true
		}
	}
}

// sees opens a session that shows how events come.
func (s *stage) sees(form *shown) *client {
	return s.connectAs(nobody(), func(o *hub.SessionOptions) { o.Form = form })
}

func TestPatches(t *testing.T) {
	for _, ns := range []string{"log", "live"} {
		t.Run(ns, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, patches(ns))
				name := ns + ":x"
				form := &shown{}
				a, b, plain := s.sees(form), s.sees(form), s.sees(form)
				if sn := a.choosy(hub.SubscribeRequest{Channel: name, Delta: true}); !sn.Delta {
					t.Error("no patches")
				}
				plain.choosy(hub.SubscribeRequest{Channel: name})
				s.publish(name, "1", "2")
				a.shows(name+": 1 (full)", name+": 2 (patch to 1)")
				b.choosy(hub.SubscribeRequest{Channel: name, Delta: true})
				before := form.calls.Load()
				s.publish(name, "3", "4")
				a.shows(name+": 3 (patch to 2)", name+": 4 (patch to 3)")
				b.shows(name+": 3 (full)", name+": 4 (patch to 3)")
				plain.shows(name+": 1 (plain)", name+": 2 (plain)", name+": 3 (plain)", name+": 4 (plain)")
				// Full and patch of 3, patch of 4, each plain; an eighth at most
				// where the two came in different rounds.
				if n := form.calls.Load() - before; n > 6 {
					t.Errorf("encoded %d times for three clients", n)
				}
				if n := s.metrics.Namespace(ns).DeltaSaved.Value(); n != 40 {
					t.Errorf("%d bytes saved", n)
				}
			})
		})
	}
}

// TestPatchesAfterRecovery go on from what was recovered, and from nothing
// that the client may not have.
func TestPatchesAfterRecovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patches("log"))
		form := &shown{}
		keeper := s.sees(form)
		keeper.choosy(hub.SubscribeRequest{Channel: "log:x"})
		at := s.publish("log:x", "1")
		s.publish("log:x", "2", "3")
		recovers := func(since channel.Position, last bool) *client {
			c := s.sees(form)
			sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{
				Channel: "log:x", Delta: true, Recover: !last, Last: last, Since: since,
			})
			if err != nil || !sn.Delta {
				t.Fatal(sn, err)
			}
			sn.Live(nil)
			return c
		}
		some, none, last := recovers(at, false), recovers(channel.Position{Epoch: at.Epoch, Offset: 3}, false), recovers(at, true)
		s.publish("log:x", "4")
		some.shows("log:x: 4 (patch to 3)")
		none.shows("log:x: 4 (full)") // it may not remember 3
		last.shows("log:x: 4 (patch to 3)")
		// One that is handed what came while it waited.
		c := s.sees(form)
		sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "log:x", Delta: true})
		if err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "5", "6")
		sn.Live(nil)
		c.shows("log:x: 5 (full)", "log:x: 6 (patch to 5)")
		s.publish("log:x", "7")
		c.shows("log:x: 7 (patch to 6)")
	})
}

func TestNoPatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patches("log"))
		for name, r := range map[string]hub.SubscribeRequest{
			"where the namespace has none": {Channel: "live:x"},
			"with a filter":                {Channel: "log:x", Filter: is(t, "a", "b")},
			"conflated":                    {Channel: "log:y", Rate: 1},
		} {
			r.Delta = true
			if sn := s.connect("u").choosy(r); sn.Delta {
				t.Errorf("patches %s", name)
			}
		}
		private := s.connectAs(nobody(), func(o *hub.SessionOptions) { o.Form, o.Private = &shown{}, true })
		if sn := private.choosy(hub.SubscribeRequest{Channel: "log:x", Delta: true, Numeric: true}); sn.Delta || sn.ID != 0 {
			t.Error("a private form is given patches or an id")
		}
	})
}

func TestNumericIDs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		form := &shown{}
		a, b, c := s.sees(form), s.sees(form), s.sees(form)
		x := a.choosy(hub.SubscribeRequest{Channel: "room:x", Numeric: true, JoinLeave: true})
		y := a.choosy(hub.SubscribeRequest{Channel: "log:y", Numeric: true})
		if x.ID == 0 || y.ID == 0 || x.ID == y.ID {
			t.Fatalf("ids %d and %d", x.ID, y.ID)
		}
		if same := b.choosy(hub.SubscribeRequest{Channel: "log:y", Numeric: true}); same.ID != y.ID {
			t.Errorf("one channel has the ids %d and %d", y.ID, same.ID)
		}
		wait(time.Second)
		a.lines()
		c.choosy(hub.SubscribeRequest{Channel: "room:x"})
		wait(time.Second)
		a.shows(fmt.Sprintf("#%d: join", x.ID))
		c.lines()
		s.publish("room:x", "1")
		s.publish("log:y", "2")
		a.shows(fmt.Sprintf("#%d: 1 (plain)", x.ID), fmt.Sprintf("#%d: 2 (plain)", y.ID))
		b.shows(fmt.Sprintf("#%d: 2 (plain)", y.ID))
		c.shows("room:x: 1 (plain)")
		// An id is never that of another channel: somebody might still think of
		// the first.
		seen := map[int64]string{x.ID: "room:x", y.ID: "log:y"}
		for i := range 50 {
			name := fmt.Sprint("log:", i%3)
			sn := c.choosy(hub.SubscribeRequest{Channel: name, Numeric: true})
			if was, ok := seen[sn.ID]; ok && was != name {
				t.Fatalf("%s has the id of %s", name, was)
			}
			seen[sn.ID] = name
			_ = c.Unsubscribe(name)
			s.settle()
		}
	})
}

// A batch of a namespace that waits less leaves before those that wait longer,
// whichever came first.
func TestBatchesOfDifferentNamespacesKeepTheirTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Shards = 1
			o.Namespaces["log"].BatchDelay, o.Namespaces["live"].BatchDelay = time.Second, 10*time.Millisecond
		})
		c := s.connect("u")
		c.subscribe("log:x")
		c.subscribe("live:y")
		wait(time.Second)
		s.publish("log:x", "slow")
		s.publish("live:y", "quick")
		wait(10 * time.Millisecond)
		if got := data(c.lines()); !slices.Equal(got, []string{"quick"}) {
			t.Errorf("after 10ms: %q", got)
		}
		wait(time.Second)
		if got := data(c.lines()); !slices.Equal(got, []string{"slow"}) {
			t.Errorf("after a second: %q", got)
		}
	})
}

// TestBatches: what comes within the delay shares a write, over all channels,
// and nothing waits longer.
func TestBatches(t *testing.T) {
	const delay = 5 * time.Millisecond
	writes := func(t *testing.T, most time.Duration) (n int) {
		bubble(t, func(t *testing.T) {
			s := newStage(t, nil, func(o *hub.Options) {
				o.Shards = 1
				for _, name := range []string{"log", "live"} {
					o.Namespaces[name].BatchDelay = most
				}
			})
			c := s.connect("u")
			c.subscribe("log:x")
			c.subscribe("live:y")
			before := c.writes()
			for i := range 100 {
				s.publish("log:x", fmt.Sprint(i))
				s.publish("live:y", fmt.Sprint(i))
				wait(time.Millisecond)
			}
			wait(delay)
			if got := data(c.lines()); len(got) != 200 {
				t.Fatalf("%d publications", len(got))
			}
			n = c.writes() - before
			// How long one waits.
			wait(time.Second)
			for range 10 {
				s.publish("log:x", "late")
				wait(most)
				if got := data(c.lines()); len(got) != 1 {
					t.Fatalf("waited longer than %v", most)
				}
				wait(1300 * time.Microsecond)
			}
		})
		return n
	}
	alone, batched := writes(t, 0), writes(t, delay)
	t.Logf("200 publications: %d writes at once, %d in batches", alone, batched)
	if alone < 100 || batched > 25 {
		t.Errorf("%d writes at once, %d in batches", alone, batched)
	}
}

// TestBatchesEndInOrder: a subscription's end does not overtake what waits, and
// a flood does not wait.
func TestBatchesEndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Namespaces["log"].BatchDelay = time.Second
			o.Namespaces["log"].Policy.HistorySize = 10_000
		})
		c := s.connect("u")
		c.subscribe("log:x")
		s.publish("log:x", "1")
		if n, err := s.hub.Unsubscribe(t.Context(), hub.Target{User: "u"}, "log:x"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.settle()
		if got := c.lines(); len(got) != 2 || data(got)[0] != "1" {
			t.Errorf("got %q", got)
		}
		c.subscribe("log:x")
		s.publish("log:x", numbers(1, 1500)...)
		s.settle()
		if got := len(data(c.lines())); got < 1024 {
			t.Errorf("%d publications of a flood have come", got)
		}
	})
}
