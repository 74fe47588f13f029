package jetstream

import (
	"slices"
	"time"

	"myelin/channel"
)

// kept is what a stream holds of one log channel, in order: a run of messages
// without a hole, that ends with the last one.
type kept struct {
	msgs  []message
	shape shape
	// floor is the sequence up to which messages may have gone by age.
	floor uint64
	// trimmed: some were read that were no longer certain to be there.
	trimmed bool
	// start is where reading began: at the first message, or at one that is
	// there. pending is how many more there were when it ended.
	start, pending uint64
}

// next returns the sequence to go on from.
func (k *kept) next() uint64 {
	if n := len(k.msgs); n > 0 {
		return k.msgs[n-1].sequence + 1
	}
	return k.start
}

// add appends a batch, after which some are pending. While it was read the
// oldest may have gone, and left a hole between those that were read before and
// after: but never among the newest that there is room for.
func (k *kept) add(b batch) {
	k.msgs, k.pending = append(k.msgs, b.msgs...), b.pending
	most := max(0, k.shape.keeps.size-int(min(b.pending, 1<<30)))
	if over := len(k.msgs) - most; over > 0 {
		k.msgs = slices.Delete(k.msgs, 0, over)
		k.trimmed = true
	}
}

// top returns the offset of the last publication, which was at least at last.
func (k *kept) top(last uint64) uint64 {
	for _, m := range slices.Backward(k.msgs) {
		if m.kind == kindPublication {
			return max(last, m.sequence)
		}
	}
	return last
}

// age lets go of what may have gone by age while it was read.
func (k *kept) age(now time.Time) {
	if k.shape.keeps.age == 0 {
		return
	}
	oldest := now.Add(skew - k.shape.keeps.age).UnixNano()
	i := 0
	for i < len(k.msgs) && k.msgs[i].at < oldest {
		i++
	}
	// The last one is as good as an anchor as long as it is there.
	if i = min(i, len(k.msgs)-1); i > 0 {
		// What made room before for these is behind the floor, as they are.
		k.msgs = k.msgs[i:]
	}
}

// unevicted reports whether nothing of the channel can have made room for what
// came after it.
func (k *kept) unevicted() bool {
	if k.start > 1 || k.trimmed || len(k.msgs) >= k.shape.keeps.size {
		return false
	}
	early := 0
	for _, m := range k.msgs {
		if m.sequence <= k.shape.raised {
			early++
		}
	}
	return early == 0 || early < k.shape.least
}

// view is what a policy lets be seen of what is kept.
type view struct {
	pubs []message
	// before is the offset of the publication before the first.
	before uint64
	// floor is where a read must begin at least to be complete.
	floor uint64
}

// enough reports whether what was read so far is all that a request wants.
func (k *kept) enough(r *channel.ReadRequest, now time.Time) bool {
	if r.Reverse || r.Limit < 0 && r.MaxBytes == 0 {
		return false
	}
	v := k.view(0, r.Policy, now)
	after := v.pubs[countTo(v.pubs, r.Since.Offset):]
	if r.Limit >= 0 && len(after) >= max(r.Limit, 1) {
		return true
	}
	size := 0
	for i := range after {
		size += len(after[i].data)
	}
	return r.MaxBytes > 0 && size > r.MaxBytes
}

// view returns what can be seen now of a channel whose last publication is at
// top.
func (k *kept) view(top uint64, p *channel.Policy, now time.Time) view {
	msgs := k.msgs
	for i := len(msgs) - 1; i > 0; i-- {
		if msgs[i].kind == kindCleared {
			msgs = msgs[i:]
			break
		}
	}
	var v view
	switch {
	case len(msgs) == 0:
		// Whatever there was is gone by now.
		return view{before: top, floor: top}
	case msgs[0].kind != kindPublication:
		v.floor, v.before = msgs[0].last, msgs[0].last
	case k.unevicted() && k.floor < msgs[0].sequence:
		v.floor, v.before = k.floor, k.floor
	default:
		v.floor, v.before = msgs[0].sequence, msgs[0].sequence-1
	}
	for _, m := range msgs {
		if m.kind == kindPublication {
			v.pubs = append(v.pubs, m)
		}
	}
	hide := min(max(0, len(v.pubs)+int(min(k.pending, 1<<30))-p.HistorySize), len(v.pubs))
	if p.HistoryTTL > 0 {
		for hide < len(v.pubs) && v.pubs[hide].at <= now.Add(-p.HistoryTTL).UnixNano() {
			hide++
		}
	}
	if hide > 0 {
		v.before = v.pubs[hide-1].sequence
		v.floor = max(v.floor, v.before)
		v.pubs = v.pubs[hide:]
	}
	return v
}

// answer makes the answer to a request of what can be seen.
func (v *view) answer(r *channel.ReadRequest, res channel.ReadResult) channel.ReadResult {
	since, pubs := r.Since.Offset, v.pubs
	prev := v.before
	res.Complete = !r.Reverse && since >= v.floor && since <= res.Top.Offset
	switch {
	case r.Reverse:
		if !r.Since.IsZero() && since <= res.Top.Offset {
			pubs = pubs[:countTo(pubs, since-min(since, 1))]
		}
	case since > res.Top.Offset:
		pubs = nil
	default:
		n := countTo(pubs, since)
		if n > 0 {
			prev = pubs[n-1].sequence
		}
		pubs = pubs[n:]
		if res.Complete {
			prev = max(prev, since)
		}
	}
	res.Pubs = choose(pubs, prev, r, res.Top.Epoch)
	return res
}

// countTo returns how many of msgs are at an offset or before it.
func countTo(msgs []message, offset uint64) int {
	n, _ := slices.BinarySearchFunc(msgs, offset, func(m message, offset uint64) int {
		if m.sequence <= offset {
			return -1
		}
		return 1
	})
	return n
}

// choose returns as many publications as a request wants, in its order. prev
// is the offset before the first message.
func choose(msgs []message, prev uint64, r *channel.ReadRequest, epoch string) []*channel.Publication {
	var pubs []*channel.Publication
	size := 0
	for i := range msgs {
		if r.Reverse {
			i = len(msgs) - 1 - i
		}
		m := &msgs[i]
		size += len(m.data)
		if r.Limit >= 0 && len(pubs) >= r.Limit || r.MaxBytes > 0 && size > r.MaxBytes && len(pubs) > 0 {
			break
		}
		before := prev
		if i > 0 {
			before = msgs[i-1].sequence
		}
		pubs = append(pubs, m.publication(r.Channel, epoch, before))
	}
	return pubs
}
