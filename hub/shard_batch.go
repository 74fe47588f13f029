package hub

import "time"

// maxBatched is how many deliveries of one topic may wait for their batch.
const maxBatched = 1024

// delay reports whether what has come for a part waits for more, because its
// namespace would rather have fewer writes. All that a shard lets wait for the
// same time leaves at the same moments, so that it shares the writes.
func (s *shard) delay(p *part) bool {
	most := p.topic.ns.BatchDelay
	if most <= 0 || len(p.batch) >= maxBatched {
		return false
	}
	if p.due.IsZero() {
		now := time.Now()
		p.due = now.Add(most - now.Sub(s.hub.began)%most)
		s.delayed = append(s.delayed, p)
	}
	return true
}

// releaseBatches hands on what has waited long enough.
func (s *shard) releaseBatches(now time.Time) {
	kept := s.delayed[:0]
	for _, p := range s.delayed {
		if now.Before(p.due) {
			kept = append(kept, p)
			continue
		}
		p.due = time.Time{}
		s.fanout(p)
	}
	clear(s.delayed[len(kept):])
	s.delayed = kept
}

// nextBatch is how long until a batch is due, if one waits.
func (s *shard) nextBatch() (time.Duration, bool) {
	if len(s.delayed) == 0 {
		return 0, false
	}
	next := s.delayed[0].due
	for _, p := range s.delayed[1:] {
		if p.due.Before(next) {
			next = p.due
		}
	}
	return max(time.Until(next), 0), true
}
