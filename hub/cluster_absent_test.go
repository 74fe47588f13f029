package hub_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

// What is done to the sessions of a node that is cut off is done when it is
// back, and not to those that come later.
func TestOperationsReachNodesThatComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		ctx := context.Background()
		a := w.nodes["a"]
		banned := w.nodes["b"].connect("ann")
		member := w.nodes["b"].in("bob", "room:x", false)
		here := a.connect("cid")
		for _, other := range []string{"a", "c"} {
			w.net.Cut(other, "b")
		}
		wait(10 * time.Second)
		if n, err := a.hub.Disconnect(ctx, hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, nil); n != 0 || err != nil {
			t.Errorf("disconnected %d, %v", n, err)
		}
		if _, err := a.hub.Unsubscribe(ctx, hub.Target{Client: member.ID()}, "room:x"); err != nil {
			t.Error(err)
		}
		// One that is found needs no other node.
		if n, err := a.hub.Disconnect(ctx, hub.Target{Client: here.ID()}, hub.DisconnectForceNoReconnect, nil); n != 1 || err != nil {
			t.Errorf("disconnected %d, %v", n, err)
		}
		synctest.Wait()
		if w.nodes["b"].hub.Connections() != 2 {
			t.Error("a node that is cut off heard of it")
		}
		for _, other := range []string{"a", "c"} {
			w.net.Heal(other, "b")
		}
		wait(3 * time.Second)
		banned.wants(t, "bye 3503")
		if w.nodes["b"].hub.Connections() != 1 {
			t.Errorf("%d connections are left, want that of the member", w.nodes["b"].hub.Connections())
		}
		w.everywhere("room:x")
		again := w.nodes["b"].connect("ann")
		wait(5 * time.Second)
		if got := again.lines(); len(got) != 0 {
			t.Errorf("who came later was told %q", got)
		}
	})
}

// Another process of the same name has none of the old sessions, and is not
// asked to do anything to its own.
func TestOperationsDoNotReachTheNextProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.nodes["b"].connect("ann")
		w.kill("b")
		wait(10 * time.Second)
		if _, err := w.nodes["a"].hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, nil); err != nil {
			t.Error(err)
		}
		w.start("b").connect("ann")
		wait(5 * time.Second)
		if n := w.nodes["b"].hub.Connections(); n != 1 {
			t.Errorf("%d connections at the new process, want 1", n)
		}
	})
}

// deaf is a bus on which a node is seen that does not answer.
type deaf struct {
	channel.Bus
	asked *atomic.Int64
	until time.Time
	err   error
}

func (d deaf) Request(ctx context.Context, node, topic string, b []byte) ([]byte, error) {
	if topic == "hub.operate" && time.Now().Before(d.until) {
		d.asked.Add(1)
		return nil, d.err
	}
	return d.Bus.Request(ctx, node, topic, b)
}

// A node that is back and cannot answer yet is asked now and then until it
// does; one that refuses is asked once.
func TestOperationsWaitForNodesThatComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		most int64
		left int
	}{
		"silent":   {channel.ErrUnavailable, 31, 0},
		"refusing": {channel.ErrBadRequest, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var asked atomic.Int64
				back := time.Now().Add(20 * time.Second)
				w := newTown(t, func(o *hub.Options) {
					o.Bus = deaf{o.Bus, &asked, back.Add(3 * time.Second), c.err}
				}, nil, "a", "b")
				w.nodes["b"].connect("ann")
				w.net.Cut("a", "b")
				wait(10 * time.Second)
				if _, err := w.nodes["a"].hub.Disconnect(t.Context(), hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, nil); err != nil {
					t.Error(err)
				}
				asked.Store(0)
				time.Sleep(time.Until(back))
				w.net.Heal("a", "b")
				wait(10 * time.Second)
				if n := asked.Load(); n == 0 || n > c.most {
					t.Errorf("asked %d times", n)
				}
				if n := w.nodes["b"].hub.Connections(); n != c.left {
					t.Errorf("%d connections are left, want %d", n, c.left)
				}
			})
		})
	}
}

// For a node that is away so many operations are held, the newest, and what is
// given up is counted.
func TestHeldOperationsAreBounded(t *testing.T) {
	const most, more = 1024, 3
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		user := func(i int) string { return fmt.Sprint("u", i) }
		for i := range most + more {
			w.nodes["b"].connect(user(i))
		}
		w.net.Cut("a", "b")
		wait(10 * time.Second)
		for i := range most + more {
			if _, err := w.nodes["a"].hub.Disconnect(context.Background(), hub.Target{User: user(i)}, hub.DisconnectForceNoReconnect, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.nodes["a"].metrics.Limit(observe.LimitHeldOperations).Value(); n != more {
			t.Errorf("counted %d operations as given up, want %d", n, more)
		}
		w.net.Heal("a", "b")
		wait(time.Minute)
		if n := w.nodes["b"].hub.Connections(); n != more {
			t.Errorf("%d connections are left, want the %d whose operations were given up", n, more)
		}
	})
}
