package wheel

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

const (
	// MinTick is the finest resolution of a wheel.
	MinTick = 50 * time.Microsecond

	slotBits = 6
	slots    = 1 << slotBits
	// Eight levels of 64 slots span 2^48 ticks: at MinTick that is 446 years,
	// more than a time.Duration can say.
	levels = 8
)

// A Timer is one wake-up. It needs no more preparation than its Owner. A Timer
// must not be copied while it is pending.
type Timer[T any] struct {
	// Owner is what the expire function gets, usually a pointer to the struct
	// that the timer is embedded in. The wheel does not look at it.
	Owner T

	next, prev *Timer[T]
	due        int64 // in ticks; zero when not pending
}

// Pending reports whether the timer is scheduled and has not fired yet.
func (t *Timer[T]) Pending() bool { return t.due != 0 }

// A slot is a list of timers and a lower bound of their due times.
type slot[T any] struct {
	head     *Timer[T]
	earliest int64
}

// A Wheel is a set of timers. Use [New] to make one.
type Wheel[T any] struct {
	tick   time.Duration
	expire func(T)

	start   time.Time
	elapsed time.Duration // since start, of the last Advance
	cursor  int64         // the last tick whose timers have fired
	pending int
	firing  bool

	// A timer is at the level of the highest base-64 digit in which its due
	// tick differs from the cursor, in the slot named by that digit. All of a
	// level is due before anything on the next.
	occupied [levels]uint64 // bit per slot that is not empty
	slots    [levels][slots]slot[T]
}

// New returns an empty wheel whose time stands at the present moment. The owners
// of expired timers are handed to expire, from within Advance; it may schedule
// and cancel timers, the expired one included, but not call Advance.
func New[T any](tick time.Duration, expire func(owner T)) *Wheel[T] {
	return newAt(tick, time.Now(), expire)
}

func newAt[T any](tick time.Duration, start time.Time, expire func(owner T)) *Wheel[T] {
	if tick < MinTick {
		panic(fmt.Sprintf("wheel: a tick of %v is too fine, the least is %v", tick, MinTick))
	}
	return &Wheel[T]{tick: tick, start: start, expire: expire}
}

// Len returns how many timers are pending.
func (w *Wheel[T]) Len() int { return w.pending }

// Schedule arms the timer to fire after the delay, counted from the time of the
// last Advance: an owner that slept calls Advance before it schedules. A timer
// that is pending is moved. A delay that is zero or less means the next tick.
func (w *Wheel[T]) Schedule(t *Timer[T], after time.Duration) {
	if t.Pending() {
		w.remove(t)
	}
	due := w.elapsed + max(after, 0)
	if due < w.elapsed { // beyond what a Duration can say
		due = math.MaxInt64
	}
	t.due = int64(due / w.tick)
	if due%w.tick != 0 {
		t.due++
	}
	// The ticks up to this moment are over, or are being worked off by the
	// Advance that called us.
	t.due = max(t.due, int64(w.elapsed/w.tick)+1)
	w.insert(t)
}

// Cancel disarms the timer and reports whether it was pending.
func (w *Wheel[T]) Cancel(t *Timer[T]) bool {
	if !t.Pending() {
		return false
	}
	w.remove(t)
	return true
}

// Next returns how long after the last Advance the earliest timer is due, and
// false if there is none. It is never later than that; it is earlier only when
// the timer that was the earliest has been cancelled or moved, and then leads
// to a better answer after the next Advance.
func (w *Wheel[T]) Next() (time.Duration, bool) {
	level, index, ok := w.first()
	if !ok {
		return 0, false
	}
	ticks := w.slots[level][index].earliest
	if ticks > int64(math.MaxInt64/w.tick) {
		return math.MaxInt64 - w.elapsed, true
	}
	return max(time.Duration(ticks)*w.tick-w.elapsed, 0), true
}

// Advance moves the wheel's time to now and fires what is due. A now before
// that of the last Advance changes nothing.
func (w *Wheel[T]) Advance(now time.Time) {
	if w.firing {
		panic("wheel: Advance called from the expire function")
	}
	w.firing = true
	defer func() { w.firing = false }()

	w.elapsed = max(w.elapsed, now.Sub(w.start))
	target := int64(w.elapsed / w.tick)
	for {
		level, index, ok := w.first()
		if !ok {
			break
		}
		begin := w.begin(level, index)
		if begin > target {
			break
		}
		w.cursor = begin
		if level == 0 {
			w.fire(index)
		} else {
			w.spread(level, index)
		}
	}
	w.cursor = max(w.cursor, target)
}

// first returns the slot that holds the earliest timers.
func (w *Wheel[T]) first() (level, index int, ok bool) {
	for level := range w.occupied {
		if w.occupied[level] != 0 {
			return level, bits.TrailingZeros64(w.occupied[level]), true
		}
	}
	return 0, 0, false
}

// begin returns the first tick of a slot: the cursor's digits above the level,
// then the slot's index, then zeros.
func (w *Wheel[T]) begin(level, index int) int64 {
	shift := level * slotBits
	return w.cursor>>(shift+slotBits)<<(shift+slotBits) | int64(index)<<shift
}

// fire hands out the timers of a slot of level zero. What the handler schedules
// goes to later slots, what it cancels leaves this one.
func (w *Wheel[T]) fire(index int) {
	s := &w.slots[0][index]
	for s.head != nil {
		t := s.head
		w.remove(t)
		w.expire(t.Owner)
	}
}

// spread moves the timers of a slot whose time has begun to lower levels.
func (w *Wheel[T]) spread(level, index int) {
	s := &w.slots[level][index]
	w.occupied[level] &^= 1 << index
	t := s.head
	s.head = nil
	for t != nil {
		next := t.next
		w.pending--
		w.insert(t)
		t = next
	}
}

// locate returns where the timer's due tick stands relative to the cursor. For
// pending timers that does not change until their slot is spread.
func (w *Wheel[T]) locate(due int64) (level, index int) {
	if differ := uint64(due ^ w.cursor); differ != 0 {
		level = (bits.Len64(differ) - 1) / slotBits
	}
	return level, int(due >> (level * slotBits) & (slots - 1))
}

func (w *Wheel[T]) insert(t *Timer[T]) {
	level, index := w.locate(t.due)
	s := &w.slots[level][index]
	if s.head == nil {
		s.earliest = t.due
		w.occupied[level] |= 1 << index
	} else {
		s.earliest = min(s.earliest, t.due)
		s.head.prev = t
	}
	t.prev, t.next = nil, s.head
	s.head = t
	w.pending++
}

func (w *Wheel[T]) remove(t *Timer[T]) {
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		level, index := w.locate(t.due)
		s := &w.slots[level][index]
		s.head = t.next
		if s.head == nil {
			w.occupied[level] &^= 1 << index
		}
	}
	t.next, t.prev, t.due = nil, nil, 0
	w.pending--
}
