package history_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
)

func finalOf(h *history.History, name string) *history.Reading {
	for i := range h.Readings {
		if r := &h.Readings[i]; r.Final && r.Channel == name {
			return r
		}
	}
	return nil
}

// pick returns a random one of the tries that fit.
func pick(h *history.History, r *rand.Rand, fits func(*history.Publish) bool) *history.Publish {
	var all []*history.Publish
	for i := range h.Publishes {
		if p := &h.Publishes[i]; fits(p) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

func acked(name string) func(*history.Publish) bool {
	return func(p *history.Publish) bool {
		return p.Channel == name && p.Outcome == history.Acked && p.Epoch != "" && p.ID != "last"
	}
}

func forget(f *history.Reading, id string) {
	f.Kept = slices.DeleteFunc(slices.Clone(f.Kept), func(k history.Kept) bool { return k.ID == id })
}

func loseAcked(h *history.History, r *rand.Rand) bool {
	forget(finalOf(h, syncChannel), pick(h, r, acked(syncChannel)).ID)
	return true
}

func loseUnplaced(h *history.History, r *rand.Rand) bool {
	p := pick(h, r, func(p *history.Publish) bool {
		return p.Channel == syncChannel && p.Outcome == history.Acked && p.Epoch == ""
	})
	if p == nil {
		return false
	}
	forget(finalOf(h, syncChannel), p.ID)
	return true
}

func ackNothing(h *history.History, r *rand.Rand) bool {
	kept := finalOf(h, syncChannel).Kept
	p := pick(h, r, func(p *history.Publish) bool {
		return p.Channel == syncChannel && p.Outcome == history.Unknown &&
			!slices.ContainsFunc(kept, func(k history.Kept) bool { return k.ID == p.ID })
	})
	if p == nil {
		return false
	}
	p.Outcome = history.Acked
	return true
}

func loseTail(h *history.History, _ *rand.Rand) bool {
	f := finalOf(h, syncChannel)
	f.Kept = f.Kept[:len(f.Kept)-5]
	return true
}

func bendFinal(h *history.History, r *rand.Rand) bool {
	f := finalOf(h, syncChannel)
	f.Kept = slices.Clone(f.Kept)
	i := r.IntN(len(f.Kept) - 1)
	f.Kept[i], f.Kept[i+1] = f.Kept[i+1], f.Kept[i]
	return true
}

// steps calls fn with each step of a channel, and the ones around it, until it
// says that the bug is planted.
func steps(h *history.History, name string, r *rand.Rand, fn func(s *history.Subscriber, i int) bool) bool {
	for _, at := range r.Perm(len(h.Subscribers)) {
		s := h.Subscribers[at]
		if s.Channel != name {
			continue
		}
		for _, i := range r.Perm(len(s.Steps)) {
			if fn(s, i) {
				return true
			}
		}
	}
	return false
}

func is(s *history.Subscriber, i int, k history.Kind) bool {
	return i >= 0 && i < len(s.Steps) && s.Steps[i].Kind == k
}

func swapIDs(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i, history.Publication) || !is(s, i+1, history.Publication) {
			return false
		}
		s.Steps[i].ID, s.Steps[i+1].ID = s.Steps[i+1].ID, s.Steps[i].ID
		return true
	})
}

func storeTwice(h *history.History, r *rand.Rand) bool {
	f := finalOf(h, syncChannel)
	again := f.Kept[r.IntN(len(f.Kept))]
	f.Offset += 7
	again.Offset = f.Offset
	f.Kept = append(slices.Clone(f.Kept), again)
	return true
}

// reuseEpoch renames the second epoch of the memory channel to the first one.
func reuseEpoch(h *history.History, _ *rand.Rand) bool {
	rename := func(p *history.Position) {
		if p.Epoch == "e2" {
			p.Epoch = "e1"
		}
	}
	for i := range h.Publishes {
		rename(&h.Publishes[i].Position)
	}
	for i := range h.Readings {
		rename(&h.Readings[i].Position)
	}
	for _, s := range h.Subscribers {
		for i := range s.Steps {
			rename(&s.Steps[i].Position)
		}
	}
	return true
}

func ackElsewhere(h *history.History, r *rand.Rand) bool {
	pick(h, r, acked(syncChannel)).Offset += 1000
	return true
}

func refuseDone(h *history.History, r *rand.Rand) bool {
	p := pick(h, r, acked(syncChannel))
	for i := range h.Publishes {
		if q := &h.Publishes[i]; q.Channel == syncChannel && q.ID == p.ID {
			q.Outcome, q.Position = history.Refused, history.Position{}
		}
	}
	return true
}

func ghost(h *history.History, _ *rand.Rand) bool {
	f := finalOf(h, syncChannel)
	f.Offset++
	f.Kept = append(slices.Clone(f.Kept), history.Kept{Offset: f.Offset, ID: "ghost"})
	return true
}

