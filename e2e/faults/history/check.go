package history

import (
	"fmt"
	"slices"
	"time"

	"myelin/channel"
)

// Promise names what a server promised.
type Promise string

// The promises.
const (
	// PromiseKept: what was acknowledged is read.
	PromiseKept Promise = "what was acknowledged is read"
	// PromiseOne: one offset is one message, and one message is one offset.
	PromiseOne Promise = "one offset is one message"
	// PromiseRefused: what was refused, or never published, is never read.
	PromiseRefused Promise = "what was refused is never read"
	// PromiseOrder: offsets are in the order in which calls followed each other.
	PromiseOrder Promise = "offsets follow the order of the calls"
	// PromiseEpoch: an epoch ends only where a fault may have taken something,
	// and does not come back.
	PromiseEpoch Promise = "an epoch ends only where something may be lost"
	// PromiseSequence: what a subscriber sees is in order, and twice only after
	// a resume.
	PromiseSequence Promise = "subscribers see one order"
	// PromiseGap: whatever a subscriber misses it is told of.
	PromiseGap Promise = "no gap is silent"
	// PromiseResume: a resume succeeds where everything is kept.
	PromiseResume Promise = "who returns recovers"
	// PromiseHistory: the history itself is whole, so that there is something
	// to judge.
	PromiseHistory Promise = "the history is whole"
)

// Violation is a broken promise.
type Violation struct {
	Promise Promise
	Channel string
	// Words tell the first example.
	Words string
}

// String tells all of it.
func (v Violation) String() string {
	return fmt.Sprintf("%s: channel %s: %s", v.Promise, v.Channel, v.Words)
}

// Check judges a history: it returns the first example of each promise that was
// broken, by channel.
func Check(h *History) []Violation {
	var found []Violation
	for _, rule := range h.Rules {
		v := newView(h, rule)
		for _, check := range []func(*view) *Violation{
			checkWhole, checkOne, checkKept, checkRefused, checkOrder, checkEpochs,
			checkSequences, checkGaps, checkResumes,
		} {
			if broken := check(v); broken != nil {
				broken.Channel = rule.Channel
				found = append(found, *broken)
			}
		}
	}
	return found
}

func broken(p Promise, format string, args ...any) *Violation {
	return &Violation{Promise: p, Words: fmt.Sprintf(format, args...)}
}

// checkWhole holds that there is something to judge.
func checkWhole(v *view) *Violation {
	switch {
	case v.full:
		return broken(PromiseHistory, "a publisher did more than its log takes (%d)", MaxSteps)
	case v.final == nil:
		return broken(PromiseHistory, "nobody has read the channel at the end")
	case len(v.tries) == 0:
		return broken(PromiseHistory, "nobody has published")
	}
	for _, s := range v.subscribers {
		switch {
		case s.Full:
			return broken(PromiseHistory, "%s saw more than its log takes (%d)", s.Client, MaxSteps)
		case !s.Settled:
			return broken(PromiseHistory, "%s had not caught up when everything was over", s.Client)
		}
	}
	return nil
}

// checkOne holds that everybody agrees on what is at an offset.
func checkOne(v *view) *Violation { return v.conflict }

// checkKept holds that every last reader finds what was acknowledged.
func checkKept(v *view) *Violation {
	for _, final := range v.finals {
		if bad := v.checkFinal(final); bad != nil {
			return bad
		}
	}
	return nil
}

func (v *view) checkFinal(final *Reading) *Violation {
	kept := make(map[string]bool, len(final.Kept))
	var last uint64
	for _, k := range final.Kept {
		if k.Offset <= last {
			return broken(PromiseOrder, "the last reader at %s is given offset %d after %d", final.Node, k.Offset, last)
		}
		kept[k.ID], last = true, k.Offset
	}
	if len(final.Kept) > 0 && last != final.Offset {
		return broken(PromiseKept, "the last reader at %s is given publications up to %d and told that the last is %d", final.Node, last, final.Offset)
	}
	for _, p := range v.tries {
		if kept[p.ID] || p.Outcome != Acked || v.mayBeGone(p, final) {
			continue
		}
		return broken(PromiseKept, "%q of %s was acknowledged by %s at %v (%s) and is not there at the end: %s",
			p.ID, p.Publisher, p.Node, p.Return, p.Position, finalWords(final))
	}
	return nil
}

