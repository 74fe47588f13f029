package channeltest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

func busLifeChecks() []busCheck {
	return []busCheck{
		{"bus/acquaintance", checkBusAcquaintance},
		{"bus/goodbye", checkBusGoodbye},
		{"bus/death", checkBusDeath},
		{"bus/restart", checkBusRestart},
		{"bus/cut", checkBusCut},
		{"bus/pause", checkBusPause},
		{"bus/long-pause", checkBusLongPause},
		{"bus/flood-and-die", checkBusFloodAndDie},
		{"bus/same-name", checkBusSameName},
	}
}

// checkBusAcquaintance holds that each node learns of each other once, with
// all that there is to know, whoever comes first.
func checkBusAcquaintance(x *busExam) {
	nodes := make([]*busEars, 3)
	nodes[0], nodes[1], nodes[2] = x.trio("news")
	for _, n := range nodes {
		if n.Self().Incarnation == 0 {
			x.failf("%s has no incarnation", n.Self().ID)
		}
		var events []channel.PeerEvent
		for _, note := range n.notes() {
			if note.event != nil {
				events = append(events, *note.event)
			}
		}
		if len(events) != 2 || len(n.Peers()) != 2 {
			x.failf("%s was told %v and has peers %v, want each of the two others once", n.Self().ID, events, n.Peers())
		}
	}
}

// checkBusGoodbye holds that who leaves is gone at once: before somebody who
// died in silence a moment earlier.
func checkBusGoodbye(x *busExam) {
	a, b, c := x.trio("news")
	x.ok(c.Broadcast("news", busText(1, "last words")), "Broadcast")
	x.world.Kill("a")
	x.ok(c.Close(x.ctx), "Close")
	if !x.f.RealTime {
		x.down(time.Second, b, c.Self())
	}
	x.down(busDown, b, a.Self())
	x.down(0, b, c.Self())
	var gone []string
	for _, note := range b.notes() {
		if note.event != nil && !note.event.Up {
			gone = append(gone, note.event.Node.ID)
		}
	}
	if len(gone) != 2 || gone[0] != "c" {
		x.failf("b took %v for gone, in this order: c said goodbye, and a died without a word", gone)
	}
	if b.count("c", "news") != 1 {
		x.failf("b did not hear what was said before the goodbye")
	}
}

// checkBusDeath holds that a node that dies is down in time.
func checkBusDeath(x *busExam) {
	a, b, c := x.trio("news")
	x.world.Kill("c")
	for _, n := range []*busEars{a, b} {
		x.down(busDown, n, c.Self())
		x.up(0, n, map[*busEars]channel.Node{a: b.Self(), b: a.Self()}[n])
	}
	_, err := a.Request(x.ctx, "c", "ask", nil)
	x.refused(err, "Request of a dead node", channel.ErrUnavailable)
}

// checkBusRestart holds that a restarted node is another incarnation, and that
// the old one is announced as gone before.
func checkBusRestart(x *busExam) {
	a, _, c := x.trio("news")
	x.world.Kill("c")
	again := x.join("c", "news")
	if again.Self().ID != "c" || again.Self().Incarnation <= c.Self().Incarnation {
		x.failf("the restart of %v is %v: its incarnation must be greater", c.Self(), again.Self())
	}
	x.up(x.f.Patience, a, again.Self())
	x.up(x.f.Patience, again, a.Self())
	if a.thinks(c.Self()) {
		x.failf("the old incarnation was not announced as down")
	}
	x.ok(again.Broadcast("news", busText(1, "again")), "Broadcast")
	x.heard(a, "c", "news", 1)
}

// checkBusCut holds that a node that is cut off is down for the others and they
// for it, and that it comes back as the same.
func checkBusCut(x *busExam) {
	if x.world.Isolate == nil {
		x.leaveOut("nothing can be cut here")
	}
	a, b, c := x.trio("news")
	x.world.Isolate("c")
	x.down(busDown, a, c.Self())
	x.down(busDown, b, c.Self())
	x.down(busDown, c, a.Self())
	x.down(busDown, c, b.Self())
	x.up(0, a, b.Self())
	x.ok(a.Broadcast("news", busText(1, "for b")), "Broadcast")
	x.heard(b, "a", "news", 1)
	x.world.Rejoin("c")
	x.acquainted(a, b, c)
	x.ok(a.Broadcast("news", busText(2, "for all")), "Broadcast")
	x.heard(b, "a", "news", 2)
	x.eventually(x.f.Patience, func() string {
		if c.count("a", "news") == 0 {
			return "c hears nothing after it came back"
		}
		return ""
	})
}

