package disk

import (
	"errors"
	"sync"

	"myelin/channel"
)

// book is what is in memory of one channel. Those with a subscriber always
// are; of the others the ones used last.
type book struct {
	name string
	mu   struct {
		sync.Mutex
		policy *channel.Policy
		// store is where the channel is kept, nil where nothing of it is.
		store *store
		// meta is the channel's record. Its id is 0 until there is one.
		meta  meta
		epoch string
		// top is the offset of the last publication; that of the last one
		// that is as safe as the policy wants is done.
		top, done uint64
		// floor is the offset up to which nothing is kept any more, be it
		// still on disk: meta.floor tells that.
		floor uint64
		// first is since when the publication after floor is kept; 0 where
		// that has to be looked up.
		first int64
		// bytes is how much the publications after meta.floor take, counted
		// where there is a limit.
		bytes   int64
		entries uint64
		// used is when the channel was last used.
		used int64
		// flight is what is under way, nil for nothing.
		flight *flight
		// behind is how many tickets of the book wait for an fsync.
		behind     int
		subscribed bool
		// unflushed: there is a mark on disk that what was acknowledged may
		// be lost. asyncAt is when an async publication was last made.
		unflushed bool
		asyncAt   int64
		// provisional: the policy is the one that was written down, and gives
		// way to that of the first caller.
		provisional bool
		// blank: nothing of the channel was read yet, which its next use does.
		blank bool
		// dead books are out of the map, or about to be.
		dead bool
	}
	// newer and older link the books without subscribers, under the shard's
	// lock; idle says that this one is among them.
	newer, older *book
	idle         bool
}

// flight is what is under way of one book: how many tickets, and those with
// an id or a key. There are no more than the gate lets through.
type flight struct {
	n    int
	ids  map[string]*ticket
	keys map[string]*ticket
	// wipe is the last ticket that removes all entries: a key that is not
	// among keys is gone.
	wipe *ticket
}

// What follows wants the lock of the book held.

func (b *book) position() channel.Position {
	return channel.Position{Epoch: b.mu.epoch, Offset: b.mu.done}
}

func (b *book) underWay() int {
	if b.mu.flight == nil {
		return 0
	}
	return b.mu.flight.n
}

// depart notes that a ticket is under way.
func (b *book) depart(t *ticket) {
	f := b.mu.flight
	if f == nil {
		f = &flight{}
		b.mu.flight = f
	}
	f.n++
	if t.id != "" {
		if f.ids == nil {
			f.ids = make(map[string]*ticket)
		}
		f.ids[t.id] = t
	}
	if t.key != "" {
		if f.keys == nil {
			f.keys = make(map[string]*ticket)
		}
		f.keys[t.key] = t
	}
}

// arrive notes that a ticket is done.
func (b *book) arrive(t *ticket) {
	f := b.mu.flight
	f.n--
	if f.ids[t.id] == t {
		delete(f.ids, t.id)
	}
	if f.keys[t.key] == t {
		delete(f.keys, t.key)
	}
	if f.wipe == t {
		f.wipe = nil
	}
	if f.n == 0 {
		b.mu.flight = nil
	}
}

// fleeting reports whether channels of a policy are kept for a subscriber
// only.
func fleeting(p *channel.Policy) bool {
	return p.Kind == channel.KindLog && !p.Recoverable()
}

// storeOf returns where channels of a policy are kept, nil for nowhere.
func (e *Engine) storeOf(p *channel.Policy) *store {
	switch {
	case fleeting(p):
		return nil
	case p.Durability == channel.DurabilityMemory:
		return e.memory
	default:
		return e.disk
	}
}

// fill reads what is kept of a channel into its book.
func (e *Engine) fill(b *book) error {
	s := b.mu.store
	if s != e.disk {
		if err := e.leaveDisk(b.name); err != nil {
			return err
		}
	}
	if s == nil {
		b.mu.epoch = newEpoch()
		return nil
	}
	record, err := s.get(metaKey(b.name))
	if err != nil {
		return err
	}
	if record == nil {
		b.mu.epoch = s.unborn(b.name)
		return nil
	}
	m, err := parseMeta(record)
	if err != nil {
		return err
	}
	if m.kind != b.mu.policy.Kind {
		// Another kind is another channel.
		if err := e.forget(s, b.name, m); err != nil {
			return err
		}
		b.mu.epoch = s.unborn(b.name)
		return nil
	}
	b.mu.meta = m
	b.mu.epoch = s.reborn(m)
	b.mu.used = m.used
	if err := e.fillTop(b); err != nil {
		return err
	}
	b.mu.done = b.mu.top
	b.mu.floor = m.floor
	b.raiseFloor()
	return e.weigh(b)
}

