package disk

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

// Publish orders one publication, keeps what the policy says, hands it to the
// Sink and returns when it is as safe as the policy wants. ctx that is over
// while the disk is at work gives ErrUnknownOutcome.
func (e *Engine) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if err := e.begin(ctx); err != nil {
		return channel.Ack{}, err
	}
	defer e.end()
	if err := r.Check(r.Policy); err != nil {
		return channel.Ack{}, err
	}
	if err := admit(r.Channel, r.Policy); err != nil {
		return channel.Ack{}, err
	}
	bytes := int64(-1)
	if s := e.storeOf(r.Policy); s == e.disk {
		var err error
		if bytes, err = e.passGate(ctx, r); err != nil {
			return channel.Ack{}, err
		}
	}
	t, ack, err := e.order(r, bytes)
	if err != nil || t == nil || ack.Duplicate {
		// Nothing of this call is under way.
		e.leaveGate(bytes)
	}
	if err != nil && t != nil {
		return channel.Ack{}, e.certain(ctx, t, err)
	}
	if err != nil || t == nil {
		return ack, err
	}
	if err := e.await(ctx, t); err != nil {
		return channel.Ack{}, err
	}
	return channel.Ack{Position: t.pub.Position, Duplicate: ack.Duplicate}, nil
}

// certain returns a conflict when what it is with is as safe as the policy
// wants: until then it may come to nothing, and the offset to another one.
func (e *Engine) certain(ctx context.Context, t *ticket, conflict error) error {
	if err := e.await(ctx, t); err != nil {
		return channel.ErrUnavailable.With("what the entry holds is not certain, nothing was done; try again").Wrap(err)
	}
	return conflict
}

// passGate waits for a place among those under way to the disk.
func (e *Engine) passGate(ctx context.Context, r *channel.PublishRequest) (int64, error) {
	ill := e.health.ill()
	if err := e.health.err(); err != nil {
		return -1, err
	}
	bytes := int64(len(r.Data) + ticketOverhead)
	if e.gate.enter(ctx, ill, bytes) {
		return bytes, nil
	}
	if err := e.health.err(); err != nil {
		return -1, err
	}
	return -1, channel.ErrUnavailable.With("the request was given up before the disk had time for it").Wrap(ctx.Err())
}

func (e *Engine) leaveGate(bytes int64) {
	if bytes >= 0 {
		e.gate.leave(bytes)
	}
}

// ticketOverhead is what a publication under way takes beside its data, about.
const ticketOverhead = 512

func newTicket() *ticket { return &ticket{bytes: -1, done: make(chan struct{})} }

// order gives a publication its place. It returns the ticket to wait for, nil
// where there is nothing to wait for. A conflict with what is under way comes
// with the ticket of that.
func (e *Engine) order(r *channel.PublishRequest, bytes int64) (*ticket, channel.Ack, error) {
	if err := e.settleEntries(r.Policy); err != nil {
		return nil, channel.Ack{}, err
	}
	b, err := e.open(r.Channel, r.Policy, e.watches.Of(r.Policy.Namespace, r.Policy.Kind) != nil)
	if err != nil {
		return nil, channel.Ack{}, err
	}
	if b == nil {
		ack, err := e.publishUnheard(r)
		return nil, ack, err
	}
	defer e.leavePublished(b)
	if b.mu.store == nil && r.ID != "" {
		s := e.shard(b.name)
		s.claims.Lock()
		defer s.claims.Unlock()
	}
	if r.Policy != b.mu.policy {
		if err := r.Check(b.mu.policy); err != nil {
			return nil, channel.Ack{}, err
		}
	}
	if t, ack, err := e.known(b, r.ID); t != nil || ack.Duplicate || err != nil {
		return t, ack, err
	}
	old, err := b.find(r.Key)
	if err != nil {
		return nil, channel.Ack{}, e.failed(b.name, err)
	}
	if err := e.checkEntry(b, r, old); err != nil {
		return b.holder(r.Key), channel.Ack{}, err
	}
	t := newTicket()
	t.bytes, t.id, t.key = bytes, r.ID, r.Key
	err = e.publish(b, t, r, old)
	return t, channel.Ack{}, err
}

// leavePublished is leave, but that nothing stays of a channel of which nothing
// is kept and to which nobody subscribes.
func (e *Engine) leavePublished(b *book) {
	if b.mu.store == nil && !b.mu.subscribed && !b.mu.dead {
		e.bury(b)
		b.mu.Unlock()
		return
	}
	e.leave(b)
}

