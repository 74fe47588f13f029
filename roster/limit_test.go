package roster_test

import (
	"fmt"
	"testing"

	"myelin/channel"
	"myelin/roster"
)

// A roster that cannot hold all says so, tells of nobody twice, and is whole
// again when there is room.
func TestRosterIsBounded(t *testing.T) {
	m := newMachine(10)
	a, b := m.sources[0], m.sources[1]
	m.settle(t)
	for i := range 9 {
		m.join(a, "room:x", fmt.Sprint("u", i), true, true, "")
	}
	m.settle(t)
	if node, _ := m.roster.Missing(); node != "" {
		t.Fatalf("%s is missing", node)
	}
	for i := range 5 {
		m.join(b, "room:x", fmt.Sprint("v", i), true, true, "")
	}
	m.settle(t)
	if node, full := m.roster.Missing(); node != "b" || !full || m.roster.Len() != 10 {
		t.Errorf("missing are those of %q (full: %v), %d are here", node, full, m.roster.Len())
	}
	begun, _ := m.roster.Copies()
	m.settle(t)
	if again, _ := m.roster.Copies(); again != begun {
		t.Error("it copies although there is no room")
	}
	for range 5 {
		for at := range a.here {
			a.leave(at)
			break
		}
	}
	m.settle(t)
	m.verify(t)
}

// Who is asked for nothing and who is not there says nothing.
func TestStrangers(t *testing.T) {
	m := newMachine(10)
	a := m.sources[0]
	m.join(a, "room:x", "u", true, true, "")
	frames, _ := a.journal.Flush(true)
	for _, n := range []channel.Node{a.node(), {ID: "a", Incarnation: 9}, {}} {
		for _, f := range frames {
			if events, ask := m.roster.Hear(n, f); events != nil || ask != nil {
				t.Errorf("%v was heard", n)
			}
		}
		m.roster.Down(n)
	}
	m.settle(t)
	if again := m.roster.Up(a.node()); again != nil {
		t.Error("a node that is up was asked again")
	}
	m.roster.Down(channel.Node{ID: "a", Incarnation: 9})
	m.verify(t)
	// A newer incarnation takes the place of the older one at once.
	a.incarnation, a.journal, a.here = 2, roster.NewJournal(2), map[roster.Place]roster.Member{}
	m.ask(m.roster.Up(a.node()))
	if n := len(m.roster.Members("room:x", 1<<20)); n != 0 {
		t.Errorf("%d members of one that is gone", n)
	}
	events, more := m.roster.Sweep(10)
	m.tell(t, events)
	if more || len(m.told) != 0 {
		t.Errorf("still told are %v", m.told)
	}
}
