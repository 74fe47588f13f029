package channeltest

import (
	"fmt"

	"myelin/channel"
)

func expiryChecks() []check {
	return []check{
		{"expiry/history", checkHistoryTTL},
		{"expiry/history-while-publishing", checkHistoryTTLRolls},
		{"expiry/position-remembered", checkPositionRemembered},
		{"expiry/position-forgotten", checkPositionForgotten},
		{"expiry/position-of-subscribed", checkPositionOfSubscribed},
	}
}

// checkHistoryTTL reads on both sides of the moment when what was published
// expires.
func checkHistoryTTL(x *exam) {
	p := x.policy(100)
	p.HistoryTTL = x.windows(2.5)
	at := x.fill("ttl", p, 2)
	x.pass(2)
	at = append(at, x.publish("ttl", p, "3").Position)
	top := at[3]
	x.answer("before any expires", x.since("ttl", p, at[0]), top, true, "1", "2", "3")
	x.pass(1)
	x.answer("two have expired, from the start", x.since("ttl", p, at[0]), top, false, "3")
	x.answer("two have expired, from nowhere", x.since("ttl", p, channel.Position{}), top, false, "3")
	x.answer("two have expired, from the first", x.since("ttl", p, at[1]), top, false, "3")
	x.answer("two have expired, from the second", x.since("ttl", p, at[2]), top, true, "3")
	x.pass(2)
	x.answer("all have expired, from the second", x.since("ttl", p, at[2]), top, false)
	x.answer("all have expired, from the top", x.since("ttl", p, top), top, true)
	x.answer("all have expired, from nowhere", x.since("ttl", p, channel.Position{}), top, false)
	next := x.publish("ttl", p, "4")
	if next.Epoch != top.Epoch || next.Offset <= top.Offset {
		x.failf("after all had expired a publication got %v, the one before had %v", next.Position, top)
	}
	x.answer("after a new one, from the old top", x.since("ttl", p, top), next.Position, true, "4")
}

// checkHistoryTTLRolls has publications expire in a channel that is in use.
func checkHistoryTTLRolls(x *exam) {
	p := x.policy(100)
	p.HistoryTTL = x.windows(3.5)
	at := []channel.Position{x.subscribe("rolls", p)}
	for i := 1; i <= 10; i++ {
		at = append(at, x.publish("rolls", p, fmt.Sprint(i)).Position)
		first := max(1, i-3)
		x.answer(fmt.Sprintf("after %d", i), x.since("rolls", p, at[first-1]), at[i], true, numbers(first, i)...)
		if first > 1 {
			x.answer(fmt.Sprintf("after %d, one more", i), x.since("rolls", p, at[first-2]), at[i], false, numbers(first, i)...)
		}
		x.pass(1)
	}
	x.chain("delivered", x.await("rolls", at[10]), at[0])
}

// checkPositionRemembered holds that an idle channel goes on where it was,
// before its MetaTTL is over.
func checkPositionRemembered(x *exam) {
	p := x.policy(10)
	p.HistoryTTL = x.windows(1.5)
	p.MetaTTL = x.windows(5.5)
	top := x.fill("idle", p, 3)[3]
	unused := x.top("idle:unused", p)
	for range 3 {
		x.pass(4)
		x.answer("an idle channel, from its top", x.since("idle", p, top), top, true)
		x.answer("an idle channel never published on", x.since("idle:unused", p, unused), unused, true)
	}
	x.pass(4)
	if next := x.publish("idle", p, "4"); next.Epoch != top.Epoch || next.Offset <= top.Offset {
		x.failf("an idle channel went on at %v after %v", next.Position, top)
	}
}

// checkPositionForgotten holds that a channel beyond its MetaTTL either still
// knows its position or has a new epoch: never an old epoch begun anew.
func checkPositionForgotten(x *exam) {
	p := x.policy(10)
	p.HistoryTTL = x.windows(1.5)
	p.MetaTTL = x.windows(2.5)
	top := x.fill("gone", p, 3)[3]
	x.pass(10)
	res := x.since("gone", p, top)
	if res.Top == top {
		return
	}
	if res.Top.Epoch == top.Epoch {
		x.failf("a forgotten channel has its top at %v, it was at %v", res.Top, top)
	}
	x.answer("a forgotten channel", res, res.Top, false)
	next := x.publish("gone", p, "1")
	if next.Epoch != res.Top.Epoch {
		x.failf("the epoch went from %q to %q between a read and a publish", res.Top.Epoch, next.Epoch)
	}
}

// checkPositionOfSubscribed holds that MetaTTL is for channels without
// subscribers, and begins when the last one leaves.
func checkPositionOfSubscribed(x *exam) {
	p := x.policy(10)
	p.HistoryTTL = x.windows(1.5)
	p.MetaTTL = x.windows(2.5)
	x.subscribe("held", p)
	last := x.publish("held", p, "1").Position
	x.pass(10)
	x.answer("a subscribed channel", x.since("held", p, last), last, true)
	x.pass(10)
	x.e.Unsubscribe("held")
	x.pass(2)
	x.answer("an abandoned channel", x.since("held", p, last), last, true)
	x.subscribe("held", p)
	x.pass(10)
	next := x.publish("held", p, "2")
	got := x.await("held", next.Position)
	if got[1].Epoch != last.Epoch || got[1].Prev != last.Offset {
		x.failf("a subscribed channel went on at %v with prev %d, after %v", got[1].Position, got[1].Prev, last)
	}
}
