package demo

import "slices"

// heart turns R peaks into a heart rate: the median of the last intervals, so
// that one premature beat does not move it.
type heart struct {
	last int   // sample of the last peak, -1 if none
	rr   []int // the last intervals, in samples, oldest first
}

const (
	// rateIntervals is over how many intervals the median is taken.
	rateIntervals = 8
	// Intervals outside are no heart beat's: at most 222 and at least 30 a
	// minute.
	shortestRR = 0.270
	longestRR  = 2.0
)

func newHeart() *heart { return &heart{last: -1} }

// beat takes the next peak. It returns the rate in beats per minute and the
// interval in milliseconds, or false if the interval cannot be one: after a
// pause the rate starts anew.
func (h *heart) beat(at int) (bpm float64, rr int, ok bool) {
	last := h.last
	h.last = at
	if last < 0 {
		return 0, 0, false
	}
	interval := at - last
	switch seconds := float64(interval) / recordRate; {
	case seconds > longestRR:
		h.rr = h.rr[:0]
		return 0, 0, false
	case seconds < shortestRR:
		return 0, 0, false
	}
	if len(h.rr) == rateIntervals {
		h.rr = slices.Delete(h.rr, 0, 1)
	}
	h.rr = append(h.rr, interval)
	return 60 * recordRate / median(h.rr), int(1000*float64(interval)/recordRate + 0.5), true
}

func median(values []int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return float64(sorted[mid])
	}
	return float64(sorted[mid-1]+sorted[mid]) / 2
}
