package disk

import (
	"hash/maphash"
	"maps"
	"sync"

	"myelin/channel"
)

// shards is how many parts the map of channels has, so that publishers of
// different channels seldom meet. A power of two.
const shards = 64

// shrinkFrom is how many books a map must have had to be worth shrinking.
const shrinkFrom = 64

// evictions is how many idle books a call lets go of at most, which is more
// than it can add.
const evictions = 2

// shard is one part of the map of channels.
type shard struct {
	mu struct {
		sync.RWMutex
		books map[string]*book
		// peak is how many books the map had room for.
		peak int
		// idle books are linked from the one used last to the one used first.
		newest, oldest *book
		idle           int
	}
	// claims is held while an id is claimed without a book.
	claims sync.Mutex
}

func (e *Engine) shard(name string) *shard {
	return &e.shards[maphash.String(e.seed, name)%shards]
}

// find returns the book of a channel, or nil.
func (s *shard) find(name string) *book {
	s.mu.RLock()
	b := s.mu.books[name]
	s.mu.RUnlock()
	return b
}

// open returns the book of a channel, filled and locked. A channel that is
// only kept for a subscriber has one where keep is set, otherwise nil may be
// returned.
func (e *Engine) open(name string, p *channel.Policy, keep bool) (*book, error) {
	s := e.shard(name)
	for {
		b := s.find(name)
		if b == nil {
			if err := admit(name, p); err != nil {
				return nil, err
			}
			if !keep && fleeting(p) {
				return nil, nil
			}
			fresh, err := e.create(s, name, p)
			if fresh != nil || err != nil {
				return fresh, err
			}
			continue
		}
		b.mu.Lock()
		if !b.mu.dead {
			if err := e.refill(b); err != nil {
				b.mu.Unlock()
				return nil, err
			}
			if !b.mu.provisional {
				return b, nil
			}
			if err := admit(name, p); err != nil {
				b.mu.Unlock()
				return nil, err
			}
			if e.adopt(b, p) {
				return b, nil
			}
			e.bury(b)
		}
		b.mu.Unlock()
		if err := e.running(); err != nil {
			return nil, err
		}
		s.remove(b)
	}
}

// adopt gives a book that the sweeper has opened the policy of its first
// caller. It reports false where that makes it another book.
func (e *Engine) adopt(b *book, p *channel.Policy) bool {
	if e.storeOf(p) == b.mu.store && p.Kind == b.mu.policy.Kind {
		b.mu.policy, b.mu.provisional = p, false
		b.raiseFloor()
		return true
	}
	// What is under way has to end first.
	return b.underWay() > 0 || b.mu.unflushed
}

// admit returns nil for a channel that the engine can keep.
func admit(name string, p *channel.Policy) error {
	if err := channel.CheckName(name); err != nil {
		return err
	}
	if p == nil {
		return errNoPolicy
	}
	return nil
}

var errNoPolicy = channel.ErrBadRequest.With("the request has no policy; the engine needs that of the namespace")

// create returns the book of a channel that seemed to have none, nil where
// somebody else was faster.
func (e *Engine) create(s *shard, name string, p *channel.Policy) (*book, error) {
	b := &book{name: name}
	b.mu.policy = p
	b.mu.store = e.storeOf(p)
	b.mu.Lock()
	if err := e.add(s, b); err != nil || b.mu.dead {
		b.mu.Unlock()
		return nil, err
	}
	if err := e.fill(b); err != nil {
		e.bury(b)
		b.mu.Unlock()
		return nil, e.failed(name, err)
	}
	return b, nil
}

// add puts a book in the map, unless there is one: then it is dead.
func (e *Engine) add(s *shard, b *book) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.books[b.name] != nil {
		b.mu.dead = true
		return nil
	}
	if n := e.channels.Add(1); e.options.MaxChannels > 0 && n > int64(e.options.MaxChannels) {
		e.channels.Add(-1)
		return channel.ErrLimitExceeded.With(tooMany("channels in memory", e.options.MaxChannels))
	}
	if s.mu.books == nil {
		s.mu.books = make(map[string]*book)
	}
	s.mu.books[b.name] = b
	s.mu.peak = max(s.mu.peak, len(s.mu.books))
	return nil
}

// leave ends a turn that used the book, and lets go of idle ones where there
// are too many.
func (e *Engine) leave(b *book) {
	b.mu.used = e.clock.now()
	idle := !b.mu.subscribed
	s := e.shard(b.name)
	s.mu.Lock()
	s.unlink(b)
	if idle && !b.mu.dead {
		s.link(b)
	}
	over := s.mu.idle > max(1, e.options.MaxIdle/shards)
	s.mu.Unlock()
	b.mu.Unlock()
	for n := 0; over && n < evictions; n++ {
		over = e.evict(s)
	}
}

// link makes b the newest of the idle. The shard is locked, as it is for
// unlink.
func (s *shard) link(b *book) {
	b.idle = true
	b.newer, b.older = nil, s.mu.newest
	if b.older != nil {
		b.older.newer = b
	} else {
		s.mu.oldest = b
	}
	s.mu.newest = b
	s.mu.idle++
}

func (s *shard) unlink(b *book) {
	if !b.idle {
		return
	}
	if b.newer != nil {
		b.newer.older = b.older
	} else {
		s.mu.newest = b.older
	}
	if b.older != nil {
		b.older.newer = b.newer
	} else {
		s.mu.oldest = b.newer
	}
	b.idle, b.newer, b.older = false, nil, nil
	s.mu.idle--
}

// evict lets go of the book that was idle for longest, if it can be, and
// reports whether there are still too many.
func (e *Engine) evict(s *shard) bool {
	s.mu.RLock()
	b := s.mu.oldest
	s.mu.RUnlock()
	if b == nil || !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	gone := !b.mu.dead && !b.mu.subscribed && b.underWay() == 0 && !b.mu.unflushed && (b.mu.blank || e.remembered(b))
	if gone {
		e.bury(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !gone && b.idle {
		s.unlink(b)
		s.link(b)
	}
	return s.mu.idle > max(1, e.options.MaxIdle/shards)
}

// bury marks a book as dead and takes it out of the map.
func (e *Engine) bury(b *book) {
	b.mu.dead = true
	e.shard(b.name).remove(b)
	e.channels.Add(-1)
}

// remove takes a dead book out of the map.
func (s *shard) remove(b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(b)
	if s.mu.books[b.name] != b {
		return
	}
	delete(s.mu.books, b.name)
	if s.mu.peak < shrinkFrom || len(s.mu.books) > s.mu.peak/8 {
		return
	}
	// A map does not shrink by itself, nor does a clone of it.
	smaller := make(map[string]*book, len(s.mu.books))
	maps.Copy(smaller, s.mu.books)
	s.mu.books, s.mu.peak = smaller, len(smaller)
}
