package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"myelin/hub"
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
