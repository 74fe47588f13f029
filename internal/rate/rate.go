// Package rate measures how much of something happens per second, and says
// when it is too much.
//
// Its nouns: a [Limit] is so many units within a time, with so many of them at
// once; a [Meter] is what one source has used; a [Table] is the meters of many
// sources by key, in bounded memory.
//
// The measure is the generic cell rate algorithm (ITU-T I.371): a meter knows
// one time, when the next unit would be due at an even pace, and it may run
// ahead of the clock by the burst. What is admitted within any time t is at
// most the burst and what the pace allows within t, to the unit. A meter can be
// charged beyond its burst, for what was admitted elsewhere; the debt is paid
// off at the pace before anything more is admitted.
//
// A Limit is a value. A Meter belongs to its owner, a Table may be used from
// many goroutines. Times are durations since any fixed moment, of a clock that
// does not jump.
package rate

import "time"

// mostDebt is how far a meter may run ahead of the clock by charges, whatever
// they were: nobody is locked out for longer by what another node says.
const mostDebt = 24 * time.Hour

// Limit is N units within Per, Burst of them at once. A zero N is no limit.
type Limit struct {
	N int64
	// Per is a second where it is zero.
	Per time.Duration
	// Burst is N where it is zero: what one Per holds.
	Burst int64
}

// PerSecond returns a limit of n units a second, as many of them at once.
func PerSecond(n int64) Limit { return Limit{N: n} }

// On reports whether there is a limit.
func (l Limit) On() bool { return l.N > 0 }

func (l Limit) per() time.Duration {
	if l.Per <= 0 {
		return time.Second
	}
	return l.Per
}

func (l Limit) burst() int64 {
	if l.Burst <= 0 {
		return l.N
	}
	return l.Burst
}

// mostCost keeps sums of times from overflowing.
const mostCost = 1 << 60

// Cost is how much time n units take at the pace of the limit. It is computed
// for all of them at once, so that little is lost by rounding.
func (l Limit) Cost(n int64) time.Duration {
	return time.Duration(min(float64(n)*float64(l.per())/float64(l.N), mostCost))
}

// Meter is what one source has used. The zero Meter has used nothing.
type Meter struct {
	// due is when the next unit would be due at an even pace.
	due time.Duration
}

// Take admits n units, all or none. Where it refuses, wait is after what time
// they would be admitted. More units than the burst are admitted when nothing
// is owed, and are then paid off.
func (m *Meter) Take(l Limit, n int64, now time.Duration) (wait time.Duration, ok bool) {
	due := max(m.due, now)
	next := due + l.Cost(n)
	room := max(l.Cost(l.burst()), l.Cost(n))
	// A nanosecond, because rounding must not refuse who is on time.
	if over := next - now - room; over > 1 {
		return over, false
	}
	m.due = next
	return 0, true
}

// Give takes back n units that were admitted and not used.
func (m *Meter) Give(l Limit, n int64) { m.due -= l.Cost(n) }

// Charge adds what was admitted elsewhere, in the time that it takes at the
// pace of its limit, see Limit.Cost.
func (m *Meter) Charge(cost, now time.Duration) {
	m.due = max(m.due, min(max(m.due, now)+min(cost, mostDebt), now+mostDebt))
}

// Idle reports whether the meter is as a new one would be.
func (m *Meter) Idle(now time.Duration) bool { return m.due <= now }