// bendTime lets two calls that followed each other change their times.
func bendTime(h *history.History, r *rand.Rand) bool {
	p, q := pick(h, r, acked(syncChannel)), pick(h, r, acked(syncChannel))
	if p.Call > q.Call {
		p, q = q, p
	}
	if q.Call < p.Return+10*time.Millisecond || tries(h, p.ID) > 1 || tries(h, q.ID) > 1 {
		return false
	}
	p.Call, p.Return, q.Call, q.Return = q.Call, q.Return, p.Call, p.Return
	return true
}

func tries(h *history.History, id string) (n int) {
	for _, p := range h.Publishes {
		if p.Channel == syncChannel && p.ID == id {
			n++
		}
	}
	return n
}

func noReason(h *history.History, _ *rand.Rand) bool {
	h.Rules[1].Durability = channel.DurabilityAsync
	return true
}

func lateReason(h *history.History, _ *rand.Rand) bool {
	h.Faults[0].From += time.Hour
	return true
}

func epochBack(h *history.History, r *rand.Rand) bool {
	p := pick(h, r, func(p *history.Publish) bool {
		return acked(memoryChannel)(p) && p.Epoch == "e2" && p.Call > h.Faults[0].From+50*time.Millisecond
	})
	if p == nil {
		return false
	}
	p.Epoch = "e1"
	return true
}

func swapSteps(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i-1, history.Publication) || !is(s, i, history.Publication) || !is(s, i+1, history.Publication) {
			return false
		}
		if s.Steps[i-1].Offset >= s.Steps[i].Offset {
			return false
		}
		s.Steps[i], s.Steps[i+1] = s.Steps[i+1], s.Steps[i]
		return true
	})
}

func giveTwice(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i-1, history.Publication) || !is(s, i, history.Publication) || s.Steps[i-1].Offset >= s.Steps[i].Offset {
			return false
		}
		s.Steps = slices.Insert(s.Steps, i+1, s.Steps[i])
		return true
	})
}

// leaveOut leaves out a publication between two others, everywhere in one
// subscriber's steps.
func leaveOut(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i-1, history.Publication) || !is(s, i, history.Publication) || !is(s, i+1, history.Publication) {
			return false
		}
		remove(s, s.Steps[i].ID)
		return true
	})
}

func remove(s *history.Subscriber, id string) {
	s.Steps = slices.DeleteFunc(s.Steps, func(step history.Step) bool { return step.Kind == history.Publication && step.ID == id })
}

func leaveOutLast(h *history.History, _ *rand.Rand) bool {
	remove(h.Subscribers[0], "last")
	return true
}

func leaveOutRecovered(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i-1, history.Subscribed) || !s.Steps[i-1].Recovered || !is(s, i, history.Publication) || !is(s, i+1, history.Publication) {
			return false
		}
		id := s.Steps[i].ID
		if before := slices.IndexFunc(s.Steps, func(step history.Step) bool { return step.ID == id }); before < i {
			return false
		}
		remove(s, id)
		return true
	})
}

func recoverAcross(h *history.History, r *rand.Rand) bool {
	return steps(h, memoryChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i, history.Subscribed) || !s.Steps[i].Recovering || s.Steps[i].Recovered {
			return false
		}
		s.Steps[i].Recovered = true
		return true
	})
}

func hideReset(h *history.History, r *rand.Rand) bool {
	return steps(h, memoryChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i, history.Subscribed) || !s.Steps[i].Recovering || s.Steps[i].Recovered || !is(s, i+1, history.Publication) {
			return false
		}
		s.Steps = slices.Delete(s.Steps, i, i+1)
		return true
	})
}

func hideStart(h *history.History, _ *rand.Rand) bool {
	s := h.Subscribers[0]
	if !is(s, 1, history.Publication) {
		return false
	}
	s.Steps = s.Steps[1:]
	return true
}

func stayBehind(h *history.History, r *rand.Rand) bool {
	return steps(h, memoryChannel, r, func(s *history.Subscriber, i int) bool {
		if s.Steps[i].Epoch != "e2" {
			return false
		}
		s.Steps = slices.DeleteFunc(s.Steps, func(step history.Step) bool { return step.Epoch == "e2" })
		return true
	})
}

func failResume(h *history.History, r *rand.Rand) bool {
	return steps(h, syncChannel, r, func(s *history.Subscriber, i int) bool {
		if !is(s, i, history.Subscribed) || !s.Steps[i].Recovered {
			return false
		}
		s.Steps[i].Recovered = false
		return true
	})
}

func noFinal(h *history.History, _ *rand.Rand) bool {
	finalOf(h, syncChannel).Final = false
	return true
}

func unsettled(h *history.History, _ *rand.Rand) bool {
	h.Subscribers[0].Settled = false
	return true
}

func full(h *history.History, _ *rand.Rand) bool {
	h.Subscribers[0].Full = true
	return true
}

func fullPublisher(h *history.History, _ *rand.Rand) bool {
	h.Full = true
	return true
}

func nobody(h *history.History, _ *rand.Rand) bool {
	h.Publishes = nil
	return true
}
