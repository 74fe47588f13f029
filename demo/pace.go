package demo

import "time"

// pace divides time into ticks of a fixed period, counted from a start. The
// k-th tick is due when its period is over.
type pace struct {
	start  time.Time
	period time.Duration
	next   int64 // the first tick that was not handed out
}

// due hands out the ticks [from, to) that have become due by now. If they are
// more than limit the oldest are left out.
func (p *pace) due(now time.Time, limit int64) (from, to int64) {
	to = max(int64(now.Sub(p.start)/p.period), p.next)
	from = max(p.next, to-limit)
	p.next = to
	return from, to
}

// wait returns how long it is until the next tick is due.
func (p *pace) wait(now time.Time) time.Duration {
	return max(p.start.Add(time.Duration(p.next+1)*p.period).Sub(now), 0)
}

// wall tells the time of day of moments measured from a start. It follows the
// monotonic clock, which never jumps, and takes over a jump of the wall clock,
// such as the sleep of a laptop, once it exceeds maxSkew.
type wall struct {
	start time.Time
	shift time.Duration
}

// maxSkew is how far the clocks may drift apart.
const maxSkew = time.Second

// adjust compares the clocks: now on the wall, and how much monotonic time has
// passed since the start.
func (w *wall) adjust(now time.Time, passed time.Duration) {
	// Round(0) strips the monotonic reading.
	skew := now.Round(0).Sub(w.start.Round(0)) - passed
	if (skew - w.shift).Abs() > maxSkew {
		w.shift = skew
	}
}

// unixMilli returns the time of day of a moment after the start.
func (w *wall) unixMilli(after time.Duration) int64 {
	return w.start.Add(after + w.shift).UnixMilli()
}
