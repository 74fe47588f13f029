package disk

import (
	"math"
	"time"
)

// never is later than any time.
const never = int64(math.MaxInt64)

// clock tells the time in Unix milliseconds. It follows the wall clock when
// the engine opens and runs by itself from there: no adjustment moves it, and
// it never goes back behind what was written down.
type clock struct {
	started time.Time
	base    int64
}

func newClock(atLeast int64) clock {
	now := time.Now()
	return clock{started: now, base: max(now.UnixMilli(), atLeast)}
}

func (c clock) now() int64 { return c.base + time.Since(c.started).Milliseconds() }

// later returns t+d, or never where there is no such time.
func later(t int64, d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	if ms > never-t {
		return never
	}
	return t + ms
}

// minute is the unit of what is forgotten without hurry.
const minute = int64(time.Minute / time.Millisecond)

// minuteAfter returns the first whole minute by which t is over.
func minuteAfter(t int64) int64 { return t/minute + 1 }
