package disk

import (
	"context"
	"errors"
	"time"

	"myelin/channel"
)

// sweepBatch is how much the sweeper looks at in one go.
const sweepBatch = 512

// retryAfter is how long the sweeper rests after a failure.
const retryAfter = int64(time.Second / time.Millisecond)

// sweeper is the goroutine that lets go of what has outlived its time: it
// ends entries when they are due, and every minute looks at channels and ids
// that may be.
type sweeper struct {
	nudge chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

func newSweeper() *sweeper {
	return &sweeper{nudge: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// hurry has the sweeper look at what is due.
func (s *sweeper) hurry() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

func (e *Engine) sweepLoop() {
	defer close(e.sweeper.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	seen := int64(0)
	for {
		select {
		case <-timer.C:
		case <-e.sweeper.nudge:
		case <-e.sweeper.stop:
			return
		}
		wait := retryAfter
		if e.begin(context.Background()) == nil {
			wait, seen = e.sweepAll(seen)
			e.end()
		}
		timer.Reset(time.Duration(wait) * time.Millisecond)
	}
}

// sweepAll lets go of what is due in both stores. seen is the last minute that
// was swept; it returns that of now, and how long there will be nothing due.
func (e *Engine) sweepAll(seen int64) (wait, minutes int64) {
	now := e.clock.now()
	pause := int64(1)
	for _, s := range []*store{e.memory, e.disk} {
		if err := e.sweep(s, now, now/minute > seen); err != nil {
			e.log.Warn("what has outlived its time could not be removed; it is tried again", "err", err)
			pause = retryAfter
		}
	}
	minutes = now / minute
	now = e.clock.now()
	if e.health.err() != nil {
		pause = retryAfter
	}
	next := min((now/minute+1)*minute, e.memory.due.Load(), e.disk.due.Load())
	return max(next-now, pause), minutes
}

// sweep lets go of what is due in a store; of what can wait where all is set.
func (e *Engine) sweep(s *store, now int64, all bool) error {
	if s.durable && !e.health.good() {
		return nil
	}
	err := e.endEntries(s, now)
	excess := int64(0)
	if over := s.ids.Load() - int64(e.options.MaxMemoryIDs); over > 0 {
		// A little more, or there would be one to forget with each that comes.
		excess = over + int64(e.options.MaxMemoryIDs/10)
	}
	if all || !s.durable && excess > 0 {
		err = errors.Join(err, e.forgetIDs(s, now, excess))
	}
	if all {
		err = errors.Join(err, e.visitAll(s, now))
		if s.durable {
			t := newTicket()
			t.batch = s.db.NewBatch()
			setHeader(t.batch, headerClock, uint64(now))
			err = errors.Join(err, e.enter(s, t))
		}
	}
	return err
}

// findDue finds out when the next entry ends.
func (s *store) findDue() error {
	prefix := []byte{keyEntryDue}
	i, err := s.iterate(prefix, after(prefix))
	if err != nil {
		return err
	}
	if i.First() {
		if due, _, ok := splitDue(i.Key()); ok {
			s.earlier(int64(due))
		}
	}
	return errors.Join(i.Error(), i.Close())
}

// settleEntries ends the entries that are due, before somebody looks.
func (e *Engine) settleEntries(p *channel.Policy) error {
	if p == nil || p.Kind != channel.KindState {
		return nil
	}
	s, now := e.storeOf(p), e.clock.now()
	if s.due.Load() > now || s.durable && !e.health.good() {
		return nil
	}
	if err := e.endEntries(s, now); err != nil {
		return e.failed("", err)
	}
	return nil
}

// ending is an entry that is due.
type ending struct {
	due     int64
	id      uint64
	key     string
	channel string
}

// endEntries ends all entries that are due and waits until that can be seen.
func (e *Engine) endEntries(s *store, now int64) error {
	if s.due.Load() > now {
		return nil
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	for s.due.Load() <= now {
		// Whatever is written from here on tells by itself.
		s.due.Store(never)
		endings, err := s.endings(now)
		if err != nil {
			s.earlier(now)
			return err
		}
		var tickets []*ticket
		for _, n := range endings {
			t, err := e.endEntry(s, n)
			if err != nil {
				s.earlier(now)
				return err
			}
			if t != nil {
				tickets = append(tickets, t)
			}
		}
		for _, t := range tickets {
			if err := e.wait(t); err != nil {
				s.earlier(now)
				return err
			}
		}
		if err := s.findDue(); err != nil {
			return err
		}
	}
	return nil
}

// endings returns what is due by now.
func (s *store) endings(now int64) ([]ending, error) {
	i, err := s.iterate([]byte{keyEntryDue}, numbered(keyEntryDue, uint64(now)+1))
	if err != nil {
		return nil, err
	}
	var all []ending
	for i.First(); i.Valid() && len(all) < sweepBatch; i.Next() {
		due, rest, ok := splitDue(i.Key())
		id, key, ok2 := splitNumber(rest)
		name, err := i.ValueAndErr()
		if err == nil && (!ok || !ok2) {
			err = errDamaged
		}
		if err != nil {
			return nil, errors.Join(err, i.Close())
		}
		all = append(all, ending{due: int64(due), id: id, key: string(key), channel: string(name)})
	}
	return all, errors.Join(i.Error(), i.Close())
}

// endEntry ends one entry, if it is still what was due.
func (e *Engine) endEntry(s *store, n ending) (*ticket, error) {
	b, err := e.openKept(s, n.channel)
	if err != nil {
		return nil, err
	}
	if b != nil {
		defer e.rest(b)
	}
	t := newTicket()
	t.batch = s.db.NewBatch()
	due := entryDueKey(n.due, n.id, n.key)
	if b == nil || b.mu.store != s || b.mu.meta.id != n.id {
		del(t.batch, due)
		return t, e.enter(s, t)
	}
	old, err := b.find(n.key)
	if err != nil {
		return nil, err
	}
	if old.expires != n.due {
		del(t.batch, due)
		t.book = b
		return t, e.send(b, t)
	}
	now := e.clock.now()
	if err := e.prepare(b, t.batch, now); err != nil {
		return nil, err
	}
	r := &channel.PublishRequest{Op: channel.OpExpire, Key: n.key}
	t.pub, t.key, t.book = b.next(r), n.key, b
	t.top = t.pub.Offset
	e.keep(b, t, r, old, now)
	if err := e.trim(b, t.batch); err != nil {
		return nil, err
	}
	t.fsync = e.wantsSync(b, t.batch, now)
	return t, e.send(b, t)
}

// openKept opens the book of a channel that is kept, by the policy that was
// written down where nobody has called it yet; nil where there is none.
func (e *Engine) openKept(s *store, name string) (*book, error) {
	for {
		if b := e.shard(name).find(name); b != nil {
			b.mu.Lock()
			if !b.mu.dead {
				if err := e.refill(b); err != nil {
					b.mu.Unlock()
					return nil, err
				}
				return b, nil
			}
			b.mu.Unlock()
			e.shard(name).remove(b)
			continue
		}
		record, err := s.get(metaKey(name))
		if err != nil || record == nil {
			return nil, err
		}
		m, err := parseMeta(record)
		if err != nil {
			return nil, err
		}
		b, err := e.create(e.shard(name), name, m.policy())
		if err != nil {
			return nil, err
		}
		if b != nil {
			b.mu.provisional = true
			return b, nil
		}
	}
}

// rest is leave for the sweeper, whose looking is no use of the channel.
func (e *Engine) rest(b *book) {
	used := b.mu.used
	defer func() {
		b.mu.Lock()
		b.mu.used = min(b.mu.used, max(used, b.mu.meta.used))
		b.mu.Unlock()
	}()
	e.leave(b)
}

// visitAll looks at all channels whose visit is due.
func (e *Engine) visitAll(s *store, now int64) error {
	from := []byte{keyVisit}
	for {
		i, err := s.iterate(from, numbered(keyVisit, uint64(now/minute)+1))
		if err != nil {
			return err
		}
		type visit struct {
			key  []byte
			name string
		}
		var visits []visit
		for i.First(); i.Valid() && len(visits) < sweepBatch; i.Next() {
			name, err := i.ValueAndErr()
			if err != nil {
				return errors.Join(err, i.Close())
			}
			visits = append(visits, visit{append([]byte{}, i.Key()...), string(name)})
		}
		if err := errors.Join(i.Error(), i.Close()); err != nil {
			return err
		}
		for _, v := range visits {
			if err := e.visit(s, v.key, v.name, now); err != nil {
				return err
			}
		}
		if len(visits) < sweepBatch {
			return nil
		}
		from = append(visits[len(visits)-1].key, 0)
	}
}

// visit trims a channel, forgets it where its time is over, and makes sure of
// the next visit.
func (e *Engine) visit(s *store, key []byte, name string, now int64) error {
	bucket, rest, _ := splitDue(key)
	id, _, _ := splitNumber(rest)
	b, err := e.openKept(s, name)
	if err != nil {
		return err
	}
	if b != nil {
		defer e.rest(b)
	}
	t := newTicket()
	if b == nil || b.mu.store != s || b.mu.meta.id != id || uint64(b.mu.meta.visit) != bucket {
		t.batch = s.db.NewBatch()
		del(t.batch, key)
		return e.enter(s, t)
	}
	if err := e.expire(b, now); err != nil {
		return err
	}
	// A use that was not written down was before the start of the engine.
	used := max(b.mu.used, b.mu.meta.used, e.clock.base)
	if !b.mu.subscribed && b.mu.floor >= b.mu.top && b.mu.entries == 0 && b.underWay() == 0 && !b.mu.unflushed &&
		now >= later(used, metaTTL(b.mu.policy)) {
		return e.retire(b)
	}
	t.book, t.batch = b, s.db.NewBatch()
	del(t.batch, key)
	b.mu.meta.visit = 0
	if err := e.cut(b, t.batch, false); err != nil {
		return err
	}
	e.write(b, t.batch, now, false)
	return e.send(b, t)
}

// retire forgets a channel and makes its book that of one never heard of.
func (e *Engine) retire(b *book) error {
	t := newTicket()
	t.book = b
	if err := e.forgetLater(b.mu.store, b.name, b.mu.meta, t); err != nil {
		return err
	}
	if b.mu.store.durable {
		b.depart(t)
	}
	b.mu.meta = meta{removals: b.mu.meta.removals}
	b.mu.epoch = b.mu.store.unborn(b.name)
	b.mu.top, b.mu.done, b.mu.floor, b.mu.first, b.mu.bytes, b.mu.entries = 0, 0, 0, 0, 0, 0
	return nil
}
