package channeltest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"myelin/channel"
)

func stateChecks() []check {
	return []check{
		{"state/put-and-delete", checkPutAndDelete},
		{"state/whole-entry", checkWholeEntry},
		{"state/expire", checkExpire},
		{"state/expire-unseen", checkExpireUnseen},
		{"state/lifetimes", checkLifetimes},
		{"state/expire-many", checkExpireMany},
		{"state/history", checkStateHistory},
		{"state/outlives-history", checkStateOutlivesHistory},
		{"state/max-keys", checkMaxKeys},
	}
}

// entries returns the snapshot as key to payload.
func (x *exam) entries(name string, p *channel.Policy) map[string]string {
	items, _ := x.snapshot(name, p)
	all := make(map[string]string)
	for _, i := range items {
		if _, ok := all[i.Key]; ok {
			x.failf("%s: key %q comes twice in one snapshot", name, i.Key)
		}
		all[i.Key] = string(i.Data)
	}
	return all
}

// holds fails unless a channel's entries are the given pairs of key and data.
func (x *exam) holds(what, name string, p *channel.Policy, pairs ...string) {
	want := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = pairs[i+1]
	}
	if got := x.entries(name, p); !maps.Equal(got, want) {
		x.failf("%s: entries %q, want %q", what, got, want)
	}
}

// replay applies publications to entries.
func replay(entries map[string]string, pubs []*channel.Publication) {
	for _, p := range pubs {
		switch p.Op {
		case channel.OpPut:
			entries[p.Key] = string(p.Data)
		case channel.OpDelete, channel.OpExpire:
			delete(entries, p.Key)
		case channel.OpAppend:
		}
	}
}

// checkWholeEntry holds that all that a put says comes back, by every way.
func checkWholeEntry(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	top := x.subscribe("whole", p)
	for _, score := range []int64{7, math.MinInt64, math.MaxInt64} {
		ack := x.send(&channel.PublishRequest{
			Channel: "whole", Policy: p, Op: channel.OpPut, Key: "k", Data: []byte("grown"), Score: score, Base: 4, Expires: farAhead,
		})
		got := x.await("whole", ack.Position)
		last := got[len(got)-1]
		if last.Score != score || last.Base != 4 || last.Expires != farAhead {
			x.failf("a put of score %d, base 4 came as %+v", score, *last)
		}
		items, _ := x.snapshot("whole", p)
		x.same("entry", items, []*channel.Publication{last})
		x.same("read", x.since("whole", p, top).Pubs, got)
	}
	x.put("whole", p, "k", "plain")
	if items, _ := x.snapshot("whole", p); items[0].Score != 0 || items[0].Base != 0 || items[0].Expires != 0 {
		x.failf("a plain put came as %+v", *items[0])
	}
}

func checkPutAndDelete(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	const name = "state"
	top := x.subscribe(name, p)
	x.holds("unused", name, p)
	a := x.put(name, p, "a", "1")
	b := x.put(name, p, "b", "2")
	x.holds("two keys", name, p, "a", "1", "b", "2")
	items, at := x.snapshot(name, p)
	if at != b.Position {
		x.failf("a snapshot is at %v, the top is %v", at, b.Position)
	}
	got := x.await(name, b.Position)
	x.same("entries against deliveries", items, got)
	if got[0].Position != a.Position || got[0].Key != "a" || got[0].Op != channel.OpPut {
		x.failf("a put came as %+v", *got[0])
	}
	x.put(name, p, "a", "3")
	x.holds("overwritten", name, p, "a", "3", "b", "2")
	x.del(name, p, "a")
	x.holds("deleted", name, p, "b", "2")
	// A delete of what is not there is a publication all the same.
	x.del(name, p, "a")
	x.del(name, p, "never")
	x.holds("deleted again", name, p, "b", "2")
	last := x.put(name, p, "a", "4")
	x.holds("put again", name, p, "a", "4", "b", "2")
	got = x.await(name, last.Position)
	x.chain("delivered", got, top)
	if len(got) != 7 || got[3].Op != channel.OpDelete || got[3].Key != "a" || got[5].Key != "never" {
		x.failf("delivered %d publications %s, want 7", len(got), offsets(got))
	}
}

