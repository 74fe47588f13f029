package disk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// MaxMends is how often a database is opened anew while the process lives.
	// What it had in memory stays behind each time.
	MaxMends = 8
	// mendEvery is how often it is tried whether a failed disk works again.
	mendEvery = time.Second
	// mendPatience is how long each step of a mend may take before it is put
	// off.
	mendPatience = 10 * time.Second
	// probeFile is what is written to find out, and probeBytes how much.
	probeFile  = "probe"
	probeBytes = 64 << 10
)

// mender is the goroutine that opens the database anew when a disk that had
// failed works again.
type mender struct {
	mu struct {
		sync.Mutex
		// over is closed when the mend that is under way is over.
		over chan struct{}
	}
	// mends counts those that were tried. It is the goroutine's own.
	mends int
	// every is mendEvery.
	every time.Duration
	stop  chan struct{}
	done  chan struct{}
}

func newMender() *mender {
	return &mender{every: mendEvery, stop: make(chan struct{}), done: make(chan struct{})}
}

// mended returns a channel that is closed when no mend is under way.
func (m *mender) mended() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.over == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	return m.mu.over
}

func (m *mender) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.over = make(chan struct{})
}

func (m *mender) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.mu.over)
	m.mu.over = nil
}

var (
	errMendStopped = errors.New("the engine closes")
	errMendSlow    = errors.New("something is still in the middle of it")
)

// await waits for one of the things that a mend depends on.
func (m *mender) await(what <-chan struct{}) error {
	timer := time.NewTimer(mendPatience)
	defer timer.Stop()
	select {
	case <-what:
		return nil
	case <-m.stop:
		return errMendStopped
	case <-timer.C:
		return errMendSlow
	}
}

func (e *Engine) mendLoop() {
	m := e.mender
	defer close(m.done)
	timer := time.NewTimer(m.every)
	defer timer.Stop()
	for {
		select {
		case <-e.health.ill():
		case <-m.stop:
			return
		}
		timer.Reset(m.every)
		select {
		case <-timer.C:
		case <-m.stop:
			return
		}
		if !e.health.failed() {
			continue
		}
		if m.mends == MaxMends {
			e.health.worsen(conditionGivenUp, fmt.Errorf("it has failed %d times", MaxMends+1))
			return
		}
		if err := e.probe(); err != nil {
			continue
		}
		m.mends++
		if err := e.mend(); err != nil {
			e.log.Error("the disk seems to work again, but the database could not be opened anew; it is tried again", "err", err)
			// A disk that comes and goes is given more and more time.
			timer.Reset(m.every << m.mends)
			select {
			case <-timer.C:
			case <-m.stop:
				return
			}
		}
	}
}

// probe finds out whether the disk takes writes.
func (e *Engine) probe() error {
	done, result := make(chan struct{}), errMendSlow
	go func() {
		defer close(done)
		result = probe(e.home.fs, e.home.path)
	}()
	if err := e.mender.await(done); err != nil {
		return err
	}
	return result
}

func probe(fs vfs.FS, dir string) error {
	name := fs.PathJoin(dir, probeFile)
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	err = errors.Join(err, f.Sync(), f.Close())
	return errors.Join(err, fs.Remove(name))
}

// mend opens the database anew, as after a crash, and goes on with that. The
// database that failed is left where it is: nothing of it comes to the disk
// any more, and nobody is told by it.
func (e *Engine) mend() error {
	m := e.mender
	e.guard.abandon()
	if err := m.await(e.guard.quiet); err != nil {
		return fmt.Errorf("a write that failed: %w", err)
	}
	e.guard.witness.dismiss()
	if err := m.await(e.guard.witness.done); err != nil {
		return fmt.Errorf("the witness: %w", err)
	}
	e.ledger.retire()
	m.begin()
	defer m.end()
	if !e.phase.CompareAndSwap(phaseRunning, phaseMending) {
		return errMendStopped
	}
	defer e.phase.CompareAndSwap(phaseMending, phaseRunning)
	for e.calls.Load() != 0 {
		if err := m.await(e.idle); err != nil {
			return fmt.Errorf("the calls that came before: %w", err)
		}
	}
	e.home.witness = newWitness(e.home.fs, e.home.path)
	opened, err := e.openDisk()
	if err != nil {
		return err
	}
	was := e.disk
	e.use(opened)
	e.gate.clear()
	e.flusher.clear()
	lost := e.blank(was)
	e.health.heal()
	if err := opened.guard.broken(); err != nil {
		// It has failed again while nobody was told.
		e.health.worsen(conditionFailed, err)
	}
	// Whoever hears of it reads when the calls go on.
	for _, name := range lost {
		e.sink.Lost(name)
	}
	e.watches.Gap()
	e.sweeper.hurry()
	return nil
}

// blank forgets what the books know of the store that failed: those without a
// subscriber go, the others are read anew at their next use. It returns the
// channels with a subscriber whose feed may have a hole.
func (e *Engine) blank(was *store) (lost []string) {
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.RLock()
		books := make([]*book, 0, len(s.mu.books))
		for _, b := range s.mu.books {
			books = append(books, b)
		}
		s.mu.RUnlock()
		for _, b := range books {
			b.mu.Lock()
			switch {
			case b.mu.store != was || b.mu.dead:
			case !b.mu.subscribed:
				e.bury(b)
			default:
				if b.mu.top != b.mu.done || b.underWay() > 0 || b.mu.unflushed {
					lost = append(lost, b.name)
				}
				e.replace(s, b)
			}
			b.mu.Unlock()
		}
	}
	return lost
}

// replace puts a blank book in the place of one, which is locked and dies:
// what is under way of it will never be told.
func (e *Engine) replace(s *shard, b *book) {
	fresh := &book{name: b.name}
	fresh.mu.policy, fresh.mu.provisional = b.mu.policy, b.mu.provisional
	fresh.mu.store, fresh.mu.subscribed, fresh.mu.blank = e.disk, true, true
	fresh.mu.used = b.mu.used
	b.mu.dead = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(b)
	s.mu.books[b.name] = fresh
}

// refill reads a blank book, which is locked. It stays blank where that fails.
func (e *Engine) refill(b *book) error {
	if !b.mu.blank {
		return nil
	}
	if err := e.fill(b); err != nil {
		return e.failed(b.name, err)
	}
	b.mu.blank = false
	return nil
}
