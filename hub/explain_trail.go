package hub

import (
	"fmt"
	"slices"
	"time"

	"myelin/channel"
)

const (
	// maxTrail is how many traces a session keeps, the newest.
	maxTrail = 16
	// maxOffsets is how many offsets one of them has.
	maxOffsets = 64
)

// TraceKind is what a trace tells.
type TraceKind string

// The kinds of trace.
const (
	// TraceEnded: a subscription ended.
	TraceEnded TraceKind = "ended"
	// TraceSkipped: publications were left out.
	TraceSkipped TraceKind = "skipped"
)

// Trace is one thing that happened to a session's subscription to a channel.
type Trace struct {
	Kind    TraceKind `json:"kind"`
	Channel string    `json:"channel"`
	Epoch   string    `json:"epoch,omitempty"`
	// First and Last are offsets: of what was left out, or for an end of where
	// the subscription began and what it was handed last.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Count is how many were left out, and Offsets the newest of them.
	Count   int      `json:"count,omitempty"`
	Offsets []uint64 `json:"offsets,omitempty"`
	// At is when, the last time, in Unix milliseconds.
	At int64 `json:"at"`
	// Why is the rule or the reason.
	Why string `json:"why,omitempty"`
}

// concerns reports whether the trace tells of the publication at a position: a
// skip of that one, an end of a subscription that would have got it.
func (t *Trace) concerns(at channel.Position) bool {
	if t.Epoch != at.Epoch {
		return false
	}
	if t.Kind == TraceSkipped {
		return slices.Contains(t.Offsets, at.Offset) || t.mayConcern(at.Offset)
	}
	return at.Offset > t.First
}

// mayConcern reports whether an offset is among those of which only the range
// is left.
func (t *Trace) mayConcern(offset uint64) bool {
	return t.Count > len(t.Offsets) && t.First <= offset && offset < t.Offsets[0]
}

// verdict says what the trace means for the publication at a position.
func (t *Trace) verdict(at channel.Position) (Verdict, string) {
	if t.Kind == TraceSkipped {
		how := ""
		if t.mayConcern(at.Offset) {
			how = "probably "
		}
		return VerdictSkipped, how + fmt.Sprintf("left out by the rule %q: %d publications from offset %d to %d, the last at %s", t.Why, t.Count, t.First, t.Last, clockTime(t.At))
	}
	return VerdictEnded, fmt.Sprintf("the subscription ended at %s (%s), last handed offset %d; a client that comes back recovers what it missed where the channel keeps history", clockTime(t.At), t.Why, t.Last)
}

// trail is the traces of a session, oldest first. It belongs to the shard.
type trail struct {
	list   []Trace
	code   uint32
	reason string
	// obituary is what is remembered of the session already.
	obituary *Account
}

// of returns the traces of one channel, newest first.
func (t *trail) of(name string) []Trace {
	if t == nil {
		return nil
	}
	return newestTraces(t.list, name)
}

// newestTraces returns copies of the traces of one channel, newest first.
func newestTraces(traces []Trace, name string) []Trace {
	var out []Trace
	for _, t := range slices.Backward(traces) {
		if t.Channel == name {
			t.Offsets = slices.Clone(t.Offsets)
			out = append(out, t)
		}
	}
	return out
}

// note adds a trace to the session's.
func (s *Session) note(n Trace) {
	if s.trail == nil {
		s.trail = new(trail)
	}
	s.trail.add(n)
}

func (t *trail) add(n Trace) {
	n.At = time.Now().UnixMilli()
	if len(t.list) == maxTrail {
		t.list = append(t.list[:0], t.list[1:]...)
	}
	t.list = append(t.list, n)
}

// skip returns the trace of what was left out of a channel by a rule, nil where
// there is none.
func (t *trail) skip(name, epoch, why string) *Trace {
	for i := range t.list {
		if old := &t.list[i]; old.Kind == TraceSkipped && old.Channel == name && old.Epoch == epoch && old.Why == why {
			return old
		}
	}
	return nil
}

// skipExpired is the rule of what expired.
const skipExpired = "expired"

// skipped notes that a publication was left out for a subscription, by a rule.
func (sb *sub) skipped(p *channel.Publication, why string) {
	if sb.session.trail == nil {
		sb.session.trail = new(trail)
	}
	sb.session.trail.skipped(sb.topic.name, p, why)
}

// skipped notes that a publication was left out of a channel by a rule. Of
// conflated subscriptions most are, so the trace that is there grows.
func (t *trail) skipped(name string, p *channel.Publication, why string) {
	old := t.skip(name, p.Epoch, why)
	if old == nil {
		t.add(Trace{Kind: TraceSkipped, Channel: name, Epoch: p.Epoch, First: p.Offset, Last: p.Offset, Count: 1, Offsets: []uint64{p.Offset}, Why: why})
		return
	}
	old.First, old.Last, old.Count, old.At = min(old.First, p.Offset), max(old.Last, p.Offset), old.Count+1, time.Now().UnixMilli()
	if len(old.Offsets) == maxOffsets {
		old.Offsets = append(old.Offsets[:0], old.Offsets[1:]...)
	}
	old.Offsets = append(old.Offsets, p.Offset)
}

// ends notes that a subscription ended, while its connection goes on or with
// it. word is what the client is told, nil for nothing.
func (sb *sub) ends(word *Event) {
	if sb.state == subNew {
		return
	}
	why := "the client unsubscribed"
	switch {
	case word != nil:
		why = fmt.Sprintf("%d %s", word.Code, word.Reason)
	case sb.session.closed():
		why = "the connection ended"
	}
	for _, t := range sb.lapsed(sb.topic.name) {
		if t.Epoch == sb.epoch && t.Last > sb.from {
			sb.session.note(t)
		}
	}
	sb.session.note(Trace{Kind: TraceEnded, Channel: sb.topic.name, Epoch: sb.epoch, First: sb.from, Last: sb.last, Why: why})
}
