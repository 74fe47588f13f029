package channeltest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"myelin/channel"
)

func readChecks() []check {
	return []check{
		{"read/empty", checkReadEmpty},
		{"read/size-edge", checkSizeEdge},
		{"read/foreign-position", checkForeignPosition},
		{"read/no-epoch", checkNoEpoch},
		{"read/limit", checkReadLimit},
		{"read/pages", checkReadPages},
		{"read/bytes", checkReadBytes},
		{"read/byte-pages", checkBytePages},
		{"read/reverse", checkReverse},
		{"read/ephemeral", checkReadEphemeral},
		{"read/answer-is-mine", checkAnswerIsMine},
		{"read/while-publishing", checkReadWhilePublishing},
	}
}

// answer fails unless a result is what is wanted.
func (x *exam) answer(what string, got channel.ReadResult, top channel.Position, complete bool, data ...string) {
	if got.Top != top {
		x.failf("%s: top is %v, want %v", what, got.Top, top)
	}
	if got.Complete != complete {
		x.failf("%s: complete is %v, want %v", what, got.Complete, complete)
	}
	if d := datas(got.Pubs); !slices.Equal(d, data) {
		x.failf("%s: publications %q, want %q", what, d, data)
	}
}

func checkReadEmpty(x *exam) {
	p := x.policy(10)
	first := x.since("empty", p, channel.Position{})
	if first.Top.Offset != 0 {
		x.failf("an unused channel has its top at %d", first.Top.Offset)
	}
	x.answer("an unused channel", first, first.Top, true)
	x.answer("an unused channel, after its top", x.since("empty", p, first.Top), first.Top, true)
	x.answer("an unused channel, backwards", channel.ReadResult{
		Pubs: x.read(&channel.ReadRequest{Channel: "empty", Policy: p, Limit: -1, Reverse: true}).Pubs, Top: first.Top,
	}, first.Top, false)
	if top := x.subscribe("empty", p); top != first.Top {
		x.failf("Subscribe says %v, Read said %v", top, first.Top)
	}
	ack := x.publish("empty", p, "1")
	x.answer("from before the first", x.since("empty", p, first.Top), ack.Position, true, "1")
}

func checkSizeEdge(x *exam) {
	for _, size := range []int{1, 2, 7} {
		name := fmt.Sprintf("edge:%d", size)
		p := x.policy(size)
		at := x.fill(name, p, size)
		top := at[size]
		all := numbers(1, size)
		x.answer("full, from the start", x.since(name, p, at[0]), top, true, all...)
		x.answer("full, from nowhere", x.since(name, p, channel.Position{}), top, true, all...)
		// One more, and the first is gone.
		more := x.publish(name, p, fmt.Sprint(size+1)).Position
		all = numbers(2, size+1)
		x.answer("one over, from the start", x.since(name, p, at[0]), more, false, all...)
		x.answer("one over, from nowhere", x.since(name, p, channel.Position{}), more, false, all...)
		x.answer("one over, from the last gone", x.since(name, p, at[1]), more, true, all...)
		for i := 2; i <= size; i++ {
			x.answer(fmt.Sprintf("one over, from %d", i), x.since(name, p, at[i]), more, true, numbers(i+1, size+1)...)
		}
		x.answer("one over, from the top", x.since(name, p, more), more, true)
		// Several times round.
		at = x.fill(name, p, 3*size)
		top = at[3*size]
		x.answer("three times over, at the edge", x.since(name, p, at[2*size]), top, true, numbers(2*size+1, 3*size)...)
		x.answer("three times over, beyond it", x.since(name, p, at[2*size-1]), top, false, numbers(2*size+1, 3*size)...)
	}
}

