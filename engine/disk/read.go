package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

// Read returns what is kept after a position.
func (e *Engine) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if err := e.begin(ctx); err != nil {
		return channel.ReadResult{}, err
	}
	defer e.end()
	if err := admit(r.Channel, r.Policy); err != nil {
		return channel.ReadResult{}, err
	}
	if err := e.settleEntries(r.Policy); err != nil {
		return channel.ReadResult{}, err
	}
	b, err := e.open(r.Channel, r.Policy, false)
	if err != nil {
		return channel.ReadResult{}, err
	}
	if b == nil {
		top := channel.Position{Epoch: newEpoch()}
		return channel.ReadResult{Top: top, Complete: !r.Reverse && r.Since.IsZero()}, nil
	}
	res, span, err := e.aim(b, r)
	e.leave(b)
	if err == nil && span.i != nil {
		res.Pubs, err = span.read(r, res.Top.Epoch)
	}
	if err != nil {
		return channel.ReadResult{}, e.failed(r.Channel, err)
	}
	return res, nil
}

// span is a part of a channel's publications, from one offset to another.
type span struct {
	from, to uint64
	i        *pebble.Iterator
}

// aim finds out what there is to read. It is read without the lock, from an
// iterator that sees the store as it is now.
func (e *Engine) aim(b *book, r *channel.ReadRequest) (channel.ReadResult, span, error) {
	if err := e.expire(b, e.clock.now()); err != nil {
		return channel.ReadResult{}, span{}, err
	}
	res := channel.ReadResult{Top: b.position()}
	if r.Since.Epoch != "" && r.Since.Epoch != b.mu.epoch {
		return res, span{}, nil
	}
	since := r.Since.Offset
	s := span{from: b.mu.floor + 1, to: b.mu.done}
	if r.Reverse {
		if !r.Since.IsZero() && since <= b.mu.done {
			s.to = max(since, 1) - 1
		}
	} else {
		res.Complete = since >= b.mu.floor && since <= b.mu.done
		if since >= b.mu.done {
			return res, span{}, nil
		}
		s.from = max(s.from, since+1)
	}
	if s.from > s.to || r.Limit == 0 || b.mu.store == nil {
		return res, span{}, nil
	}
	if n := uint64(r.Limit); r.Limit > 0 && s.to-s.from+1 > n {
		if r.Reverse {
			s.from = s.to - n + 1
		} else {
			s.to = s.from + n - 1
		}
	}
	i, err := b.mu.store.iterate(pubKey(b.mu.meta.id, s.from), pubKey(b.mu.meta.id, s.to+1))
	s.i = i
	return res, s, err
}

// readAhead is how many publications an answer makes room for before it is
// known how many there will be.
const readAhead = 1024

// read reads the publications, of which none may be missing, in the order
// that is asked for, and no further than the answer may be long.
func (s span) read(r *channel.ReadRequest, epoch string) (pubs []*channel.Publication, err error) {
	defer func() {
		if err = errors.Join(err, s.i.Close()); err != nil {
			pubs = nil
		}
	}()
	n := s.to - s.from + 1
	if r.MaxBytes > 0 {
		n = min(n, readAhead)
	}
	pubs = make([]*channel.Publication, 0, n)
	begin, next, offset, end, step := s.i.First, s.i.Next, s.from, s.to, uint64(1)
	if r.Reverse {
		begin, next, offset, end, step = s.i.Last, s.i.Prev, s.to, s.from, -step
	}
	bytes := 0
	for ok := begin(); ok; ok = next() {
		p, err := s.parse(offset)
		if err != nil {
			return nil, err
		}
		bytes += len(p.Data)
		if r.MaxBytes > 0 && bytes > r.MaxBytes && len(pubs) > 0 {
			return pubs, nil
		}
		p.Channel, p.Epoch, p.Offset, p.Prev = r.Channel, epoch, offset, offset-1
		pubs = append(pubs, p)
		offset += step
	}
	if err := s.i.Error(); err != nil {
		return nil, err
	}
	if offset != end+step {
		return nil, fmt.Errorf("publication %d, found none: %w", offset, errDamaged)
	}
	return pubs, nil
}

// parse reads the publication that the iterator is at, which must be that of
// an offset.
func (s span) parse(offset uint64) (*channel.Publication, error) {
	value, err := s.i.ValueAndErr()
	if err != nil {
		return nil, err
	}
	p, _, err := parsePub(value)
	_, rest, _ := splitDue(s.i.Key())
	if at, _, _ := splitNumber(rest); err != nil || at != offset {
		return nil, fmt.Errorf("publication %d, found %d: %w", offset, at, errDamaged)
	}
	return p, nil
}

// Remove forgets the kept publications and the entries of a channel, not its
// position and not the ids published on it.
func (e *Engine) Remove(ctx context.Context, name string, p *channel.Policy) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.end()
	if err := admit(name, p); err != nil {
		return err
	}
	if e.storeOf(p) == e.disk {
		if err := e.health.err(); err != nil {
			return err
		}
	}
	b, err := e.open(name, p, false)
	if err != nil || b == nil {
		return err
	}
	t, err := e.wipe(b)
	e.leave(b)
	if err != nil || t == nil {
		return err
	}
	return e.await(ctx, t)
}

// wipe has all that is kept of a channel removed. It returns nil where there
// is nothing.
func (e *Engine) wipe(b *book) (*ticket, error) {
	if b.mu.store == nil || b.mu.meta.id == 0 {
		return nil, nil
	}
	now := e.clock.now()
	t := newTicket()
	t.book, t.batch = b, b.mu.store.db.NewBatch()
	for _, first := range []byte{keyPub, keyEntry} {
		prefix := numbered(first, b.mu.meta.id)
		delRange(t.batch, prefix, after(prefix))
	}
	if b.mu.meta.kind == channel.KindState {
		set(t.batch, tallyKey(b.mu.meta.id), tally{top: b.mu.top}.encode())
	}
	b.mu.floor, b.mu.first, b.mu.bytes, b.mu.entries = b.mu.top, 0, 0, 0
	b.mu.meta.floor = b.mu.top
	b.mu.meta.removals++
	e.write(b, t.batch, now, false)
	t.fsync = e.wantsSync(b, t.batch, now)
	if err := e.send(b, t); err != nil {
		return nil, err
	}
	if f := b.mu.flight; f != nil {
		f.keys, f.wipe = nil, t
	}
	return t, nil
}
