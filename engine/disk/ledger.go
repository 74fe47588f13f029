package disk

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

const (
	// groupTickets and groupBytes are how much one commit takes at most.
	groupTickets = 1024
	groupBytes   = 4 << 20
	// groupsAhead is how many commits may wait for their fsync.
	groupsAhead = 256
)

// ticket is a piece of work on its way to the disk.
type ticket struct {
	book *book
	// batch is what to write, nil for nothing.
	batch *pebble.Batch
	// pub is what to deliver when it is done, nil for nothing, and top what
	// the top of the book is then.
	pub *channel.Publication
	top uint64
	// fsync: it is done when it is on disk, otherwise when it is written.
	fsync bool
	// id and key are what the ticket is found by while it is under way. stake
	// is where the entry of key will stand, zero where it will be gone.
	id, key string
	stake   stake
	// look asks for an iterator from that moment.
	look func() (*pebble.Iterator, error)
	iter *pebble.Iterator
	// bytes is what to give back to the gate, -1 where it did not pass.
	bytes int64
	// queued says that it is one of those that the book counts as behind.
	queued bool
	// taken says that either the one who waits or the one who is waited for
	// has let go.
	taken atomic.Bool
	err   error
	done  chan struct{}
}

func (t *ticket) size() int {
	if t.batch == nil {
		return 0
	}
	return t.batch.Len()
}

// group is what was committed together, and who is to be told when it is on
// disk.
type group struct {
	batch   *pebble.Batch
	tickets []*ticket
}

// ledger commits what publishers hand in, in order, many at a time. The
// scribe writes one group after the other and does not wait for the disk; the
// herald waits for the disk and tells.
type ledger struct {
	store *store
	guard *guard
	// tell is called once for each ticket, in the order of each book, unless
	// the ledger is retired.
	tell    func(t *ticket)
	telling struct {
		sync.RWMutex
		retired bool
	}
	mu struct {
		sync.Mutex
		queue  []*ticket
		closed bool
	}
	nudge   chan struct{}
	written chan group
	scribe  chan struct{}
	herald  chan struct{}
}

func newLedger(s *store, g *guard, tell func(t *ticket)) *ledger {
	l := &ledger{
		store: s, guard: g, tell: tell, nudge: make(chan struct{}, 1), written: make(chan group, groupsAhead),
		scribe: make(chan struct{}), herald: make(chan struct{}),
	}
	go l.scribeLoop()
	go l.heraldLoop()
	return l
}

// enter puts a ticket in the queue, which does not wait. It reports false
// where the ledger is closed.
func (l *ledger) enter(t *ticket) bool {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return false
	}
	l.mu.queue = append(l.mu.queue, t)
	first := len(l.mu.queue) == 1
	l.mu.Unlock()
	if first {
		select {
		case l.nudge <- struct{}{}:
		default:
		}
	}
	return true
}

// close has everything in the queue done and nothing after it.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed {
		l.mu.closed = true
		close(l.nudge)
	}
}

// report tells of a ticket.
func (l *ledger) report(t *ticket) {
	l.telling.RLock()
	defer l.telling.RUnlock()
	if !l.telling.retired {
		l.tell(t)
	}
}

// retire has nothing more told and nothing more begun. Its goroutines end,
// those aside that are in a write of an abandoned database.
func (l *ledger) retire() {
	l.telling.Lock()
	l.telling.retired = true
	l.telling.Unlock()
	l.mu.Lock()
	l.mu.queue = nil
	l.mu.Unlock()
	l.close()
}

// take returns the next group's tickets, nil at the end.
func (l *ledger) take() []*ticket {
	for {
		l.mu.Lock()
		n, bytes := 0, 0
		for n < len(l.mu.queue) && n < groupTickets && (n == 0 || bytes < groupBytes) {
			t := l.mu.queue[n]
			// Whoever looks must not see what comes after him.
			if n > 0 && t.look != nil {
				break
			}
			bytes += t.size()
			n++
			if t.look != nil {
				break
			}
		}
		group := l.mu.queue[:n:n]
		l.mu.queue = l.mu.queue[n:]
		if len(l.mu.queue) == 0 {
			l.mu.queue = nil
		}
		closed := l.mu.closed
		l.mu.Unlock()
		if n > 0 {
			return group
		}
		if closed {
			return nil
		}
		<-l.nudge
	}
}

