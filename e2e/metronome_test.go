package e2e

import (
	"context"
	"slices"
	"sync"
	"time"
)

// beatEvery is how often a metronome looks at the clock.
const beatEvery = 5 * time.Millisecond

// metronome notes when this process was held up, by the machine or by itself:
// what is seen at the end of a stall may have happened at its beginning, and
// things that happened one after the other are seen at once.
type metronome struct {
	done sync.WaitGroup
	// stalls are in order; the metronome's goroutine adds to them until it ends.
	stalls []stall
}

// stall is a time in which nothing was noticed.
type stall struct{ from, to time.Time }

// newMetronome returns one that runs until ctx ends.
func newMetronome(ctx context.Context) *metronome {
	m := new(metronome)
	m.done.Go(func() {
		for ctx.Err() == nil {
			before := time.Now()
			select {
			case <-ctx.Done():
			case <-time.After(beatEvery):
			}
			if now := time.Now(); now.Sub(before) > 2*beatEvery {
				m.stalls = append(m.stalls, stall{before, now})
			}
		}
	})
	return m
}

// wait returns when the metronome has ended; what it noted can be asked then.
func (m *metronome) wait() { m.done.Wait() }

// worst returns how long the longest stall was.
func (m *metronome) worst() time.Duration {
	longest := time.Duration(0)
	for _, s := range m.stalls {
		longest = max(longest, s.to.Sub(s.from))
	}
	return longest
}

// earliest returns when something that was seen at a time can have happened at
// the earliest: at the beginning of the stall that it was seen in or right after,
// as what has waited for the end of a stall is not done with all at once.
func (m *metronome) earliest(seen time.Time) time.Time {
	for _, s := range m.stalls {
		if s.from.Before(seen) && seen.Sub(s.to) <= s.to.Sub(s.from) {
			return s.from
		}
	}
	return seen
}

// peak returns how many of the times lie within one second at most, leaving out
// what may have happened in more and was only seen so.
func (m *metronome) peak(seen []time.Time) int {
	slices.SortFunc(seen, time.Time.Compare)
	most, first := 0, 0
	for i := range seen {
		for seen[i].Sub(m.earliest(seen[first])) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
