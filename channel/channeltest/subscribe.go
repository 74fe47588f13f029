package channeltest

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"myelin/channel"
)

func subscribeChecks() []check {
	return []check{
		{"subscribe/race", checkSubscribeRace},
		{"subscribe/again", checkSubscribeAgain},
		{"subscribe/unsubscribe", checkUnsubscribe},
		{"subscribe/only-its-own", checkOnlyItsOwn},
		{"subscribe/churn", checkChurn},
	}
}

// checkSubscribeRace subscribes while somebody publishes, many times: nothing
// after the top that Subscribe returned may be missing or come twice.
func checkSubscribeRace(x *exam) {
	const rounds, each = 300, 12
	p := x.policy(each)
	for round := range rounds {
		name := fmt.Sprintf("race:%d", round)
		var top, last channel.Position
		var published atomic.Int64
		x.parallel(2, func(i int) {
			if i == 0 {
				for n := range each {
					last = x.publish(name, p, fmt.Sprint(n)).Position
					published.Add(1)
					runtime.Gosched()
				}
				return
			}
			x.until(func() bool { return published.Load() >= int64(round%each) })
			top = x.subscribe(name, p)
		})
		if top == last {
			continue
		}
		got := after(x.await(name, last), top)
		x.chain(fmt.Sprintf("round %d, after the top %d", round, top.Offset), got, top)
	}
}

// after returns the publications beyond a position.
func after(pubs []*channel.Publication, at channel.Position) []*channel.Publication {
	for i, p := range pubs {
		if p.Epoch == at.Epoch && p.Offset > at.Offset {
			return pubs[i:]
		}
	}
	return nil
}

func checkSubscribeAgain(x *exam) {
	p := x.policy(10)
	first := x.subscribe("again", p)
	if again := x.subscribe("again", p); again != first {
		x.failf("subscribing again gave %v, the first time %v", again, first)
	}
	ack := x.publish("again", p, "1")
	if again := x.subscribe("again", p); again != ack.Position {
		x.failf("subscribing after a publication gave %v, want its position %v", again, ack.Position)
	}
	got := x.await("again", x.publish("again", p, "2").Position)
	x.chain("subscribed three times", got, first)
	if len(got) != 2 {
		x.failf("two publications were delivered %d times", len(got))
	}
}

func checkUnsubscribe(x *exam) {
	for _, history := range []int{0, 10} {
		name := fmt.Sprintf("leave:%d", history)
		p := x.policy(history)
		if history == 0 {
			p = x.ephemeral()
		}
		x.subscribe(name, p)
		x.await(name, x.publish(name, p, "1").Position)
		x.e.Unsubscribe(name)
		x.e.Unsubscribe(name)
		x.e.Unsubscribe("never:subscribed")
		x.pass(0.5)
		missed := x.publish(name, p, "2")
		x.pass(0.5)
		if got := datas(x.sink.got(name)); len(got) != 1 {
			x.failf("%s: after Unsubscribe %q came", name, got[1:])
		}
		top := x.subscribe(name, p)
		if history > 0 && top != missed.Position {
			x.failf("%s: resubscribed at %v, want %v", name, top, missed.Position)
		}
		got := x.await(name, x.publish(name, p, "3").Position)
		x.chain("after resubscribing", after(got, top), top)
		if d := datas(got); len(d) != 2 || d[1] != "3" {
			x.failf("%s: delivered %q, want 1 and 3", name, d)
		}
	}
}

func checkOnlyItsOwn(x *exam) {
	p := x.policy(10)
	names := []string{"own", "own:", "own:1", "own:11", "OWN:1", "own:1 ", "own:1.x", "own:*", "own:>"}
	x.subscribe("own:1", p)
	for _, name := range names {
		x.publish(name, p, name)
	}
	x.await("own:1", x.top("own:1", p))
	x.pass(0.5)
	for _, name := range names {
		want := 0
		if name == "own:1" {
			want = 1
		}
		if got := x.sink.got(name); len(got) != want {
			x.failf("with only own:1 subscribed, %q got %d publications, want %d", name, len(got), want)
		}
		if kept := datas(x.since(name, p, channel.Position{}).Pubs); len(kept) != 1 || kept[0] != name {
			x.failf("%q keeps %q, want its own publication", name, kept)
		}
	}
}

// checkChurn comes and goes under load and stays at last.
func checkChurn(x *exam) {
	p := x.policy(100)
	const name = "churn"
	var done atomic.Bool
	var published atomic.Int64
	var top channel.Position
	x.parallel(4, func(i int) {
		if i > 0 {
			for !done.Load() {
				x.publish(name, p, "x")
				published.Add(1)
				runtime.Gosched()
			}
			return
		}
		defer done.Store(true)
		for round := range int64(200) {
			x.until(func() bool { return published.Load() >= 3*round })
			x.subscribe(name, p)
			x.e.Unsubscribe(name)
		}
		top = x.subscribe(name, p)
	})
	// Time for an Unsubscribe that comes too late.
	x.pass(0.5)
	last := x.publish(name, p, "last")
	x.chain("after the last Subscribe", after(x.await(name, last.Position), top), top)
}
