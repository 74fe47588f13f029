package memory

import (
	"maps"
	"sync"

	"myelin/channel"
)

// shards is how many parts the map of channels has, so that publishers of
// different channels seldom meet. A power of two.
const shards = 64

// shard is one part of the map of channels.
type shard struct {
	mu struct {
		sync.RWMutex
		books map[string]*book
		// peak is how many books the map had room for.
		peak int
	}
	// due holds the books that have something due. Its lock is taken under
	// that of a book.
	due struct {
		sync.Mutex
		heap heap[*book]
	}
	ids idMemory
}

// find returns the book of a channel, or nil.
func (s *shard) find(name string) *book {
	s.mu.RLock()
	b := s.mu.books[name]
	s.mu.RUnlock()
	return b
}

// bury takes a dead book out of the map. Whoever meets one does it.
func (s *shard) bury(b *book, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.books[name] != b {
		return
	}
	delete(s.mu.books, name)
	if s.mu.peak < shrinkFrom || len(s.mu.books) > s.mu.peak/8 {
		return
	}
	// A map does not shrink by itself, nor does a clone of it.
	smaller := make(map[string]*book, len(s.mu.books))
	maps.Copy(smaller, s.mu.books)
	s.mu.books, s.mu.peak = smaller, len(smaller)
}

// shrinkFrom is how many books a map must have had to be worth shrinking.
const shrinkFrom = 64

// turn is one caller's turn at a book, whose lock it holds. The book is nil
// where nothing is kept of the channel.
type turn struct {
	s   *shard
	b   *book
	now moment
}

// open gives the caller a turn at the book of a channel, made if need be and
// settled. A channel that is only kept for a subscriber is made where keep is
// set.
func (e *Engine) open(name string, p *channel.Policy, keep bool) (turn, error) {
	s := e.shard(name)
	for {
		b := s.find(name)
		if b == nil {
			if err := e.admit(name, p); err != nil {
				return turn{}, err
			}
			if !keep && fleeting(p) {
				return turn{s: s, now: e.now()}, nil
			}
			var err error
			if b, err = e.create(s, name, p); err != nil {
				return turn{}, err
			}
		}
		if t := e.enter(s, b); t.b != nil {
			return t, nil
		}
		if err := e.running(); err != nil {
			return turn{}, err
		}
		s.bury(b, name)
	}
}

// enter takes the lock of a book and settles it. The turn has no book where it
// is dead, or was past its time.
func (e *Engine) enter(s *shard, b *book) turn {
	b.mu.Lock()
	t := turn{s: s, b: b, now: e.now()}
	if !b.mu.dead {
		e.settle(t)
		if !b.expired(t.now.mono) {
			return t
		}
		e.end(t)
	}
	b.mu.Unlock()
	t.b = nil
	return t
}

// leave ends a turn that used the book.
func (e *Engine) leave(t turn) {
	t.b.mu.used = t.now.mono
	e.arm(t)
	t.b.mu.Unlock()
}

// admit returns nil for a channel that the engine can keep.
func (e *Engine) admit(name string, p *channel.Policy) error {
	if err := e.running(); err != nil {
		return err
	}
	if err := channel.CheckName(name); err != nil {
		return err
	}
	if p == nil {
		return errNoPolicy
	}
	if p.Durability > channel.DurabilityMemory {
		return channel.ErrUnsupported.With("the memory engine survives no restart; use durability memory, or another engine")
	}
	return nil
}

var errNoPolicy = channel.ErrBadRequest.With("the request has no policy; the engine needs that of the namespace")

// create returns the book of a channel that seemed to have none.
func (e *Engine) create(s *shard, name string, p *channel.Policy) (*book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.mu.books[name]; b != nil {
		return b, nil
	}
	if err := e.running(); err != nil {
		return nil, err
	}
	if n := e.channels.Add(1); e.options.MaxChannels > 0 && n > int64(e.options.MaxChannels) {
		e.channels.Add(-1)
		return nil, channel.ErrLimitExceeded.With(tooMany("channels", e.options.MaxChannels))
	}
	b := newBook(name, p)
	if s.mu.books == nil {
		s.mu.books = make(map[string]*book)
	}
	s.mu.books[b.name()] = b
	s.mu.peak = max(s.mu.peak, len(s.mu.books))
	return b, nil
}