// checkBusPause holds that a short pause is nothing to speak of.
func checkBusPause(x *busExam) {
	x.pause(3*time.Second, func(a, b, c *busEars) {
		for _, n := range []*busEars{a, b, c} {
			for _, note := range n.notes() {
				if note.event != nil && !note.event.Up {
					x.failf("%s announced %v as down", n.Self().ID, note.event.Node)
				}
			}
		}
	})
}

// checkBusLongPause holds that a node that was paused too long is down and
// comes back, and that it takes nobody else for dead.
func checkBusLongPause(x *busExam) {
	x.pause(12*time.Second, func(a, b, c *busEars) {
		for _, n := range []*busEars{a, b} {
			downs := 0
			for _, note := range n.notes() {
				if note.event != nil && note.event.Node == c.Self() && !note.event.Up {
					downs++
				}
			}
			if downs != 1 {
				x.failf("%s announced c as down %d times, want once", n.Self().ID, downs)
			}
		}
		for _, note := range c.notes() {
			if note.event != nil && !note.event.Up {
				x.failf("c was paused, and announced %v as down", note.event.Node)
			}
		}
	})
}

// pause pauses c for a while, and looks after some seconds more.
func (x *busExam) pause(d time.Duration, look func(a, b, c *busEars)) {
	if x.world.Pause == nil {
		x.leaveOut("nothing can be paused here")
	}
	a, b, c := x.trio("news")
	x.world.Pause("c")
	time.Sleep(d)
	x.world.Resume("c")
	time.Sleep(busDown)
	x.acquainted(a, b, c)
	look(a, b, c)
}

// checkBusFloodAndDie has nodes die while they talk. That nothing is heard of
// them before they were announced and after they are gone is verified in the
// end.
func checkBusFloodAndDie(x *busExam) {
	a, b := x.join("a", "news"), x.join("b", "news")
	x.acquainted(a, b)
	for round := range 3 {
		c := x.join("c", "news")
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 1; !stop.Load(); i++ {
				_ = c.Broadcast("news", busText(i, "flood"))
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		x.eventually(x.f.Patience, func() string {
			for _, n := range []*busEars{a, b} {
				if got := n.countOf(c.Self()); got < 10 {
					return fmt.Sprintf("%s heard %d messages", n.Self().ID, got)
				}
			}
			return ""
		})
		if round%2 == 0 {
			x.world.Kill("c")
		} else {
			x.ok(c.Close(x.ctx), "Close")
		}
		stop.Store(true)
		wg.Wait()
	}
	for _, n := range []*busEars{a, b} {
		x.eventually(busDown, func() string {
			if len(n.Peers()) == 1 {
				return ""
			}
			return fmt.Sprintf("%s has peers %v", n.Self().ID, n.Peers())
		})
	}
}

// countOf returns how many messages of one incarnation were heard.
func (n *busEars) countOf(from channel.Node) (count int) {
	for _, note := range n.notes() {
		if note.event == nil && note.from == from {
			count++
		}
	}
	return count
}

// checkBusSameName holds that a second live process of the same name is told
// so, and does not disturb the first one.
func checkBusSameName(x *busExam) {
	a, b := x.join("a", "news"), x.join("b", "news")
	x.acquainted(a, b)
	twin := x.prepare("a", "news")
	ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
	defer cancel()
	x.refused(twin.Start(ctx), "Start of a second node a", channel.ErrConflict)
	x.ok(twin.Close(ctx), "Close of a node that was refused")
	x.ok(a.Broadcast("news", busText(1, "still here")), "Broadcast")
	x.heard(b, "a", "news", 1)
	if !b.thinks(a.Self()) || len(twin.notes()) > 0 {
		x.failf("b thinks of a as %v, and the second a was told %v", b.thinks(a.Self()), twin.notes())
	}
}
