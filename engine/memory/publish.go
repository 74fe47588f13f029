package memory

import (
	"context"
	"slices"
	"time"

	"myelin/channel"
)

// moment is one reading of the clock: the engine's own, which no adjustment
// of the wall clock moves, and the wall's.
type moment struct {
	mono int64
	wall int64
}

func (e *Engine) now() moment {
	t := time.Now()
	return moment{mono: int64(t.Sub(e.started)), wall: t.UnixMilli()}
}

// Publish orders one publication, keeps what the policy says and hands it to
// the Sink. ctx is looked at before anything happens.
func (e *Engine) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if err := alive(ctx); err != nil {
		return channel.Ack{}, err
	}
	if err := r.Check(r.Policy); err != nil {
		return channel.Ack{}, err
	}
	t, err := e.open(r.Channel, r.Policy, toPublish)
	if err != nil {
		return channel.Ack{}, err
	}
	if t.b == nil {
		return publishUnheard(t, r), nil
	}
	defer e.leave(t)
	return e.publish(t, r)
}

// publishUnheard publishes on an ephemeral channel without a subscriber, of
// which nothing is kept but the id.
func publishUnheard(t turn, r *channel.PublishRequest) channel.Ack {
	at, dup := t.vacant, false
	if r.ID != "" {
		at, dup = t.s.ids.claim(r.Channel, r.ID, at, t.now.mono, later(t.now.mono, dedupeWindow(r.Policy)))
	}
	return channel.Ack{Position: at, Duplicate: dup}
}

// publish publishes on a book.
func (e *Engine) publish(t turn, r *channel.PublishRequest) (channel.Ack, error) {
	b, p, now := t.b, t.b.mu.policy, t.now.mono
	if p != r.Policy {
		if err := r.Check(p); err != nil {
			return channel.Ack{}, err
		}
	}
	if r.ID != "" {
		if at, ok := t.s.ids.find(r.Channel, r.ID, now); ok {
			return channel.Ack{Position: at, Duplicate: true}, nil
		}
	}
	old := b.mu.state.get(r.Key)
	if err := e.checkEntry(b, r, old); err != nil {
		return channel.Ack{}, err
	}
	k := e.next(t)
	k.Op, k.Key = r.Op, r.Key
	k.Data, k.ContentType, k.Tags, k.Info = r.Data, r.ContentType, r.Tags, r.Info
	k.Expires, k.Score, k.Base = r.Expires, r.Score, r.Base
	if !fleeting(p) {
		k.Data = compact(k.Data)
	}
	more := b.growth(k, old)
	if err := e.charge(more); err != nil {
		return channel.Ack{}, err
	}
	if r.ID != "" {
		if at, dup := t.s.ids.claim(r.Channel, r.ID, k.Position, now, later(now, dedupeWindow(p))); dup {
			e.bytes.Add(-more)
			return channel.Ack{Position: at, Duplicate: true}, nil
		}
	}
	b.apply(k, old, r.TTL)
	e.commit(b, k)
	return channel.Ack{Position: k.Position}, nil
}

// checkEntry returns nil where the entry of the request's key, old, is as the
// publisher expects and there is room for a new one.
func (e *Engine) checkEntry(b *book, r *channel.PublishRequest, old *entry) error {
	if r.Expect != nil && *r.Expect != old.offset() {
		return conflict(r.Key, *r.Expect, old.offset())
	}
	most := b.mu.policy.MostKeys(e.options.MaxEntries)
	if r.Op == channel.OpPut && old == nil && b.mu.state.len() >= most {
		return channel.ErrLimitExceeded.With(tooMany("entries in a channel", most))
	}
	return nil
}

// next returns the publication that comes after the top, in a new epoch where
// there is no more room for offsets.
func (e *Engine) next(t turn) *kept {
	b := t.b
	if b.mu.top >= channel.MaxOffset {
		e.renew(t)
	}
	k := &kept{since: t.now.mono}
	k.Channel, k.Epoch = b.name(), b.epoch()
	k.Offset, k.Prev = b.mu.top+1, b.mu.top
	k.Time = t.now.wall
	return k
}

// renew starts a new epoch.
func (e *Engine) renew(t turn) {
	b := t.b
	for b.mu.ring.len() > 0 {
		e.bytes.Add(-b.mu.ring.shift().size())
	}
	b.mu.title = e.secret.title(b.name(), b.mu.policy, t.s.seasons.of(b.mu.policy).Add(1))
	b.mu.top = 0
	if b.mu.subscribed {
		e.sink.Lost(b.name())
	}
}

// growth returns how many more bytes are kept once k has taken its place, old
// being the entry that it puts an end to.
func (b *book) growth(k *kept, old *entry) (more int64) {
	limit := b.mu.policy.HistorySize
	if limit == 0 && k.Op == channel.OpAppend {
		return 0
	}
	size := k.size()
	if limit > 0 {
		more += size
		if b.mu.ring.len() >= limit {
			more -= b.mu.ring.at(0).size()
		}
	}
	if k.Op == channel.OpPut {
		more += size
	}
	if old != nil {
		more -= old.pub.size()
	}
	return more
}

// charge counts bytes that are to be kept, or refuses.
func (e *Engine) charge(more int64) error {
	if more == 0 {
		return nil
	}
	total := e.bytes.Add(more)
	if limit := e.options.MaxBytes; limit > 0 && more > 0 && total > limit {
		e.bytes.Add(-more)
		return channel.ErrLimitExceeded.With(tooMany("bytes kept in memory", limit) +
			"; keep shorter histories or allow more")
	}
	return nil
}

// apply makes k's change to the entries.
func (b *book) apply(k *kept, old *entry, ttl time.Duration) {
	switch {
	case k.Op == channel.OpPut:
		if b.mu.state == nil {
			b.mu.state = &state{}
		}
		if ttl == 0 {
			ttl = b.mu.policy.KeyTTL
		}
		expires := int64(never)
		if ttl > 0 {
			expires = later(k.since, int64(ttl))
		}
		b.mu.state.put(old, k, expires)
	case old != nil:
		b.mu.state.drop(old)
	}
}

// commit makes k the top, keeps it and delivers it.
func (e *Engine) commit(b *book, k *kept) {
	b.mu.top = k.Offset
	if limit := b.mu.policy.HistorySize; limit > 0 {
		b.mu.ring.push(k, limit)
	}
	if b.mu.subscribed {
		e.sink.Deliver(&k.Publication)
	}
	if w := e.watches.Of(b.mu.policy.Namespace, b.mu.policy.Kind); w != nil {
		w.Watched(&k.Publication)
	}
}

// settle lets go of what has outlived its time.
func (e *Engine) settle(t turn) {
	b, now := t.b, t.now.mono
	if ttl := int64(b.mu.policy.HistoryTTL); ttl > 0 {
		for b.mu.ring.len() > 0 && now >= later(b.mu.ring.at(0).since, ttl) {
			e.bytes.Add(-b.mu.ring.shift().size())
		}
	}
	for b.mu.state.due() <= now {
		old := b.mu.state.expiry.items[0].v
		k := e.next(t)
		k.Op, k.Key = channel.OpExpire, old.pub.Key
		// Never refused, as it frees more than it takes.
		e.bytes.Add(b.growth(k, old))
		b.apply(k, old, 0)
		e.commit(b, k)
		b.mu.used = now
	}
}

// wasteMax is how much unused room behind its payload a kept publication may
// hold on to.
const wasteMax = 64

// compact returns data in memory of about its own size.
func compact(data []byte) []byte {
	if cap(data)-len(data) > wasteMax+len(data)/4 {
		return slices.Clone(data)
	}
	return data
}