// checkExpire holds that an entry ends once, with one OpExpire, at its time.
func checkExpire(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	p.KeyTTL = x.windows(2.5)
	const name = "expire"
	top := x.subscribe(name, p)
	x.put(name, p, "a", "1")
	x.pass(1)
	x.put(name, p, "b", "2")
	x.pass(1)
	x.holds("before its time", name, p, "a", "1", "b", "2")
	if n := len(x.sink.got(name)); n != 2 {
		x.failf("%d publications after two puts", n)
	}
	x.pass(1)
	// Nobody has asked: the engine says so by itself.
	got := x.sink.got(name)
	if len(got) != 3 || got[2].Op != channel.OpExpire || got[2].Key != "a" || len(got[2].Data) != 0 {
		x.failf("half a window after key a ended, %d publications, the last %+v; want one OpExpire of a", len(got), *got[len(got)-1])
	}
	x.holds("one ended", name, p, "b", "2")
	x.pass(5)
	x.holds("both ended", name, p)
	got = x.sink.got(name)
	x.chain("delivered", got, top)
	if len(got) != 4 || got[3].Op != channel.OpExpire || got[3].Key != "b" {
		x.failf("two keys ended in %d publications, want two OpExpire", len(got)-2)
	}
	x.same("read against delivered", x.since(name, p, top).Pubs, got)
}

// checkExpireUnseen holds that who comes late never sees an entry that has
// ended, and finds its end in the history.
func checkExpireUnseen(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	p.KeyTTL = x.windows(1.5)
	const name = "unseen"
	put := x.put(name, p, "a", "1")
	x.pass(2)
	// Each of the calls may be the first to look.
	x.holds("after its time", name, p)
	res := x.since(name, p, put.Position)
	if len(res.Pubs) != 1 || res.Pubs[0].Op != channel.OpExpire || res.Pubs[0].Key != "a" || !res.Complete {
		x.failf("the end of an entry is not in the history: %q, complete %v", datas(res.Pubs), res.Complete)
	}
	if top := x.subscribe(name, p); top != res.Top {
		x.failf("Subscribe says %v, Read said %v", top, res.Top)
	}
	x.pass(2)
	if got := x.sink.got(name); len(got) != 0 {
		x.failf("an entry that ended before Subscribe was delivered as %+v", *got[0])
	}
	zero := uint64(0)
	x.put("unseen:2", p, "a", "1")
	x.pass(2)
	x.send(&channel.PublishRequest{Channel: "unseen:2", Policy: p, Op: channel.OpPut, Key: "a", Expect: &zero})
}

// checkLifetimes holds how the ttl of a put, the policy's and no ttl go
// together.
func checkLifetimes(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	p.KeyTTL = x.windows(2.5)
	const name = "lives"
	set := func(key string, windows float64) {
		x.send(&channel.PublishRequest{
			Channel: name, Policy: p, Op: channel.OpPut, Key: key, Data: []byte("x"), TTL: x.windows(windows),
		})
	}
	set("short", 1.5)
	set("policy", 0)
	set("long", 4.5)
	set("longer-then-shorter", 8.5)
	set("longer-then-shorter", 1.5)
	set("deleted-then-put", 1.5)
	x.del(name, p, "deleted-then-put")
	set("deleted-then-put", 4.5)
	x.pass(1)
	// Another put begins another life.
	set("renewed", 1.5)
	x.pass(1)
	x.holds("after 2", name, p, "policy", "x", "long", "x", "deleted-then-put", "x", "renewed", "x")
	set("renewed", 1.5)
	x.pass(1)
	x.holds("after 3", name, p, "long", "x", "deleted-then-put", "x", "renewed", "x")
	x.pass(2)
	x.holds("after 5", name, p)

	forever := x.statePolicy(100)
	put := &channel.PublishRequest{Channel: "ever", Policy: forever, Op: channel.OpPut, Key: "k", TTL: x.windows(1.5)}
	x.send(put)
	put.TTL = 0
	x.send(put)
	x.pass(5)
	x.holds("put again without an end", "ever", forever, "k", "")
}

