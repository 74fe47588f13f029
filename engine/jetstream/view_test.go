package jetstream_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// The kinds of messages.
const (
	publication = 1
	cleared     = 2
	anchor      = 3
	tick        = 5
)

// world is a stream with one channel, and all that ever was in it.
type world struct {
	now      time.Time
	sequence uint64
	// all are the publications, kept the messages that are there.
	all   []jetstream.KeptMessage
	kept  []jetstream.KeptMessage
	ticks []jetstream.KeptMessage
	size  int
	age   time.Duration
	// policy is the one of the channel, which asks for more and more.
	policy *channel.Policy
	// gone is the sequence of the last publication that was removed.
	gone   uint64
	least  int
	raised uint64
	aged   bool
}

func (w *world) last() uint64 {
	if n := len(w.all); n > 0 {
		return w.all[n-1].Sequence
	}
	return 0
}

func (w *world) add(kind uint8) {
	w.sequence++
	m := jetstream.KeptMessage{Kind: kind, Sequence: w.sequence, Last: w.last(), At: w.now}
	if kind == tick {
		w.ticks = append(w.ticks, m)
		return
	}
	w.kept = append(w.kept, m)
	if kind == publication {
		w.all = append(w.all, m)
	}
	w.trim()
}

func (w *world) trim() {
	if over := len(w.kept) - w.size; over > 0 {
		w.kept = w.kept[over:]
	}
	for w.age > 0 && len(w.kept) > 0 && !w.kept[0].At.After(w.now.Add(-w.age)) {
		w.kept = w.kept[1:]
		w.aged = true
	}
	for w.age > 0 && len(w.ticks) > 0 && !w.ticks[0].At.After(w.now.Add(-w.age)) {
		w.ticks = w.ticks[1:]
	}
}

func (w *world) step(t *rapid.T) {
	switch rapid.SampledFrom([]string{"publish", "publish", "publish", "clear", "anchor", "anchor", "other", "tick", "pass", "raise"}).Draw(t, "step") {
	case "publish":
		w.add(publication)
	case "clear":
		if len(w.kept) > 0 {
			w.gone = w.last()
			w.add(cleared)
			if rapid.Bool().Draw(t, "purged") {
				w.kept = w.kept[len(w.kept)-1:]
			}
		}
	case "anchor":
		if len(w.kept) > 0 {
			w.add(anchor)
		}
	case "other":
		w.sequence++
	case "tick":
		w.add(tick)
	case "pass":
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
		w.trim()
	case "raise":
		if w.raised == 0 {
			w.least = w.size
		}
		more := rapid.IntRange(1, 5).Draw(t, "more")
		w.size += more
		w.policy.HistorySize += more
		w.raised = w.sequence
	}
}

// visible returns the publications that a policy shows of all that were kept.
func (w *world) visible(p *channel.Policy) (shown []uint64) {
	there := make(map[uint64]bool)
	for _, m := range w.kept {
		there[m.Sequence] = true
	}
	for i, m := range w.all {
		old := p.HistoryTTL > 0 && !m.At.After(w.now.Add(-p.HistoryTTL))
		if there[m.Sequence] && m.Sequence > w.gone && len(w.all)-i <= p.HistorySize && !old {
			shown = append(shown, m.Sequence)
		}
	}
	return shown
}

// TestAnswersAreProven holds that an answer never says that it is complete
// where a publication is missing, whatever was evicted, aged or removed before,
// and that it says so where nothing ever was.
func TestAnswersAreProven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &channel.Policy{HistorySize: rapid.IntRange(1, 6).Draw(t, "history")}
		w := &world{now: time.Unix(1_790_000_000, 0), size: p.HistorySize + 2, policy: p}
		if rapid.Bool().Draw(t, "with age") {
			w.age = 60 * time.Second
			p.HistoryTTL = time.Duration(rapid.IntRange(5, 50).Draw(t, "ttl")) * time.Second
		}
		w.add(tick)
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			w.step(t)
		}
		w.check(t, p)
	})
}

