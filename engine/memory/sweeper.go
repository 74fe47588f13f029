package memory

import (
	"sync/atomic"
	"time"
)

// sweeper is the goroutine that lets go of what has outlived its time. It
// sleeps until the next thing is due, for ever where nothing is.
type sweeper struct {
	// wakeAt is when it wakes by itself.
	wakeAt atomic.Int64
	nudge  chan struct{}
	stop   chan struct{}
	done   chan struct{}
}

func newSweeper() *sweeper {
	s := &sweeper{nudge: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	s.wakeAt.Store(never)
	return s
}

// before makes sure that the sweeper is awake at the given time.
func (s *sweeper) before(due int64) {
	if due >= s.wakeAt.Load() {
		return
	}
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

func (e *Engine) sweepLoop() {
	defer close(e.sweeper.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// Whatever becomes due while the shards are looked at nudges, as it
		// may be in one that was looked at already.
		e.sweeper.wakeAt.Store(never)
		next := e.sweep()
		e.sweeper.wakeAt.Store(next)
		timer.Stop()
		if next != never {
			timer.Reset(time.Duration(next - e.now().mono))
		}
		select {
		case <-timer.C:
		case <-e.sweeper.nudge:
		case <-e.sweeper.stop:
			return
		}
	}
}

// sweep settles all that is due and returns when the next thing is.
func (e *Engine) sweep() (next int64) {
	next = never
	for i := range e.shards {
		s := &e.shards[i]
		next = min(next, e.sweepShard(s), s.ids.sweep(e.now().mono))
	}
	return next
}

func (e *Engine) sweepShard(s *shard) (next int64) {
	now := e.now()
	for {
		s.due.Lock()
		next = s.due.heap.first()
		if next > now.mono {
			s.due.Unlock()
			return next
		}
		b := s.due.heap.pop()
		s.due.Unlock()
		e.visit(s, b)
	}
}

// visit settles a book that was due, and ends it where its time is over.
func (e *Engine) visit(s *shard, b *book) {
	b.mu.Lock()
	b.mu.armed = never
	b.mu.Unlock()
	t := e.enter(s, b)
	if t.b == nil {
		s.bury(b, b.name())
		return
	}
	e.arm(t)
	b.mu.Unlock()
}

// end marks a book as dead. The caller buries it; not before the season has
// changed, so that it does not come back with the same epoch.
func (e *Engine) end(t turn) {
	t.b.mu.dead = true
	if !t.b.blank() {
		t.s.seasons.of(t.b.mu.policy).Add(1)
	}
	e.channels.Add(-1)
	if t.b.mu.armed == never {
		return
	}
	t.s.due.Lock()
	t.s.due.heap.remove(t.b)
	t.s.due.Unlock()
}

// arm makes sure that the sweeper visits the book in time.
func (e *Engine) arm(t turn) {
	due := t.b.due()
	if due >= t.b.mu.armed {
		return
	}
	t.b.mu.armed = due
	t.s.due.Lock()
	t.s.due.heap.set(t.b, due)
	t.s.due.Unlock()
	e.sweeper.before(due)
}
