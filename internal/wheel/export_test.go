package wheel

import "time"

// NewAt is New at a time of the test's choosing, so that tests can count ticks
// without a clock.
func NewAt[T any](tick time.Duration, start time.Time, expire func(owner T)) *Wheel[T] {
	return newAt(tick, start, expire)
}
