package hub_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// lifetown is a town whose nodes share a diary. first is the oldest.
type lifetown struct {
	*town
	shared  channel.Engine
	diaries map[string]*diary
}

func newLifetown(t *testing.T, ids ...string) *lifetown {
	t.Helper()
	return newLifetownWith(t, living, ids...)
}

func newLifetownWith(t *testing.T, change func(*hub.Options), ids ...string) *lifetown {
	t.Helper()
	w := &lifetown{shared: sharedEngine(t), diaries: make(map[string]*diary)}
	w.town = newTown(t, change, func(id string) channel.Engine {
		d := newDiary(w.shared)
		w.diaries[id] = d
		return d
	})
	for _, id := range ids {
		w.up(id)
	}
	return w
}

func (w *lifetown) up(id string) *node {
	n := w.start(id)
	n.hub.Begin()
	wait(3 * time.Second)
	return n
}

// dies takes a node away without a word.
func (w *lifetown) dies(id string) {
	w.diaries[id].fail(channel.ErrUnavailable)
	w.kill(id)
	wait(20 * time.Second)
}

// count returns how often each line was told.
func (w *lifetown) count() map[string]int {
	lines, _ := told(w.t, w.shared)
	out := make(map[string]int)
	for _, l := range lines {
		out[l]++
	}
	return out
}

func (w *lifetown) tells(once ...string) {
	w.t.Helper()
	wait(3 * time.Second)
	got := w.count()
	for _, l := range once {
		if got[l] != 1 {
			w.t.Errorf("%q was told %d times", l, got[l])
		}
		delete(got, l)
	}
	for l, n := range got {
		w.t.Errorf("%q was told %d times", l, n)
	}
}

// A channel is occupied by its first subscriber on any node, and vacated by its
// last one.
func TestLifecycleOfACluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLifetown(t, "a", "b", "c")
		b, c := w.nodes["b"].connect("bob"), w.nodes["c"].connect("cat")
		b.subscribe("room:x")
		c.subscribe("room:x")
		wait(3 * time.Second)
		_ = b.Unsubscribe("room:x")
		lines := []string{
			"node_up a", "node_up b", "node_up c", "connected bob", "connected cat",
			"subscribed room:x bob", "subscribed room:x cat", "occupied room:x", "unsubscribed room:x bob",
		}
		w.tells(lines...)
		_ = c.Unsubscribe("room:x")
		w.tells(append(lines, "unsubscribed room:x cat", "vacated room:x")...)
	})
}

// What a node had that dies is told by the others, once, whether it spoke for
// the cluster or not.
func TestLifecycleOfADeadNode(t *testing.T) {
	for _, dies := range []string{"a", "b", "c"} {
		t.Run(dies, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newLifetown(t, "a", "b", "c")
				lines := []string{"node_up a", "node_up b", "node_up c", "occupied room:x", "occupied room:a", "occupied room:b", "occupied room:c"}
				for _, id := range []string{"a", "b", "c"} {
					c := w.nodes[id].connect(id)
					c.subscribe("room:x")
					c.subscribe("room:" + id)
					lines = append(lines, "connected "+id, "subscribed room:x "+id, fmt.Sprintf("subscribed room:%s %s", id, id))
				}
				w.tells(lines...)
				wait(time.Minute)
				w.dies(dies)
				lines = append(lines, "node_down "+dies, "disconnected "+dies+" node down", "vacated room:"+dies)
				w.tells(lines...)
				// Another life of it, and nothing is told again.
				w.up(dies)
				if got := w.count(); got["node_up "+dies] != 2 || got["occupied room:x"] != 1 {
					t.Errorf("told %v", got)
				}
			})
		})
	}
}

// The last words of a dead node are told, once, also by an engine that answers
// the one who says them as if somebody else had.
func TestLifecycleOfADeadNodeByAnUnsureEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLifetown(t, "a", "b", "c")
		w.nodes["a"].connect("ann").subscribe("room:a")
		wait(time.Minute)
		for _, id := range []string{"b", "c"} {
			w.diaries[id].forget()
		}
		w.dies("a")
		w.tells("node_up a", "node_up b", "node_up c", "connected ann", "subscribed room:a ann", "occupied room:a",
			"node_down a", "disconnected ann node down", "vacated room:a")
	})
}

// A node that stops says its own last words, and the others say none for it.
func TestLifecycleOfAStoppedNode(t *testing.T) {
	for _, stops := range []string{"a", "c"} {
		t.Run(stops, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newLifetown(t, "a", "b", "c")
				w.nodes[stops].connect("ann").subscribe("room:x")
				wait(time.Minute)
				w.stop(stops)
				wait(20 * time.Second)
				w.tells("node_up a", "node_up b", "node_up c", "connected ann", "subscribed room:x ann", "occupied room:x",
					"unsubscribed room:x ann connection closed", "disconnected ann shutdown", "vacated room:x", "node_down "+stops)
			})
		})
	}
}

// What the speaker may not have said any more the next one says again.
func TestLifecycleEchoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLifetown(t, "a", "b")
		w.diaries["a"].fail(channel.ErrUnavailable) // it is about to die
		w.nodes["b"].connect("bob").subscribe("room:x")
		wait(time.Second)
		w.dies("a")
		w.tells("node_up a", "node_up b", "connected bob", "subscribed room:x bob", "node_down a", "occupied room:x again")
	})
}

// The nodes of a cluster say each of many turns once, in the end.
func TestLifecycleAtRandom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLifetown(t, "a", "b", "c")
		clients := []*client{w.nodes["a"].connect("a"), w.nodes["b"].connect("b"), w.nodes["c"].connect("c")}
		for i := range 300 {
			c := clients[i*7%3]
			name := fmt.Sprint("room:", i*i%5)
			if slices.Contains(c.Subscriptions(), name) {
				_ = c.Unsubscribe(name)
			} else {
				c.subscribe(name)
			}
			if i%10 == 0 {
				wait(time.Second)
			}
		}
		wait(5 * time.Second)
		lines, _ := told(t, w.shared)
		occupied := make(map[string]bool)
		for _, l := range lines {
			var kind, name string
			_, _ = fmt.Sscan(l, &kind, &name)
			switch kind {
			case hub.LifeOccupied, hub.LifeVacated:
				if occupied[name] == (kind == hub.LifeOccupied) {
					t.Errorf("%s twice in a row", l)
				}
				occupied[name] = kind == hub.LifeOccupied
			}
		}
		for i := range 5 {
			name, has := fmt.Sprint("room:", i), false
			for _, c := range clients {
				has = has || slices.Contains(c.Subscriptions(), name)
			}
			if occupied[name] != has {
				t.Errorf("%s is told occupied: %v, it is: %v", name, occupied[name], has)
			}
		}
	})
}
