package channeltest

import (
	"fmt"
	"maps"

	"myelin/channel"
)

func restartChecks() []check {
	return []check{
		{"restart/clean", func(x *exam) { checkRestart(x, true) }},
		{"restart/crash", func(x *exam) { checkRestart(x, false) }},
		{"lost/feed-cut", checkFeedCut},
	}
}

// survives reports whether the policies' durability promises that everything
// acknowledged is there after a restart.
func (x *exam) survives(clean bool) bool {
	switch x.f.Durability {
	case channel.DurabilitySync:
		return true
	case channel.DurabilityAsync:
		return clean
	case channel.DurabilityMemory:
	}
	return false
}

// restart puts a new engine in the place of the old one.
func (x *exam) restart(clean bool) {
	x.sink.verify(x)
	old := x.sink
	x.sink = newRecorder()
	x.open(x.f.Restart(x.tb, x.e, clean))
	old.closed.Store(true)
}

// checkRestart holds that an epoch that goes on has lost nothing, and that it
// goes on where that is promised.
func checkRestart(x *exam, clean bool) {
	if x.f.Restart == nil {
		x.leaveOut("the factory cannot restart")
	}
	p := x.policy(100)
	at := x.fill("back", p, 20)
	first := x.named("back", p, "id", "21")
	before := x.since("back", p, at[0]).Pubs
	state := x.statePolicy(100)
	entries := make(map[string]string)
	var stateTop channel.Position
	if x.e.Caps().State {
		for i := range 20 {
			x.put("back:state", state, fmt.Sprint(i%7), fmt.Sprint(i))
		}
		stateTop = x.del("back:state", state, "3").Position
		entries = x.entries("back:state", state)
	}
	for round := range 3 {
		x.restart(clean)
		res := x.since("back", p, at[0])
		switch {
		case res.Top.Epoch != at[0].Epoch && x.survives(clean):
			x.failf("restart %d: the epoch changed, although all that was acknowledged survives", round)
		case res.Top.Epoch != at[0].Epoch:
			x.answer("after a restart with loss", res, res.Top, false)
			x.holdsMap("after a restart with loss", "back:state", state, entries, false)
			return
		}
		if !res.Complete || res.Top != first.Position {
			x.failf("restart %d: the epoch goes on, but complete is %v and the top %v, want true and %v", round, res.Complete, res.Top, first.Position)
		}
		x.same(fmt.Sprintf("read after restart %d", round), res.Pubs, before)
		x.holdsMap("after a restart", "back:state", state, entries, true)
		if x.e.Caps().State && x.top("back:state", state) != stateTop {
			x.failf("the state channel is at %v, was at %v", x.top("back:state", state), stateTop)
		}
		x.repeated(first, x.named("back", p, "id", "again"))
	}
	next := x.publish("back", p, "22")
	if next.Epoch != first.Epoch || next.Offset <= first.Offset {
		x.failf("after a restart a publication got %v, the last one before had %v", next.Position, first.Position)
	}
}

// holdsMap is holds with a map. Where the entries need not be there, they are
// only asked for.
func (x *exam) holdsMap(what, name string, p *channel.Policy, want map[string]string, must bool) {
	if !x.e.Caps().State {
		return
	}
	if got := x.entries(name, p); must && !maps.Equal(got, want) {
		x.failf("%s: entries %q, want %q", what, got, want)
	}
}

// checkFeedCut holds that what goes missing from the feed does not go missing
// silently: who reads upon Lost, and upon a broken chain, has everything.
func checkFeedCut(x *exam) {
	if x.f.Cut == nil {
		x.leaveOut("the factory cannot cut the feed")
	}
	x.sink.lossy.Store(true)
	p := x.policy(1000)
	names := []string{"cut:busy", "cut:last", "cut:quiet"}
	tops := make(map[string]channel.Position)
	for _, name := range names {
		tops[name] = x.subscribe(name, p)
		x.await(name, x.publish(name, p, "before").Position)
	}
	heal := x.f.Cut(x.tb, x.e)
	for range 10 {
		x.publish("cut:busy", p, "during")
	}
	// Nothing follows this one, so no broken chain will tell.
	x.publish("cut:last", p, "during")
	heal()
	x.publish("cut:busy", p, "after")
	for _, name := range names {
		x.eventually(func() string { return x.whole(name, p, tops[name]) })
	}
}

// whole returns "" where a subscriber that keeps the rules has all of a
// channel.
func (x *exam) whole(name string, p *channel.Policy, from channel.Position) string {
	last := from
	broken := x.sink.losses(name) > 0
	for _, pub := range x.sink.got(name) {
		broken = broken || pub.Prev != last.Offset
		last = pub.Position
	}
	if broken {
		if res := x.since(name, p, from); !res.Complete {
			return "after a loss the history is not complete"
		}
		return ""
	}
	if top := x.top(name, p); last != top {
		return fmt.Sprintf("%s: the feed is whole up to %d, the channel is at %d, and nobody said that something was lost", name, last.Offset, top.Offset)
	}
	return ""
}
