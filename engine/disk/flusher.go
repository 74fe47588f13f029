package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

// maxUnflushed is how many async channels may be marked at once. What is
// published on others meanwhile is flushed at once.
const maxUnflushed = 1 << 16

// flusher is the goroutine that flushes what was acknowledged on async
// channels, and takes the marks off those that are quiet again.
type flusher struct {
	mu struct {
		sync.Mutex
		marked map[*book]struct{}
		// owed says that something was written since the last flush began.
		owed bool
	}
	nudge chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

func newFlusher() *flusher {
	f := &flusher{nudge: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	f.mu.marked = make(map[*book]struct{})
	return f
}

// mark puts a book on the list, if there is room.
func (f *flusher) mark(b *book) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.marked) >= maxUnflushed {
		return false
	}
	f.mu.marked[b] = struct{}{}
	return true
}

// clear forgets the list.
func (f *flusher) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.mu.marked)
	f.mu.owed = false
}

// owe notes that something was written that is to be flushed.
func (f *flusher) owe() {
	f.mu.Lock()
	first := !f.mu.owed
	f.mu.owed = true
	f.mu.Unlock()
	if !first {
		return
	}
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// wantsSync decides whether what is about to be written on a book is told
// when it is on disk, or at once. The first async publication after a pause
// is told when it is on disk, and so is the second, which brings the mark that
// the next ones may be lost; so a channel that is not busy loses nothing and
// is never marked.
func (e *Engine) wantsSync(b *book, batch *pebble.Batch, now int64) bool {
	switch {
	case !b.mu.store.durable:
		return false
	case b.mu.policy.Durability != channel.DurabilityAsync:
		return true
	}
	busy := b.mu.asyncAt != 0 && now-b.mu.asyncAt < linger
	b.mu.asyncAt = now
	if b.mu.unflushed {
		e.flusher.owe()
		return false
	}
	if busy && e.flusher.mark(b) {
		set(batch, unflushedKey(b.name), nil)
		b.mu.unflushed = true
		e.flusher.owe()
	}
	return true
}

func (e *Engine) flushLoop() {
	f := e.flusher
	defer close(f.done)
	timer := time.NewTimer(e.options.FlushInterval)
	defer timer.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-f.nudge:
		}
		for more := true; more; {
			timer.Reset(e.options.FlushInterval)
			select {
			case <-timer.C:
			case <-f.stop:
				return
			}
			if e.begin(context.Background()) != nil {
				continue
			}
			if e.health.err() == nil {
				more = e.flush()
			}
			e.end()
		}
	}
}

// flush takes all that was written to the disk and reports whether there will
// be more to do.
func (e *Engine) flush() bool {
	f := e.flusher
	f.mu.Lock()
	owed := f.mu.owed
	f.mu.owed = false
	f.mu.Unlock()
	if owed {
		t := newTicket()
		t.fsync = true
		if e.enter(e.disk, t) != nil || e.wait(t) != nil {
			f.owe()
			return true
		}
	}
	return e.unmark() || owed
}

// unmark takes the marks off quiet books and reports whether any stay marked.
func (e *Engine) unmark() bool {
	f := e.flusher
	f.mu.Lock()
	marked := make([]*book, 0, len(f.mu.marked))
	for b := range f.mu.marked {
		marked = append(marked, b)
	}
	f.mu.Unlock()
	now := e.clock.now()
	for _, b := range marked {
		b.mu.Lock()
		if now-b.mu.asyncAt < linger {
			b.mu.Unlock()
			continue
		}
		// The log is read from its front, so once the mark is seen to be gone,
		// nothing before is missing.
		t := newTicket()
		t.book, t.batch = b, e.disk.db.NewBatch()
		del(t.batch, unflushedKey(b.name))
		if e.send(b, t) == nil {
			b.mu.unflushed = false
			f.mu.Lock()
			delete(f.mu.marked, b)
			f.mu.owed = true
			f.mu.Unlock()
		}
		b.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.owed || len(f.mu.marked) > 0
}

// flushAll takes everything to the disk and all marks off, for the end.
func (e *Engine) flushAll() error {
	t := newTicket()
	t.fsync = true
	t.batch = e.disk.db.NewBatch()
	setHeader(t.batch, headerClock, uint64(e.clock.now()))
	e.flusher.mu.Lock()
	for b := range e.flusher.mu.marked {
		del(t.batch, unflushedKey(b.name))
	}
	e.flusher.mu.Unlock()
	if err := e.enter(e.disk, t); err != nil {
		return err
	}
	return e.wait(t)
}

// bumpUnflushed gives a new epoch to each channel that is marked: it may have
// acknowledged what is gone. What is still there is kept under the new one.
func (s *store) bumpUnflushed(log *slog.Logger) error {
	prefix := []byte{keyUnflushed}
	i, err := s.iterate(prefix, after(prefix))
	if err != nil {
		return err
	}
	batch := s.db.NewBatch()
	bumped := 0
	for i.First(); i.Valid(); i.Next() {
		name := string(i.Key()[1:])
		if err := s.bump(batch, name); err != nil {
			return errors.Join(fmt.Errorf("channel %q: %w", name, err), i.Close(), batch.Close())
		}
		bumped++
	}
	if err := errors.Join(i.Error(), i.Close()); err != nil || bumped == 0 {
		return errors.Join(err, batch.Close())
	}
	log.Warn("the log was not left in order; async channels that may have lost something have a new epoch", "channels", bumped)
	return errors.Join(batch.Commit(pebble.Sync), batch.Close())
}

func (s *store) bump(batch *pebble.Batch, name string) error {
	del(batch, unflushedKey(name))
	record, err := s.get(metaKey(name))
	if err != nil || record == nil {
		return err
	}
	m, err := parseMeta(record)
	if err != nil {
		return err
	}
	m.epoch, m.rebirth = newEpoch(), s.rebirth
	set(batch, metaKey(name), m.encode())
	return nil
}
