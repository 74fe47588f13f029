package swarm

import "sync/atomic"

// ledger knows which publications are outstanding. Its slots are reused: the
// publication with number n has the slot n modulo their count. Loops settle,
// the publisher opens; what they share is atomic.
type ledger struct {
	slots     []atomic.Int32 // events a publication still waits for
	reached   chan struct{}  // holds a token when the goal may have been reached
	each      int32          // events that complete one publication
	sent      atomic.Uint32  // numbers below it were opened
	completed atomic.Int64
	goal      atomic.Int64
}

func newLedger(window int, each int32) *ledger {
	return &ledger{
		slots:   make([]atomic.Int32, window),
		reached: make(chan struct{}, 1),
		each:    each,
	}
}

func (l *ledger) slot(number uint32) *atomic.Int32 {
	return &l.slots[int(number)%len(l.slots)]
}

// free says whether the publication that had the slot before is complete.
func (l *ledger) free(number uint32) bool {
	return l.slot(number).Load() == 0
}

// open makes the next number outstanding; its slot is free. It is called
// before the publication can be seen by anyone.
func (l *ledger) open(number uint32) {
	l.slot(number).Store(l.each)
	l.sent.Store(number + 1)
}

// settle counts one event of an outstanding publication and says whether that
// completed it.
func (l *ledger) settle(number uint32) (complete bool) {
	if l.slot(number).Add(-1) != 0 {
		return false
	}
	// Written before goal is read, as expect writes goal before it reads
	// completed: one of the two sees the other.
	if l.completed.Add(1) >= l.goal.Load() {
		l.signal()
	}
	return true
}

// expect sets the number of completed publications to wait for on reached.
func (l *ledger) expect(goal int64) {
	l.goal.Store(goal)
	if l.met() {
		l.signal()
	}
}

// met says whether the goal was reached; reached may hold an older token.
func (l *ledger) met() bool {
	return l.completed.Load() >= l.goal.Load()
}

func (l *ledger) signal() {
	select {
	case l.reached <- struct{}{}:
	default:
	}
}
