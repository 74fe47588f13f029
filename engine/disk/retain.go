package disk

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

const (
	// slack is how many publications beyond the history's size are on disk
	// before they are trimmed, at least.
	slack = 16
	// rangeFrom is how many publications are better removed as a range.
	rangeFrom = 32
	// linger is how long an async channel counts as busy after a publication.
	linger = int64(time.Second / time.Millisecond)
)

// prepare makes sure that a channel has a record and room for an offset
// before something of it is written.
func (e *Engine) prepare(b *book, batch *pebble.Batch, now int64) error {
	if b.mu.top >= channel.MaxOffset {
		if b.underWay() > 0 {
			return channel.ErrUnavailable.With("the channel is about to start a new epoch; try again")
		}
		e.renew(b, batch)
	}
	if b.mu.meta.id != 0 {
		ttl := b.mu.policy.HistoryTTL
		unseen := ttl > 0 && minuteAfter(later(now, ttl)) < b.mu.meta.visit
		if unseen || b.mu.meta.terms != termsOf(b.mu.policy) || b.mu.meta.epoch != b.mu.epoch {
			e.write(b, batch, now, true)
		}
		return nil
	}
	id, err := e.newID(b.mu.store)
	if err != nil {
		return err
	}
	b.mu.meta = meta{id: id, kind: b.mu.policy.Kind, removals: b.mu.meta.removals}
	e.write(b, batch, now, true)
	return nil
}

// newID returns an id that no channel ever had. Ids are reserved in blocks,
// whose record enters the log before any that depends on it.
func (e *Engine) newID(s *store) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.nextID >= s.mu.limitID {
		t := newTicket()
		t.batch = s.db.NewBatch()
		setHeader(t.batch, headerNextID, s.mu.limitID+idBlock)
		if err := e.enter(s, t); err != nil {
			return 0, err
		}
		s.mu.limitID += idBlock
	}
	s.mu.nextID++
	return s.mu.nextID - 1, nil
}

// renew starts a new epoch. What was kept goes, the entries stay with the
// positions they have.
func (e *Engine) renew(b *book, batch *pebble.Batch) {
	if id := b.mu.meta.id; id != 0 {
		prefix := numbered(keyPub, id)
		delRange(batch, prefix, after(prefix))
	}
	b.mu.epoch = newEpoch()
	b.mu.top, b.mu.done, b.mu.floor, b.mu.first, b.mu.bytes = 0, 0, 0, 0, 0
	b.mu.meta.floor = 0
	if b.mu.subscribed {
		e.sink.Lost(b.name)
	}
}

// write has a batch write the record of a channel, and makes sure that it is
// visited in time. more says that a publication follows.
func (e *Engine) write(b *book, batch *pebble.Batch, now int64, more bool) {
	m := &b.mu.meta
	m.epoch, m.rebirth = b.mu.epoch, b.mu.store.rebirth
	m.top = b.mu.top
	m.terms = termsOf(b.mu.policy)
	m.used = max(m.used, b.mu.used)
	if more {
		m.used = max(m.used, now)
	}
	if visit := minuteAfter(b.due(now, more)); m.visit == 0 || visit < m.visit {
		if m.visit != 0 {
			del(batch, visitKey(m.visit, m.id))
		}
		m.visit = visit
		set(batch, visitKey(visit, m.id), []byte(b.name))
	}
	set(batch, metaKey(b.name), m.encode())
}

// due returns when something of the channel may have outlived its time.
func (b *book) due(now int64, more bool) int64 {
	due := later(max(b.mu.used, b.mu.meta.used), rememberFor(b.mu.policy))
	if due <= now {
		due = later(now, metaTTL(b.mu.policy))
	}
	if ttl := b.mu.policy.HistoryTTL; ttl > 0 && (more || b.mu.floor < b.mu.top) {
		first := b.mu.first
		if first == 0 {
			first = now
		}
		due = min(due, later(first, ttl))
	}
	return min(due, never-minute)
}

// rememberFor is how long a position is remembered: an eighth longer than the
// policy says, so that not every use needs to be written down.
func rememberFor(p *channel.Policy) time.Duration {
	ttl := metaTTL(p)
	if longer := ttl + ttl/8; longer > ttl {
		return longer
	}
	return ttl
}

func metaTTL(p *channel.Policy) time.Duration {
	if p.MetaTTL > 0 {
		return p.MetaTTL
	}
	return channel.DefaultMetaTTL
}