// numbers returns "from" to "to".
func numbers(from, to int) []string {
	all := []string{}
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func checkForeignPosition(x *exam) {
	p := x.policy(10)
	at := x.fill("foreign", p, 3)
	top := at[3]
	x.answer("another epoch", x.since("foreign", p, channel.Position{Epoch: "another", Offset: at[1].Offset}), top, false)
	x.answer("another epoch, offset 0", x.since("foreign", p, channel.Position{Epoch: "another"}), top, false)
	x.answer("another epoch, at the top", x.since("foreign", p, channel.Position{Epoch: "another", Offset: top.Offset}), top, false)
	beyond := channel.Position{Epoch: top.Epoch, Offset: top.Offset + 1}
	x.answer("one beyond the top", x.since("foreign", p, beyond), top, false)
	beyond.Offset = channel.MaxOffset
	x.answer("far beyond the top", x.since("foreign", p, beyond), top, false)
	beyond.Offset = 1<<64 - 1
	x.answer("as far as can be", x.since("foreign", p, beyond), top, false)
	r := x.read(&channel.ReadRequest{Channel: "foreign", Policy: p, Since: channel.Position{Epoch: "another", Offset: 2}, Limit: -1, Reverse: true})
	if len(r.Pubs) != 0 || r.Top != top {
		x.failf("backwards from another epoch: %q and top %v, want nothing and %v", datas(r.Pubs), r.Top, top)
	}
}

func checkNoEpoch(x *exam) {
	p := x.policy(3)
	at := x.fill("bare", p, 5)
	x.answer("offset alone, kept", x.since("bare", p, channel.Position{Offset: at[3].Offset}), at[5], true, "4", "5")
	x.answer("offset alone, gone", x.since("bare", p, channel.Position{Offset: at[1].Offset}), at[5], false, "3", "4", "5")
	x.answer("offset alone, top", x.since("bare", p, channel.Position{Offset: at[5].Offset}), at[5], true)
	x.answer("offset alone, beyond", x.since("bare", p, channel.Position{Offset: at[5].Offset + 1}), at[5], false)
}

func checkReadLimit(x *exam) {
	p := x.policy(5)
	at := x.fill("limit", p, 6)
	read := func(since channel.Position, limit int) channel.ReadResult {
		return x.read(&channel.ReadRequest{Channel: "limit", Policy: p, Since: since, Limit: limit})
	}
	x.answer("limit 0", read(at[2], 0), at[6], true)
	x.answer("limit 0, something gone", read(at[0], 0), at[6], false)
	x.answer("limit 1", read(at[2], 1), at[6], true, "3")
	x.answer("limit 2, at the edge", read(at[1], 2), at[6], true, "2", "3")
	x.answer("limit 2, something gone", read(at[0], 2), at[6], false, "2", "3")
	x.answer("the exact limit", read(at[2], 4), at[6], true, "3", "4", "5", "6")
	x.answer("more than there is", read(at[2], 1000), at[6], true, "3", "4", "5", "6")
	x.answer("limit -1", read(at[2], -1), at[6], true, "3", "4", "5", "6")
	x.answer("limit -7", read(at[2], -7), at[6], true, "3", "4", "5", "6")
}

func checkReadPages(x *exam) {
	p := x.policy(100)
	top := x.fill("pages", p, 100)[100]
	for _, size := range []int{1, 7, 50, 100, 101} {
		for _, reverse := range []bool{false, true} {
			r := &channel.ReadRequest{Channel: "pages", Policy: p, Limit: size, Reverse: reverse}
			var all []string
			for {
				res := x.read(r)
				if len(res.Pubs) == 0 {
					break
				}
				if len(res.Pubs) > size || res.Top != top {
					x.failf("a page of %d has %d publications and top %v, want %v", size, len(res.Pubs), res.Top, top)
				}
				all = append(all, datas(res.Pubs)...)
				r.Since = res.Pubs[len(res.Pubs)-1].Position
			}
			want := numbers(1, 100)
			if reverse {
				slices.Reverse(want)
			}
			if !slices.Equal(all, want) {
				x.failf("pages of %d, reverse %v: %q", size, reverse, all)
			}
		}
	}
}

// checkReadBytes stands on both sides of the edge of an answer in bytes.
func checkReadBytes(x *exam) {
	p := x.policy(5)
	at := []channel.Position{x.top("bytes", p)}
	data := func(i int) string { return strings.Repeat(fmt.Sprint(i), 10*i) }
	for i := 1; i <= 6; i++ {
		at = append(at, x.publish("bytes", p, data(i)).Position)
	}
	read := func(since, limit, most int, complete, reverse bool, want ...int) {
		res := x.read(&channel.ReadRequest{
			Channel: "bytes", Policy: p, Since: at[since], Limit: limit, MaxBytes: most, Reverse: reverse,
		})
		// Complete speaks of forward reads only.
		res.Complete = res.Complete && !reverse
		all := []string{}
		for _, i := range want {
			all = append(all, data(i))
		}
		x.answer(fmt.Sprintf("%d bytes after publication %d, limit %d, reverse %v", most, since, limit, reverse), res, at[6], complete, all...)
	}
	read(2, -1, 0, true, false, 3, 4, 5, 6)
	read(2, -1, 1<<40, true, false, 3, 4, 5, 6)
	read(2, -1, 180, true, false, 3, 4, 5, 6)
	read(2, -1, 179, true, false, 3, 4, 5)
	read(2, -1, 70, true, false, 3, 4)
	read(2, -1, 69, true, false, 3)
	read(2, -1, 1, true, false, 3)
	read(2, 2, 120, true, false, 3, 4)
	read(2, 3, 119, true, false, 3, 4)
	read(2, 0, 1, true, false)
	read(0, -1, 50, false, false, 2, 3)
	read(6, -1, 1, true, false)
	read(6, -1, 90, false, true, 5, 4)
	read(6, -1, 89, false, true, 5)
	read(6, -1, 1, false, true, 5)
	read(6, 1, 90, false, true, 5)
	read(6, 0, 90, false, true)
}

// checkBytePages reads page after page of so many bytes.
func checkBytePages(x *exam) {
	const total = 100
	p := x.policy(total)
	want := []string{}
	for i := range total {
		want = append(want, strings.Repeat("x", i*37%50)+fmt.Sprint(i))
		x.publish("byte-pages", p, want[i])
	}
	top := x.top("byte-pages", p)
	for _, most := range []int{1, 60, 400, 1 << 20} {
		for _, reverse := range []bool{false, true} {
			r := &channel.ReadRequest{Channel: "byte-pages", Policy: p, Limit: -1, MaxBytes: most, Reverse: reverse}
			all := []string{}
			for {
				res := x.read(r)
				if len(res.Pubs) == 0 {
					break
				}
				page := datas(res.Pubs)
				if size := len(strings.Join(page, "")); size > most && len(page) > 1 || res.Top != top {
					x.failf("a page of %d bytes has %d in %d publications and top %v, want %v", most, size, len(page), res.Top, top)
				}
				all = append(all, page...)
				r.Since = res.Pubs[len(res.Pubs)-1].Position
			}
			if reverse {
				slices.Reverse(all)
			}
			if !slices.Equal(all, want) {
				x.failf("pages of %d bytes, reverse %v: %q", most, reverse, all)
			}
		}
	}
}

func checkReverse(x *exam) {
	p := x.policy(5)
	at := x.fill("back", p, 7)
	read := func(since channel.Position, limit int) channel.ReadResult {
		res := x.read(&channel.ReadRequest{Channel: "back", Policy: p, Since: since, Limit: limit, Reverse: true})
		// Complete speaks of forward reads only.
		res.Complete = false
		return res
	}
	x.answer("from the end", read(channel.Position{}, -1), at[7], false, "7", "6", "5", "4", "3")
	x.answer("the last", read(channel.Position{}, 1), at[7], false, "7")
	x.answer("none", read(channel.Position{}, 0), at[7], false)
	x.answer("before the top", read(at[7], 2), at[7], false, "6", "5")
	x.answer("before one in the middle", read(at[5], -1), at[7], false, "4", "3")
	x.answer("before the first kept", read(at[3], -1), at[7], false)
	x.answer("before one that is gone", read(at[2], -1), at[7], false)
	x.answer("before the start", read(at[0], -1), at[7], false)
	x.answer("offset alone", read(channel.Position{Offset: at[5].Offset}, 1), at[7], false, "4")
}

func checkReadEphemeral(x *exam) {
	p := x.ephemeral()
	top := x.subscribe("fleeting", p)
	x.answer("nothing yet", x.since("fleeting", p, top), top, true)
	ack := x.publish("fleeting", p, "1")
	x.await("fleeting", ack.Position)
	x.answer("at the top", x.since("fleeting", p, ack.Position), ack.Position, true)
	x.answer("one behind", x.since("fleeting", p, top), ack.Position, false)
	x.answer("from nowhere", x.since("fleeting", p, channel.Position{}), ack.Position, false)
}

// checkAnswerIsMine holds that the list of an answer belongs to the caller,
// and that later publications do not change it.
func checkAnswerIsMine(x *exam) {
	p := x.policy(3)
	at := x.fill("mine", p, 3)
	mine := x.since("mine", p, at[0])
	kept := slices.Clone(mine.Pubs)
	other := x.since("mine", p, at[0])
	clear(other.Pubs)
	x.answer("after another caller emptied his", x.since("mine", p, at[0]), at[3], true, "1", "2", "3")
	x.fill("mine", p, 5)
	for i := range kept {
		if mine.Pubs[i] != kept[i] || string(kept[i].Data) != fmt.Sprint(i+1) {
			x.failf("an answer changed when more was published: entry %d is now %q", i, mine.Pubs[i].Data)
		}
	}
}

// checkReadWhilePublishing follows a busy channel by Read alone: an answer
// that says it is complete must join on to what was read before.
func checkReadWhilePublishing(x *exam) {
	const total = 3000
	p := x.policy(20)
	var done, rounds atomic.Int64
	x.parallel(3, func(i int) {
		if i > 0 {
			for n := range int64(total / 2) {
				x.until(func() bool { return rounds.Load() >= n/300*4 })
				x.publish("follow", p, "x")
				runtime.Gosched()
			}
			done.Add(1)
			return
		}
		at := x.top("follow", p)
		for {
			round := rounds.Add(1)
			// Now and then so slow that something is evicted meanwhile.
			for range round % 50 {
				runtime.Gosched()
			}
			last := done.Load() == 2
			res := x.since("follow", p, at)
			if len(res.Pubs) > 0 {
				from := at
				if !res.Complete {
					from.Offset = res.Pubs[0].Prev
				}
				if from.Offset < at.Offset {
					x.failf("Read after %d answers from %d", at.Offset, res.Pubs[0].Offset)
				}
				x.chain("read after "+fmt.Sprint(at.Offset), res.Pubs, from)
				at = res.Pubs[len(res.Pubs)-1].Position
			}
			if res.Top != at {
				x.failf("Read without a limit ends at %v, its top is %v", at, res.Top)
			}
			if last {
				return
			}
		}
	})
}
