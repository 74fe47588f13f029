package hub

import (
	"fmt"
	"time"

	"myelin/channel"
	"myelin/internal/wheel"
	"myelin/observe"
)

// The rates a conflated subscription may have, in times a second.
const (
	MinRate = 1.0 / 60
	MaxRate = 100.0
)

const (
	// paceTick is the granularity of conflated subscriptions.
	paceTick = 2 * time.Millisecond
	// maxPacedKeys is how many keys may wait for one conflated subscription.
	// When there are more they leave before their time.
	maxPacedKeys = 4096
)

// pacing is what the shard knows of a conflated subscription beside the rest:
// the newest of each key that waits until the subscription is due again.
type pacing struct {
	every time.Duration
	// next is when it is due; in the past when nothing came for a while.
	next  time.Time
	timer wheel.Timer[sleeper]
	held  conflation
}

// newPacing returns the pacing of a rate, nil where there is none.
func newPacing(sb *sub, rate float64) *pacing {
	if rate == 0 {
		return nil
	}
	p := &pacing{every: time.Duration(float64(time.Second) / rate)}
	p.timer.Owner = sb
	return p
}

// checkRate refuses a rate that no subscription can have.
func checkRate(rate float64) error {
	if rate == 0 || (rate >= MinRate && rate <= MaxRate) {
		return nil
	}
	return channel.ErrBadRequest.With(fmt.Sprintf("a rate is from 1/60 to %v times a second, %v is not", MaxRate, rate))
}

// pace takes a batch for a conflated subscription and returns how many of it
// left at once: the first after a pause does, what follows waits its turn.
func (s *shard) pace(sb *sub, batch []*delivery) int {
	p := sb.pace
	sent, skipped := 0, 0
	for _, d := range batch {
		if d = sb.pick(d); d == nil {
			continue
		}
		if d.event.Kind != EventPublication {
			s.one(sb, d, sb.view(d))
			sent++
			continue
		}
		if old := p.held.put(d); old != nil {
			skipped++
			sb.skipped(old.event.Pub, "conflate")
		}
		if p.held.size() >= maxPacedKeys {
			s.hub.opts.Metrics.Limit(observe.LimitPacedKeys).Inc()
			sent += s.unpace(sb)
		}
	}
	sb.topic.ns.metrics.Conflated.Add(int64(skipped))
	if p.held.size() == 0 || p.timer.Pending() {
		return sent
	}
	if wait := time.Until(p.next); wait > 0 {
		s.paces.Schedule(&p.timer, wait)
		return sent
	}
	return sent + s.unpace(sb)
}

// unpace sends what waits for a conflated subscription.
func (s *shard) unpace(sb *sub) int {
	p := sb.pace
	s.paces.Cancel(&p.timer)
	n := 0
	held := p.held.take()
	for i, d := range held {
		switch {
		case d == nil:
		case expired(d.event.Pub):
			s.expire(sb, d, queuePaced)
		default:
			if d.event.Pub.Base > 0 {
				d = d.whole()
			}
			s.one(sb, d, sb.view(d))
			n++
		}
		held[i] = nil
	}
	p.next = time.Now().Add(p.every)
	return n
}

// wake is what the wheel calls when a conflated subscription is due.
func (sb *sub) wake(s *shard) {
	sb.topic.ns.metrics.Delivered.Add(int64(s.unpace(sb)))
}

// hurry sends what waits for a subscription that is about to end.
func (s *shard) hurry(sb *sub) {
	if sb.pace != nil && sb.pace.held.size() > 0 {
		sb.wake(s)
	}
}