// checkExpireMany has many entries of several channels end in any order.
func checkExpireMany(x *exam) {
	x.needState()
	p := x.statePolicy(1000)
	const keys = 200
	for c := range 3 {
		name := fmt.Sprintf("many:%d", c)
		top := x.subscribe(name, p)
		for k := range keys {
			x.send(&channel.PublishRequest{
				Channel: name, Policy: p, Op: channel.OpPut, Key: fmt.Sprint(k),
				TTL: x.windows(0.5 + float64((k*37+c)%5)),
			})
		}
		defer func() {
			got := x.sink.got(name)
			x.chain(name, got, top)
			if len(got) != 2*keys {
				x.failf("%s: %d entries ended in %d publications", name, keys, len(got)-keys)
			}
		}()
	}
	for range 5 {
		x.pass(1)
	}
	x.holds("all ended", "many:0", p)
}

// checkStateHistory holds that snapshot and history join: the entries at a
// position and all that came after it are the entries now.
func checkStateHistory(x *exam) {
	x.needState()
	p := x.statePolicy(10)
	const name = "joined"
	for i := range 30 {
		x.put(name, p, fmt.Sprint(i%4), fmt.Sprint(i))
		if i%5 == 0 {
			x.del(name, p, fmt.Sprint(i%3))
		}
	}
	items, at := x.snapshot(name, p)
	then := make(map[string]string)
	replay(then, items)
	for i := range 7 {
		x.put(name, p, fmt.Sprint(i), "new")
	}
	x.del(name, p, "1")
	res := x.since(name, p, at)
	if !res.Complete {
		x.failf("8 changes after a snapshot, with a history of 10, the history is not complete")
	}
	replay(then, res.Pubs)
	if now := x.entries(name, p); !maps.Equal(then, now) {
		x.failf("a snapshot and what came after it give %q, want %q", then, now)
	}
}

// checkStateOutlivesHistory holds that entries stay when their publications
// have left the history, by number or by age, or never were in one.
func checkStateOutlivesHistory(x *exam) {
	x.needState()
	for _, history := range []int{0, 2} {
		p := x.statePolicy(history)
		p.HistoryTTL = x.windows(1.5)
		p.MetaTTL = x.windows(1.5)
		name := fmt.Sprintf("outlives:%d", history)
		var want []string
		for i := range 9 {
			x.put(name, p, fmt.Sprint(i), strings.Repeat("x", i))
			want = append(want, fmt.Sprint(i), strings.Repeat("x", i))
		}
		at := x.top(name, p)
		x.holds("at once", name, p, want...)
		x.pass(8)
		x.holds("later", name, p, want...)
		if now := x.top(name, p); now != at {
			x.failf("a channel with entries was at %v and is at %v", at, now)
		}
		if keys := slices.Sorted(maps.Keys(x.entries(name, p))); len(keys) != 9 {
			x.failf("entries %q", keys)
		}
	}
}

// checkMaxKeys holds that a channel has no more entries than its policy allows,
// and that one that goes makes room for another.
func checkMaxKeys(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	p.MaxKeys = 3
	const name = "most"
	put := &channel.PublishRequest{Channel: name, Policy: p, Op: channel.OpPut, Data: []byte("x")}
	for _, k := range []string{"a", "b", "c"} {
		x.put(name, p, k, "x")
	}
	at := x.top(name, p)
	put.Key = "d"
	_, err := x.e.Publish(x.ctx, put)
	x.refused(err, "a fourth entry where three are allowed", channel.ErrLimitExceeded)
	if now := x.top(name, p); now != at {
		x.failf("a put that was refused moved the channel from %v to %v", at, now)
	}
	x.put(name, p, "a", "y")
	x.del(name, p, "b")
	x.put(name, p, "d", "x")
	put.Key = "b"
	_, err = x.e.Publish(x.ctx, put)
	x.refused(err, "a fourth entry after one made room for another", channel.ErrLimitExceeded)
	x.holds("full", name, p, "a", "y", "c", "x", "d", "x")
}
