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
	ids     idMemory
	seasons seasons
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
// where nothing is kept of the channel; then vacant is where the channel is, or
// where what nobody hears is published.
type turn struct {
	s      *shard
	b      *book
	vacant channel.Position
	now    moment
}

// purpose is what a caller wants of a channel.
type purpose int

const (
	toLook purpose = iota
	toPublish
	toSubscribe
)

// open gives the caller a turn at the book of a channel, settled. One that is
// not there is made for those who will leave something in it only.
func (e *Engine) open(name string, p *channel.Policy, to purpose) (turn, error) {
	s := e.shard(name)
	for {
		b := s.find(name)
		if b == nil {
			if err := e.admit(name, p); err != nil {
				return turn{}, err
			}
			if to == toLook || to == toPublish && fleeting(p) && e.watches.Of(p.Namespace, p.Kind) == nil {
				if at, ok := e.vacant(s, name, p, to); ok {
					return turn{s: s, vacant: at, now: e.now()}, nil
				}
				continue
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

// vacant returns where a channel without a book is, unless it has one by now.
// A publication on it takes the season with it: who was there before has
// missed it.
func (e *Engine) vacant(s *shard, name string, p *channel.Policy, to purpose) (channel.Position, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.mu.books[name] != nil {
		return channel.Position{}, false
	}
	season := s.seasons.of(p)
	if to == toPublish {
		return channel.Position{Epoch: e.secret.epoch(name, p, season.Add(1)-1), Offset: 1}, true
	}
	return channel.Position{Epoch: e.secret.epoch(name, p, season.Load())}, true
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

// leave ends a turn that used the book, which goes where nobody needs it.
func (e *Engine) leave(t turn) {
	b := t.b
	b.mu.used = t.now.mono
	if !b.needless() {
		e.arm(t)
		b.mu.Unlock()
		return
	}
	e.end(t)
	name := b.name()
	b.mu.Unlock()
	t.s.bury(b, name)
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
	b := newBook(e.secret.title(name, p, s.seasons.of(p).Load()), p)
	if s.mu.books == nil {
		s.mu.books = make(map[string]*book)
	}
	s.mu.books[b.name()] = b
	s.mu.peak = max(s.mu.peak, len(s.mu.books))
	return b, nil
}