// publishUnheard publishes on an ephemeral channel without a subscriber, of
// which nothing is kept but the id.
func (e *Engine) publishUnheard(r *channel.PublishRequest) (channel.Ack, error) {
	ack := channel.Ack{Position: channel.Position{Epoch: newEpoch(), Offset: 1}}
	if r.ID == "" {
		return ack, nil
	}
	s := e.shard(r.Channel)
	s.claims.Lock()
	defer s.claims.Unlock()
	now := e.clock.now()
	if at, ok, err := e.memory.findID(r.Channel, r.ID, now); ok || err != nil {
		return channel.Ack{Position: at, Duplicate: true}, err
	}
	batch := e.memory.db.NewBatch()
	e.setID(e.memory, batch, r.Channel, r.ID, idRecord{ack.Position, later(now, dedupeWindow(r.Policy))})
	if err := e.memory.db.Apply(batch, pebble.NoSync); err != nil {
		return channel.Ack{}, channel.ErrInternal.Wrap(err)
	}
	return ack, batch.Close()
}

// find returns where the entry of a key stands, zero where there is none.
func (b *book) find(key string) (stake, error) {
	if key == "" {
		return stake{}, nil
	}
	if f := b.mu.flight; f != nil {
		if t := f.keys[key]; t != nil {
			return t.stake, nil
		}
		if f.wipe != nil {
			return stake{}, nil
		}
	}
	if b.mu.entries == 0 || b.mu.meta.id == 0 {
		return stake{}, nil
	}
	record, err := b.mu.store.get(entryKey(b.mu.meta.id, key))
	if err != nil || record == nil {
		return stake{}, err
	}
	s, _, err := parseStake(record)
	return s, err
}

// holder returns the ticket of what find found, nil where that is done.
func (b *book) holder(key string) *ticket {
	f := b.mu.flight
	switch {
	case f == nil:
		return nil
	case f.keys[key] != nil:
		return f.keys[key]
	}
	return f.wipe
}

// checkEntry returns nil where the entry of the request's key is as the
// publisher expects and there is room for a new one.
func (e *Engine) checkEntry(b *book, r *channel.PublishRequest, old stake) error {
	if r.Expect != nil && *r.Expect != old.offset {
		return conflict(r.Key, *r.Expect, old.offset)
	}
	most := b.mu.policy.MostKeys(e.options.MaxEntries)
	if r.Op == channel.OpPut && old.offset == 0 && b.mu.entries >= uint64(most) {
		return channel.ErrLimitExceeded.With(tooMany("entries in a channel", most))
	}
	return nil
}

// publish makes the publication that comes next and sends it on its way.
func (e *Engine) publish(b *book, t *ticket, r *channel.PublishRequest, old stake) error {
	now := e.clock.now()
	if b.mu.store == nil {
		return e.publishFleeting(b, t, r, now)
	}
	batch := b.mu.store.db.NewBatchWithSize(len(r.Data) + ticketOverhead)
	if err := e.prepare(b, batch, now); err != nil {
		return err
	}
	t.pub = b.next(r)
	t.book, t.batch, t.top = b, batch, t.pub.Offset
	e.keep(b, t, r, old, now)
	if r.ID != "" {
		e.setID(b.mu.store, batch, b.name, r.ID, idRecord{t.pub.Position, later(now, dedupeWindow(b.mu.policy))})
	}
	if err := e.trim(b, batch); err != nil {
		return e.failed(b.name, err)
	}
	t.fsync = e.wantsSync(b, batch, now)
	return e.send(b, t)
}

// publishFleeting publishes on a channel of which nothing is kept.
func (e *Engine) publishFleeting(b *book, t *ticket, r *channel.PublishRequest, now int64) error {
	if b.mu.top >= channel.MaxOffset {
		e.renew(b, nil)
	}
	t.pub = b.next(r)
	if r.ID != "" {
		batch := e.memory.db.NewBatch()
		e.setID(e.memory, batch, b.name, r.ID, idRecord{t.pub.Position, later(now, dedupeWindow(b.mu.policy))})
		if err := e.memory.db.Apply(batch, pebble.NoSync); err != nil {
			return channel.ErrInternal.Wrap(err)
		}
		_ = batch.Close()
	}
	b.mu.top, b.mu.done, b.mu.floor = t.pub.Offset, t.pub.Offset, t.pub.Offset
	e.deliver(b, t.pub)
	e.leaveGate(t.bytes)
	close(t.done)
	return nil
}

