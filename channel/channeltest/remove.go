package channeltest

import (
	"strings"

	"myelin/channel"
)

func removeChecks() []check {
	return []check{
		{"remove/history", checkRemove},
		{"remove/entries", checkRemoveEntries},
	}
}

func checkRemove(x *exam) {
	p := x.policy(10)
	x.ok(x.e.Remove(x.ctx, "remove:unused", p), "Remove of an unused channel")
	top := x.subscribe("remove", p)
	at := x.fill("remove", p, 3)
	other := x.fill("remove:2", p, 2)
	x.ok(x.e.Remove(x.ctx, "remove", p), "Remove")
	x.answer("from the top", x.since("remove", p, at[3]), at[3], true)
	x.answer("from behind", x.since("remove", p, at[2]), at[3], false)
	x.answer("from the start", x.since("remove", p, at[0]), at[3], false)
	x.answer("from nowhere", x.since("remove", p, channel.Position{}), at[3], false)
	x.answer("another channel", x.since("remove:2", p, other[0]), other[2], true, "1", "2")
	x.ok(x.e.Remove(x.ctx, "remove", p), "Remove again")
	next := x.publish("remove", p, "4")
	x.answer("after one more, from the old top", x.since("remove", p, at[3]), next.Position, true, "4")
	x.answer("after one more, from behind", x.since("remove", p, at[2]), next.Position, false, "4")
	x.chain("delivered", x.await("remove", next.Position), top)
}

func checkRemoveEntries(x *exam) {
	x.needState()
	p := x.statePolicy(10)
	p.KeyTTL = x.windows(2.5)
	top := x.subscribe("wiped", p)
	for k := range strings.FieldsSeq("a b c d") {
		x.put("wiped", p, k, "old")
	}
	at := x.top("wiped", p)
	x.ok(x.e.Remove(x.ctx, "wiped", p), "Remove")
	x.holds("removed", "wiped", p)
	x.answer("from the top", x.since("wiped", p, at), at, true)
	_, err := x.putIf("wiped", p, "a", "no", at.Offset)
	x.conflicts("a removed key, expected to be there", err, 0)
	last := x.put("wiped", p, "a", "new")
	x.holds("put again", "wiped", p, "a", "new")
	x.await("wiped", last.Position)
	x.pass(1)
	x.put("wiped", p, "e", "new")
	x.pass(2)
	// The removed entries had an end before them; only a's comes.
	got := x.sink.got("wiped")
	x.chain("delivered", got, top)
	if end := got[len(got)-1]; len(got) != 7 || end.Op != channel.OpExpire || end.Key != "a" {
		x.failf("after the end of one entry %d publications, the last %+v; want 7 and the end of a", len(got), *end)
	}
}
