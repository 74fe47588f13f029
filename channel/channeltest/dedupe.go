package channeltest

import (
	"fmt"
	"strings"
	"sync/atomic"

	"myelin/channel"
)

func dedupeChecks() []check {
	return []check{
		{"dedupe/same-id", checkSameID},
		{"dedupe/window", checkDedupeWindow},
		{"dedupe/in-parallel", checkDedupeInParallel},
		{"dedupe/ephemeral", checkDedupeEphemeral},
		{"dedupe/failed-is-forgotten", checkFailedIsForgotten},
		{"dedupe/retried-expectation", checkRetriedExpectation},
	}
}

// named publishes with a message id.
func (x *exam) named(name string, p *channel.Policy, id, data string) channel.Ack {
	return x.send(&channel.PublishRequest{Channel: name, Policy: p, ID: id, Data: []byte(data)})
}

func checkSameID(x *exam) {
	p := x.policy(3)
	top := x.subscribe("dup", p)
	first := x.named("dup", p, "a", "1")
	x.distinct(first, x.named("dup", p, "b", "2"))
	x.repeated(first, x.named("dup", p, "a", "again"))
	x.distinct(first, x.named("dup", p, "A", "3"))
	// Without an id nothing is a duplicate.
	x.distinct(x.publish("dup", p, "4"), x.publish("dup", p, "4"))
	// The id is known for longer than the publication is kept.
	x.repeated(first, x.named("dup", p, "a", "again"))
	x.ok(x.e.Remove(x.ctx, "dup", p), "Remove")
	x.repeated(first, x.named("dup", p, "a", "again"))
	// Another channel knows nothing of it.
	if other := x.named("dup:other", p, "a", "1"); other.Duplicate {
		x.failf("an id of one channel is a duplicate on another")
	}
	long := strings.Repeat("i", channel.MaxIDBytes)
	x.repeated(x.named("dup", p, long, "5"), x.named("dup", p, long, "again"))
	last := x.publish("dup", p, "6")
	got := x.await("dup", last.Position)
	x.chain("delivered", got, top)
	if d := strings.Join(datas(got), " "); d != "1 2 3 4 4 5 6" {
		x.failf("delivered %q", d)
	}
}

func (x *exam) repeated(first, again channel.Ack) {
	if !again.Duplicate || again.Position != first.Position {
		x.failf("a repeated id gave %+v, want a duplicate at %v", again, first.Position)
	}
}

func (x *exam) distinct(first, second channel.Ack) {
	if first.Duplicate || second.Duplicate || first.Position == second.Position {
		x.failf("two messages gave %+v and %+v", first, second)
	}
}

func checkDedupeWindow(x *exam) {
	p := x.policy(10)
	p.DedupeWindow = x.windows(3.5)
	first := x.named("window", p, "a", "1")
	x.pass(2)
	other := x.named("window", p, "b", "2")
	x.pass(1)
	x.repeated(first, x.named("window", p, "a", "again"))
	x.pass(1)
	// The window runs from the first time, not from the last.
	second := x.named("window", p, "a", "3")
	x.distinct(first, second)
	x.repeated(other, x.named("window", p, "b", "again"))
	x.pass(3)
	x.repeated(second, x.named("window", p, "a", "again"))
	x.distinct(other, x.named("window", p, "b", "4"))
	x.answer("kept", x.since("window", p, channel.Position{}), x.top("window", p), true, "1", "2", "3", "4")
}

func checkDedupeInParallel(x *exam) {
	const publishers, ids = 8, 300
	p := x.policy(ids)
	top := x.subscribe("storm", p)
	acks := make([][]channel.Ack, publishers)
	var places [ids]atomic.Int64
	x.parallel(publishers, func(i int) {
		for n := range ids {
			x.meet(&places[n], publishers)
			acks[i] = append(acks[i], x.named("storm", p, fmt.Sprint(n), fmt.Sprint(n)))
		}
	})
	for n := range ids {
		firsts := 0
		for i := range acks {
			if !acks[i][n].Duplicate {
				firsts++
			}
			if acks[i][n].Position != acks[0][n].Position {
				x.failf("id %d was given %v and %v", n, acks[i][n].Position, acks[0][n].Position)
			}
		}
		if firsts != 1 {
			x.failf("of %d publishers of id %d, %d were told they are the first", publishers, n, firsts)
		}
	}
	got := x.await("storm", x.top("storm", p))
	x.chain("delivered", got, top)
	if len(got) != ids {
		x.failf("%d ids gave %d publications", ids, len(got))
	}
}

// checkDedupeEphemeral holds that the promise of ids does not need a history.
func checkDedupeEphemeral(x *exam) {
	p := x.ephemeral()
	first := x.named("wind", p, "a", "1")
	x.repeated(first, x.named("wind", p, "a", "again"))
	x.subscribe("wind", p)
	x.repeated(first, x.named("wind", p, "a", "again"))
	second := x.named("wind", p, "b", "2")
	x.await("wind", second.Position)
	x.e.Unsubscribe("wind")
	x.repeated(second, x.named("wind", p, "b", "again"))
	if got := datas(x.sink.got("wind")); len(got) != 1 {
		x.failf("delivered %q, want 2 only", got)
	}
}

// checkFailedIsForgotten holds that an id is only known once its publication
// is made.
func checkFailedIsForgotten(x *exam) {
	x.needState()
	p := x.statePolicy(10)
	r := &channel.PublishRequest{Channel: "failed", Policy: p, Op: channel.OpPut, Key: "k", ID: "a", Expect: new(uint64)}
	*r.Expect = 12345
	_, err := x.e.Publish(x.ctx, r)
	x.refused(err, "a put that expects what is not", channel.ErrConflict)
	*r.Expect = 0
	ack := x.send(r)
	if ack.Duplicate {
		x.failf("the id of a refused publish was remembered")
	}
	r.Expect = nil
	x.repeated(ack, x.send(r))
}

// checkRetriedExpectation holds that who retries a compare-and-set that was
// done is told so, and not that it conflicts with itself.
func checkRetriedExpectation(x *exam) {
	x.needState()
	p := x.statePolicy(10)
	r := &channel.PublishRequest{Channel: "retried", Policy: p, Op: channel.OpPut, Key: "k", ID: "a", Expect: new(uint64)}
	first := x.send(r)
	x.repeated(first, x.send(r))
	x.put("retried", p, "k", "by another")
	x.repeated(first, x.send(r))
}
