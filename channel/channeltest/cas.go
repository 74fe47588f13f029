package channeltest

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"myelin/channel"
)

func casChecks() []check {
	return []check{
		{"cas/expect", checkExpect},
		{"cas/contention", checkContention},
		{"cas/create-once", checkCreateOnce},
	}
}

// putIf sets a key that is expected to be at an offset.
func (x *exam) putIf(name string, p *channel.Policy, key, data string, expect uint64) (channel.Ack, error) {
	return x.e.Publish(x.ctx, &channel.PublishRequest{
		Channel: name, Policy: p, Op: channel.OpPut, Key: key, Data: []byte(data), Expect: &expect,
	})
}

// conflicts fails unless err is a conflict with the offset the key has.
func (x *exam) conflicts(what string, err error, current uint64) {
	x.refused(err, what, channel.ErrConflict)
	if e, _ := errors.AsType[*channel.Error](err); e.Current != current {
		x.failf("%s: the conflict says the key is at %d, it is at %d", what, e.Current, current)
	}
}

func checkExpect(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	p.KeyTTL = x.windows(4.5)
	const name = "cas"
	top := x.subscribe(name, p)
	_, err := x.putIf(name, p, "k", "0", 7)
	x.conflicts("a key that is not there, expected at 7", err, 0)
	first, err := x.putIf(name, p, "k", "1", 0)
	x.ok(err, "create")
	_, err = x.putIf(name, p, "k", "2", 0)
	x.conflicts("a key that is there, expected not to be", err, first.Offset)
	// Another key's change is no concern of this one.
	x.put(name, p, "other", "x")
	second, err := x.putIf(name, p, "k", "2", first.Offset)
	x.ok(err, "change")
	_, err = x.putIf(name, p, "k", "3", first.Offset)
	x.conflicts("a key expected where it was", err, second.Offset)
	x.holds("after conflicts", name, p, "k", "2", "other", "x")

	gone := &channel.PublishRequest{Channel: name, Policy: p, Op: channel.OpDelete, Key: "k", Expect: &first.Offset}
	_, err = x.e.Publish(x.ctx, gone)
	x.conflicts("a delete of a key expected where it was", err, second.Offset)
	gone.Expect = &second.Offset
	x.send(gone)
	_, err = x.putIf(name, p, "k", "4", second.Offset)
	x.conflicts("a deleted key, expected where it was", err, 0)
	third, err := x.putIf(name, p, "k", "4", 0)
	x.ok(err, "create again")
	x.pass(5)
	_, err = x.putIf(name, p, "k", "5", third.Offset)
	x.conflicts("an ended key, expected where it was", err, 0)
	last, err := x.putIf(name, p, "k", "5", 0)
	x.ok(err, "create after the end")
	got := x.await(name, last.Position)
	x.chain("delivered", got, top)
	// Four creations and changes, a delete, one other key and two ends.
	if len(got) != 8 {
		x.failf("%d publications %s, want 8: a refused one took a place", len(got), offsets(got))
	}
}

// checkContention counts to a number by compare-and-set from many goroutines.
func checkContention(x *exam) {
	x.needState()
	const writers, each = 8, 40
	p := x.statePolicy(writers * each)
	const name = "counter"
	top := x.subscribe(name, p)
	x.parallel(writers, func(i int) {
		at, count := uint64(0), 0
		for range each {
			for {
				ack, err := x.putIf(name, p, "n", fmt.Sprint(count+1), at)
				if err == nil {
					at, count = ack.Offset, count+1
					runtime.Gosched()
					break
				}
				x.refused(err, "a put in contention", channel.ErrConflict)
				items, _ := x.snapshot(name, p)
				if len(items) == 0 {
					at, count = 0, 0
					continue
				}
				at = items[0].Offset
				_, err = fmt.Sscan(string(items[0].Data), &count)
				x.ok(err, "the count")
			}
		}
	})
	x.holds("counted", name, p, "n", fmt.Sprint(writers*each))
	got := x.await(name, x.top(name, p))
	x.chain("delivered", got, top)
	for i, pub := range got {
		if string(pub.Data) != fmt.Sprint(i+1) {
			x.failf("count %d was delivered as %q: an update was lost", i+1, pub.Data)
		}
	}
}

// checkCreateOnce has many create the same keys: each has one winner, and the
// others are told who it is.
func checkCreateOnce(x *exam) {
	x.needState()
	const writers, keys = 8, 50
	p := x.statePolicy(keys)
	var won [writers][keys]uint64
	var told [writers][keys]uint64
	var places [keys]atomic.Int64
	x.parallel(writers, func(i int) {
		for k := range keys {
			x.meet(&places[k], writers)
			ack, err := x.putIf("locks", p, fmt.Sprint(k), fmt.Sprint(i), 0)
			if err == nil {
				won[i][k] = ack.Offset
				continue
			}
			x.refused(err, "a second creation", channel.ErrConflict)
			e, _ := errors.AsType[*channel.Error](err)
			told[i][k] = e.Current
		}
	})
	for k := range keys {
		winners, at := 0, uint64(0)
		for i := range writers {
			if won[i][k] != 0 {
				winners++
				at = won[i][k]
			}
		}
		if winners != 1 {
			x.failf("key %d has %d winners", k, winners)
		}
		for i := range writers {
			if won[i][k] == 0 && told[i][k] != at {
				x.failf("a loser of key %d was told it is at %d, it is at %d", k, told[i][k], at)
			}
		}
	}
}