func (l *ledger) scribeLoop() {
	defer close(l.scribe)
	defer close(l.written)
	// Should the database end this goroutine, whoever is in the queue is told
	// by health, and nobody comes after.
	done := false
	defer func() {
		if done {
			return
		}
		why := recover()
		l.guard.worsen(conditionFailed, fmt.Errorf("the database gave up: %v", why))
		l.close()
		l.abandon()
	}()
	for tickets := l.take(); tickets != nil; tickets = l.take() {
		l.commit(tickets)
	}
	done = true
}

// commit writes one group.
func (l *ledger) commit(tickets []*ticket) {
	if t := tickets[0]; t.look != nil {
		t.iter, t.err = t.look()
		l.pass(nil, tickets)
		return
	}
	batch, fsync := join(l.store.db, tickets)
	if batch == nil {
		l.pass(nil, tickets)
		return
	}
	var err error
	if fsync {
		err = l.store.db.ApplyNoSyncWait(batch, pebble.Sync)
	} else {
		err = l.store.db.Apply(batch, pebble.NoSync)
	}
	if err != nil {
		// The database refuses only what it has not begun to do.
		for _, t := range tickets {
			t.err = channel.ErrInternal.Wrap(fmt.Errorf("commit: %w", err))
		}
		l.pass(nil, tickets)
		return
	}
	if !fsync {
		// An unshared batch holds nothing that a failed close would lose.
		_ = batch.Close()
		batch = nil
	}
	l.pass(batch, tickets)
}

// join makes one batch of all and says whether it is to be on disk before it
// is told. It returns nil where there is nothing to do.
func join(db *pebble.DB, tickets []*ticket) (batch *pebble.Batch, fsync bool) {
	size := 0
	for _, t := range tickets {
		fsync = fsync || t.fsync
		size += t.size()
	}
	if len(tickets) == 1 && tickets[0].batch != nil {
		batch = tickets[0].batch
		tickets[0].batch = nil
	} else {
		batch = db.NewBatchWithSize(size + 64)
		for _, t := range tickets {
			if t.batch == nil {
				continue
			}
			_ = batch.Apply(t.batch, nil)
			_ = t.batch.Close()
			t.batch = nil
		}
	}
	if batch.Empty() {
		if !fsync {
			_ = batch.Close()
			return nil, false
		}
		// A word in the log takes all before it to the disk.
		_ = batch.LogData([]byte("flush"), nil)
	}
	return batch, fsync
}

// pass tells those who need not wait and hands the rest on.
func (l *ledger) pass(batch *pebble.Batch, tickets []*ticket) {
	rest := tickets[:0]
	for _, t := range tickets {
		if t.book == nil {
			if t.fsync {
				rest = append(rest, t)
			} else {
				l.report(t)
			}
			continue
		}
		t.book.mu.Lock()
		wait := t.fsync || t.book.mu.behind > 0
		if wait {
			t.queued = true
			t.book.mu.behind++
		}
		t.book.mu.Unlock()
		if wait {
			rest = append(rest, t)
		} else {
			l.report(t)
		}
	}
	if batch != nil || len(rest) > 0 {
		l.written <- group{batch, rest}
	}
}

func (l *ledger) heraldLoop() {
	defer close(l.herald)
	for g := range l.written {
		var err error
		if g.batch != nil {
			if err = g.batch.SyncWait(); err != nil {
				l.guard.worsen(conditionFailed, err)
			}
			_ = g.batch.Close()
		}
		for _, t := range g.tickets {
			if err != nil {
				t.err = channel.ErrUnknownOutcome.With(conditionFailed.words()).Wrap(err)
			}
			l.report(t)
		}
	}
}

// abandon refuses what is left in the queue.
func (l *ledger) abandon() {
	l.mu.Lock()
	queue := l.mu.queue
	l.mu.queue = nil
	l.mu.Unlock()
	for _, t := range queue {
		t.err = l.guard.health.unknown()
		l.report(t)
	}
}
