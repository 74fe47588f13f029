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
		s.await(p)
	}
	return true
}

// await keeps a part until its batch is due.
func (s *shard) await(p *part) {
	if len(s.delayed) == 0 || p.due.Before(s.batchDue) {
		s.batchDue = p.due
	}
	s.delayed = append(s.delayed, p)
}

// releaseBatches hands on what has waited long enough.
func (s *shard) releaseBatches() {
	if len(s.delayed) == 0 {
		return
	}
	now := time.Now()
	if now.Before(s.batchDue) {
		return
	}
	all := s.delayed
	s.delayed = s.delayed[:0]
	for _, p := range all {
		if now.Before(p.due) {
			s.await(p)
			continue
		}
		p.due = time.Time{}
		s.fanout(p)
	}
	clear(all[len(s.delayed):])
}

// nextBatch is how long until a batch is due, if one waits.
func (s *shard) nextBatch() (time.Duration, bool) {
	if len(s.delayed) == 0 {
		return 0, false
	}
	return max(time.Until(s.batchDue), 0), true
}