// next returns the publication that comes after the top.
func (b *book) next(r *channel.PublishRequest) *channel.Publication {
	return &channel.Publication{
		Channel: b.name, Position: channel.Position{Epoch: b.mu.epoch, Offset: b.mu.top + 1}, Prev: b.mu.top,
		Op: r.Op, Key: r.Key, Data: r.Data, ContentType: r.ContentType, Tags: r.Tags, Info: r.Info,
		Time: time.Now().UnixMilli(), Expires: r.Expires, Score: r.Score, Base: r.Base,
	}
}

// keep has the batch of a ticket write what the policy keeps of its
// publication.
func (e *Engine) keep(b *book, t *ticket, r *channel.PublishRequest, old stake, now int64) {
	p, id := t.pub, b.mu.meta.id
	if b.mu.policy.HistorySize > 0 {
		record := appendPub(make([]byte, 0, len(p.Data)+64), p, now)
		set(t.batch, pubKey(id, p.Offset), record)
		b.mu.bytes += int64(len(record))
	}
	if p.Op == channel.OpAppend {
		return
	}
	if old.expires != 0 {
		del(t.batch, entryDueKey(old.expires, id, p.Key))
	}
	if p.Op == channel.OpPut {
		ttl := r.TTL
		if ttl == 0 {
			ttl = b.mu.policy.KeyTTL
		}
		t.stake = stake{offset: p.Offset}
		if ttl > 0 {
			t.stake.expires = later(now, ttl)
			set(t.batch, entryDueKey(t.stake.expires, id, p.Key), []byte(b.name))
		}
		set(t.batch, entryKey(id, p.Key), appendEntry(nil, t.stake, p, now))
		if old.offset == 0 {
			b.mu.entries++
		}
	} else if old.offset != 0 {
		del(t.batch, entryKey(id, p.Key))
		b.mu.entries--
	}
	set(t.batch, tallyKey(id), tally{p.Offset, b.mu.entries}.encode())
}

// send has a ticket of a book written and makes its publication the top.
func (e *Engine) send(b *book, t *ticket) error {
	if err := e.enter(b.mu.store, t); err != nil {
		return err
	}
	if t.pub != nil {
		b.mu.top = t.top
	}
	if b.mu.store.durable {
		b.depart(t)
		return nil
	}
	e.finish(b, t)
	e.leaveGate(t.bytes)
	return nil
}

// enter has a ticket written: at once in memory, in its turn on disk.
func (e *Engine) enter(s *store, t *ticket) error {
	if s.durable {
		if !e.ledger.enter(t) {
			return channel.ErrUnavailable.With("it is closed")
		}
		return nil
	}
	if err := s.db.Apply(t.batch, pebble.NoSync); err != nil {
		return channel.ErrInternal.Wrap(err)
	}
	_ = t.batch.Close()
	t.batch = nil
	close(t.done)
	return nil
}

// tell notes that a ticket is done and tells who waits.
func (e *Engine) tell(t *ticket) {
	if b := t.book; b != nil {
		b.mu.Lock()
		// In one step: who sees that nobody is behind goes ahead.
		if t.queued {
			b.mu.behind--
		}
		b.arrive(t)
		e.finish(b, t)
		b.mu.Unlock()
	}
	e.leaveGate(t.bytes)
	if t.iter != nil && !t.taken.CompareAndSwap(false, true) {
		_ = t.iter.Close()
	}
	close(t.done)
}

// finish makes a ticket's publication one that can be read, and delivers it.
func (e *Engine) finish(b *book, t *ticket) {
	if t.err != nil || t.pub == nil {
		return
	}
	b.mu.done = t.top
	b.raiseFloor()
	e.deliver(b, t.pub)
	if t.stake.expires != 0 && b.mu.store.earlier(t.stake.expires) {
		e.sweeper.hurry()
	}
}

// deliver hands a publication to those who want it.
func (e *Engine) deliver(b *book, p *channel.Publication) {
	if b.mu.subscribed {
		e.sink.Deliver(p)
	}
	namespace := b.mu.policy.Namespace
	if b.mu.provisional {
		// What is kept of a channel does not say whose policy it was.
		namespace = channel.Namespace(b.name)
	}
	if w := e.watches.Of(namespace, b.mu.policy.Kind); w != nil {
		w.Watched(p)
	}
}

// await waits for a ticket, or for what ends the waiting.
func (e *Engine) await(ctx context.Context, t *ticket) error {
	ill := e.health.ill()
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
	case <-ill:
	}
	select {
	case <-t.done:
		return t.err
	default:
	}
	if err := ctx.Err(); err != nil {
		return channel.ErrUnknownOutcome.With("the request was given up while the disk was at work").Wrap(err)
	}
	return e.health.unknown()
}