func (w *world) check(t *rapid.T, p *channel.Policy) {
	var sequences []uint64
	var at []time.Time
	for _, m := range w.ticks {
		sequences, at = append(sequences, m.Sequence), append(at, m.At)
	}
	floor, known := jetstream.FloorOf(sequences, at, w.age, w.now)
	if !known {
		return // the engine makes a tick first
	}
	k := jetstream.Kept{Size: w.size, Age: w.age, Least: w.least, Raised: w.raised, Floor: floor, Messages: w.kept}
	top := floor
	for _, m := range w.kept {
		if top = m.Last; m.Kind == publication {
			top = m.Sequence
		}
	}
	shown := w.visible(p)
	for since := range w.sequence + 2 {
		res := k.Answer(top, &channel.ReadRequest{Policy: p, Since: channel.Position{Epoch: "e", Offset: since}, Limit: -1}, w.now)
		var missing, after []uint64
		for _, m := range w.all {
			if m.Sequence > since {
				missing = append(missing, m.Sequence)
			}
		}
		for _, s := range shown {
			if s > since {
				after = append(after, s)
			}
		}
		if res.Complete && (len(res.Pubs) != len(missing) || since > top) {
			t.Fatalf("after %d of %d: complete with %d publications, there were %v", since, top, len(res.Pubs), missing)
		}
		if len(res.Pubs) > len(after) {
			t.Fatalf("after %d: %d publications, only %v are to be seen", since, len(res.Pubs), after)
		}
		w.checkChain(t, since, res)
		whole := len(after) == len(missing) && since <= top
		if whole && !res.Complete && !w.aged && w.raised == 0 && w.gone == 0 && !w.nearAge() && (len(w.kept) < w.size || since >= w.kept[0].Sequence) {
			t.Fatalf("after %d of %d: not complete, although %v are all there", since, top, missing)
		}
	}
}

// nearAge reports whether something may go before somebody with another clock
// has looked.
func (w *world) nearAge() bool {
	return w.age > 0 && (len(w.kept) > 0 && w.now.Sub(w.kept[0].At) > w.age-5*time.Second || w.now.Sub(w.ticks[0].At) > w.age-5*time.Second)
}

func (w *world) checkChain(t *rapid.T, since uint64, res channel.ReadResult) {
	last := since
	for i, pub := range res.Pubs {
		if pub.Offset <= pub.Prev || i > 0 && pub.Prev != last || i == 0 && res.Complete && pub.Prev != since && !w.between(since, pub) {
			t.Fatalf("after %d: publication %d has offset %d and prev %d after %d", since, i, pub.Offset, pub.Prev, last)
		}
		last = pub.Offset
	}
}

// between reports whether since is no publication's place, so that the one
// before it counts.
func (w *world) between(since uint64, pub *channel.Publication) bool {
	return pub.Prev <= since && since < pub.Offset
}

// TestEvictedAtTheExactSize holds the edge that chance seldom finds.
func TestEvictedAtTheExactSize(t *testing.T) {
	p := &channel.Policy{HistorySize: 1}
	k := jetstream.Kept{Size: 3, Messages: []jetstream.KeptMessage{
		{Kind: publication, Sequence: 3, Last: 2}, {Kind: anchor, Sequence: 4, Last: 3}, {Kind: anchor, Sequence: 5, Last: 3},
	}}
	r := &channel.ReadRequest{Policy: p, Limit: -1}
	if res := k.Answer(3, r, time.Now()); res.Complete || len(res.Pubs) != 1 {
		t.Errorf("with as many messages as there is room for the answer is %+v", res)
	}
	k.Size = 4
	if res := k.Answer(3, r, time.Now()); !res.Complete || len(res.Pubs) != 1 {
		t.Errorf("with room left the answer is %+v", res)
	}
}