func dedupeWindow(p *channel.Policy) time.Duration {
	if p.DedupeWindow > 0 {
		return p.DedupeWindow
	}
	return channel.DefaultDedupeWindow
}

// remembered reports whether all that is known of an idle book is on disk. If
// not, it is on its way there.
func (e *Engine) remembered(b *book) bool {
	s := b.mu.store
	if s == nil {
		return true
	}
	if b.mu.meta.id == 0 {
		if b.mu.epoch == s.unborn(b.name) {
			return true
		}
	} else if b.mu.used-b.mu.meta.used < int64(metaTTL(b.mu.policy)/8/time.Millisecond) {
		return true
	}
	t := newTicket()
	t.book, t.batch = b, s.db.NewBatch()
	if e.prepare(b, t.batch, b.mu.used) != nil {
		return false
	}
	e.write(b, t.batch, b.mu.used, false)
	return e.send(b, t) == nil && !s.durable
}

// trim has a batch remove what is no longer kept, if that is enough to be
// worth it.
func (e *Engine) trim(b *book, batch *pebble.Batch) error {
	if limit := e.options.MaxHistoryBytes; limit > 0 && b.mu.bytes > limit+limit/4 {
		if err := b.shed(limit); err != nil {
			return err
		}
	}
	size := uint64(max(0, b.mu.policy.HistorySize))
	if b.mu.floor < b.mu.meta.floor+max(size/4, slack) {
		return nil
	}
	return e.cut(b, batch, true)
}

// cut has a batch remove all that is no longer kept. more is as for write.
func (e *Engine) cut(b *book, batch *pebble.Batch, more bool) error {
	m := &b.mu.meta
	if b.mu.floor <= m.floor {
		return nil
	}
	if e.options.MaxHistoryBytes > 0 {
		if err := b.unweigh(); err != nil {
			return err
		}
	}
	if b.mu.floor-m.floor < rangeFrom {
		for offset := m.floor + 1; offset <= b.mu.floor; offset++ {
			del(batch, pubKey(m.id, offset))
		}
	} else {
		delRange(batch, pubKey(m.id, m.floor+1), pubKey(m.id, b.mu.floor+1))
	}
	m.floor = b.mu.floor
	e.write(b, batch, e.clock.now(), more)
	return nil
}

// shed raises the floor until what is kept has no more bytes than a limit. At
// least one publication stays.
func (b *book) shed(limit int64) error {
	i, err := b.mu.store.iterate(pubKey(b.mu.meta.id, b.mu.meta.floor+1), pubKey(b.mu.meta.id, b.mu.done))
	if err != nil {
		return err
	}
	bytes := b.mu.bytes
	offset := b.mu.meta.floor
	for i.First(); i.Valid() && bytes > limit; i.Next() {
		value := i.LazyValue()
		bytes -= int64(value.Len())
		offset++
	}
	if offset > b.mu.floor {
		b.mu.floor, b.mu.first = offset, 0
	}
	return errors.Join(i.Error(), i.Close())
}

// unweigh takes what is about to be removed out of the bytes counted.
func (b *book) unweigh() error {
	i, err := b.mu.store.iterate(pubKey(b.mu.meta.id, b.mu.meta.floor+1), pubKey(b.mu.meta.id, b.mu.floor+1))
	if err != nil {
		return err
	}
	for i.First(); i.Valid(); i.Next() {
		value := i.LazyValue()
		b.mu.bytes -= int64(value.Len())
	}
	return errors.Join(i.Error(), i.Close())
}

// expire raises the floor over what is too old.
func (e *Engine) expire(b *book, now int64) error {
	ttl := b.mu.policy.HistoryTTL
	if ttl <= 0 || b.mu.store == nil || b.mu.floor >= b.mu.done {
		return nil
	}
	if b.mu.first != 0 && now < later(b.mu.first, ttl) {
		return nil
	}
	i, err := b.mu.store.iterate(pubKey(b.mu.meta.id, b.mu.floor+1), pubKey(b.mu.meta.id, b.mu.done+1))
	if err != nil {
		return err
	}
	for i.First(); i.Valid(); i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return errors.Join(err, i.Close())
		}
		since, err := sinceOf(value)
		if err != nil {
			return errors.Join(err, i.Close())
		}
		if now < later(since, ttl) {
			b.mu.first = since
			break
		}
		b.mu.floor++
		b.mu.first = 0
	}
	return errors.Join(i.Error(), i.Close())
}