// fillTop finds out the top.
func (e *Engine) fillTop(b *book) error {
	s, m := b.mu.store, &b.mu.meta
	if m.kind == channel.KindState {
		record, err := s.get(tallyKey(m.id))
		if err != nil {
			return err
		}
		t, err := parseTally(record)
		if err != nil {
			return err
		}
		b.mu.top, b.mu.entries = t.top, t.entries
		return nil
	}
	b.mu.top = m.top
	last, err := s.iterate(pubKey(m.id, m.top), pubKey(m.id, never64))
	if err != nil {
		return err
	}
	if last.Last() {
		_, rest, _ := splitDue(last.Key())
		b.mu.top, _, _ = splitNumber(rest)
		value, err := last.ValueAndErr()
		if err == nil {
			var since int64
			since, err = sinceOf(value)
			b.mu.used = max(b.mu.used, since)
		}
		if err != nil {
			return errors.Join(err, last.Close())
		}
	}
	return last.Close()
}

const never64 = ^uint64(0)

// raiseFloor lets go of what is beyond the size of the history.
func (b *book) raiseFloor() {
	size := uint64(max(0, b.mu.policy.HistorySize))
	if b.mu.done > size && b.mu.floor < b.mu.done-size {
		b.mu.floor = b.mu.done - size
		b.mu.first = 0
	}
}

// weigh counts the bytes of what is kept, where there is a limit.
func (e *Engine) weigh(b *book) error {
	if e.options.MaxHistoryBytes == 0 || b.mu.top == b.mu.meta.floor {
		return nil
	}
	i, err := b.mu.store.iterate(pubKey(b.mu.meta.id, b.mu.meta.floor), pubKey(b.mu.meta.id, never64))
	if err != nil {
		return err
	}
	for i.First(); i.Valid(); i.Next() {
		value := i.LazyValue()
		b.mu.bytes += int64(value.Len())
	}
	return errors.Join(i.Error(), i.Close())
}

// leaveDisk forgets what is on disk of a channel that is not kept there any
// more, so that its old epoch cannot go on over what it missed.
func (e *Engine) leaveDisk(name string) error {
	record, err := e.disk.get(metaKey(name))
	if err != nil || record == nil {
		return err
	}
	m, err := parseMeta(record)
	if err != nil {
		return err
	}
	return e.forget(e.disk, name, m)
}

// forget removes all of a channel and waits until that is done. Nothing else
// of the channel may be under way.
func (e *Engine) forget(s *store, name string, m meta) error {
	t := newTicket()
	if err := e.forgetLater(s, name, m, t); err != nil {
		return err
	}
	return e.wait(t)
}

// forgetLater has a ticket remove all of a channel. The season goes up in the
// order of the log, so that nobody derives an old epoch after it.
func (e *Engine) forgetLater(s *store, name string, m meta, t *ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.batch = s.db.NewBatch()
	setHeader(t.batch, headerSeason, s.season.Load()+1)
	del(t.batch, metaKey(name))
	del(t.batch, unflushedKey(name))
	del(t.batch, tallyKey(m.id))
	del(t.batch, visitKey(m.visit, m.id))
	for _, first := range []byte{keyPub, keyEntry} {
		prefix := numbered(first, m.id)
		delRange(t.batch, prefix, after(prefix))
	}
	if err := e.enter(s, t); err != nil {
		return err
	}
	s.season.Add(1)
	return nil
}

// wait waits for a ticket of the engine's own, unless the disk is ill.
func (e *Engine) wait(t *ticket) error {
	ill := e.health.ill()
	select {
	case <-t.done:
		return t.err
	case <-ill:
	}
	select {
	case <-t.done:
		return t.err
	default:
		return e.health.unknown()
	}
}