// mayBeGone says whether an acknowledged publication may be missing at the end:
// its epoch ended, which is judged by itself, or there are as many newer ones as
// are kept.
func (v *view) mayBeGone(p Publish, final *Reading) bool {
	evicts := v.rule.Size > 0 && len(final.Kept) >= v.rule.Size
	switch {
	case p.Epoch == "":
		return len(v.epochs) > 1 || evicts
	case p.Epoch != final.Epoch:
		return final.Epoch == v.final.Epoch
	default:
		return evicts && p.Offset < final.Kept[0].Offset
	}
}

func finalWords(final *Reading) string {
	if len(final.Kept) == 0 {
		return fmt.Sprintf("%s keeps nothing, its position is %s", final.Node, final.Position)
	}
	return fmt.Sprintf("%s keeps %d, from %d to %s", final.Node, len(final.Kept), final.Kept[0].Offset, final.Position)
}

// checkRefused holds that nobody sees what was refused each time it was tried,
// or what nobody has published.
func checkRefused(v *view) *Violation {
	possible, refused := make(map[string]bool), make(map[string]Publish)
	for _, p := range v.tries {
		if p.Outcome == Refused {
			refused[p.ID] = p
		} else {
			possible[p.ID] = true
		}
	}
	for _, s := range v.sightings {
		if possible[s.id] {
			continue
		}
		if p, tried := refused[s.id]; tried {
			return broken(PromiseRefused, "%q of %s was refused by %s at %v (%s), and %s has it as %s",
				p.ID, p.Publisher, p.Node, p.Return, p.Error, s.who, s.Position)
		}
		return broken(PromiseRefused, "%s has %q as %s, which nobody has published", s.who, s.id, s.Position)
	}
	return nil
}

// checkOrder holds that a call that began after another had returned has the
// greater offset.
func checkOrder(v *view) *Violation {
	began := make(map[string]time.Duration)
	var acked []Publish
	for _, p := range v.tries {
		if first, ok := began[p.ID]; !ok || p.Call < first {
			began[p.ID] = p.Call
		}
		if p.Outcome == Acked && p.Epoch != "" {
			acked = append(acked, p)
		}
	}
	returned := slices.Clone(acked)
	slices.SortFunc(acked, func(a, b Publish) int { return int(began[a.ID] - began[b.ID]) })
	slices.SortFunc(returned, func(a, b Publish) int { return int(a.Return - b.Return) })
	// The greatest offset of each epoch among calls that had returned.
	top := make(map[string]Publish)
	for _, p := range acked {
		for len(returned) > 0 && returned[0].Return < began[p.ID] {
			if r := returned[0]; r.Offset > top[r.Epoch].Offset {
				top[r.Epoch] = r
			}
			returned = returned[1:]
		}
		if before, ok := top[p.Epoch]; ok && p.Offset < before.Offset && p.ID != before.ID {
			return broken(PromiseOrder, "%q was acknowledged as %s at %v, and %q, published at %v after that, became %s",
				before.ID, before.Position, before.Return, p.ID, began[p.ID], p.Position)
		}
	}
	return nil
}

// checkEpochs holds that each new epoch has a fault of its own that may have
// taken something, and that nothing is acknowledged in an epoch that is over.
func checkEpochs(v *view) *Violation {
	faults := slices.DeleteFunc(slices.Clone(v.faults), func(f Fault) bool { return !f.Loses.takes(v.rule.Durability) })
	slices.SortFunc(faults, func(a, b Fault) int { return int(a.From - b.From) })
	for i, e := range v.epochs {
		if i == 0 {
			continue
		}
		if len(faults) == 0 || faults[0].From > e.seen {
			return broken(PromiseEpoch, "epoch %s was followed by %s, which %s saw at %v, and nothing had happened by then that a %s channel does not survive",
				v.epochs[i-1].name, e.name, e.who, e.seen, durabilityWord(v.rule.Durability))
		}
		faults = faults[1:]
	}
	rank := make(map[string]int)
	for i, e := range v.epochs {
		rank[e.name] = i
	}
	for _, p := range v.tries {
		if p.Outcome != Acked || p.Epoch == "" {
			continue
		}
		if next := rank[p.Epoch] + 1; next < len(v.epochs) && p.Call > v.epochs[next].seen {
			return broken(PromiseEpoch, "%q was published at %v and acknowledged as %s, after %s had seen the later epoch %s at %v",
				p.ID, p.Call, p.Position, v.epochs[next].who, v.epochs[next].name, v.epochs[next].seen)
		}
	}
	return nil
}

func durabilityWord(d channel.Durability) string {
	return [...]string{"memory", "async", "sync"}[min(d, channel.DurabilitySync)]
}
