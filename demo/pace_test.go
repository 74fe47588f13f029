package demo

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	p := pace{start: start, period: 100 * time.Millisecond}
	for _, c := range []struct {
		now      time.Duration
		from, to int64
		wait     time.Duration
	}{
		{0, 0, 0, 100 * time.Millisecond},
		{99 * time.Millisecond, 0, 0, time.Millisecond},
		{100 * time.Millisecond, 0, 1, 100 * time.Millisecond},
		{130 * time.Millisecond, 1, 1, 70 * time.Millisecond},
		{510 * time.Millisecond, 1, 5, 90 * time.Millisecond},
		// A long stall: only the last five are made up.
		{10 * time.Second, 95, 100, 100 * time.Millisecond},
		// A clock that goes back hands nothing out twice.
		{9 * time.Second, 100, 100, 1100 * time.Millisecond},
	} {
		from, to := p.due(at(c.now), 5)
		if from != c.from || to != c.to {
			t.Errorf("at %v: [%d, %d), want [%d, %d)", c.now, from, to, c.from, c.to)
		}
		if w := p.wait(at(c.now)); w != c.wait {
			t.Errorf("at %v: wait %v, want %v", c.now, w, c.wait)
		}
	}
}

func TestWallFollowsJumps(t *testing.T) {
	start := time.UnixMilli(1_000_000)
	w := wall{start: start}
	check := func(after time.Duration, want int64) {
		t.Helper()
		if got := w.unixMilli(after); got != want {
			t.Fatalf("after %v it is %d, want %d", after, got, want)
		}
	}
	check(time.Second, 1_001_000)
	// Small disagreements are jitter.
	w.adjust(start.Add(1900*time.Millisecond), time.Second)
	check(time.Second, 1_001_000)
	// An hour asleep.
	w.adjust(start.Add(time.Hour+2*time.Second), 2*time.Second)
	check(2*time.Second, 1_002_000+3_600_000)
	check(3*time.Second, 1_003_000+3_600_000)
	// The clock is set back.
	w.adjust(start.Add(-time.Hour), 4*time.Second)
	check(4*time.Second, 1_000_000-3_600_000)
}
