package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// Tags of deliveries.
const (
	// TagAck is the ack token, TagAttempt which delivery it is, from 1, and
	// TagOffset where the publication is in its channel.
	TagAck     = "myelin-ack"
	TagAttempt = "myelin-attempt"
	TagOffset  = "myelin-offset"
)

// advance takes what the channel has, as far as there is room.
func (w *worker) advance(ctx context.Context) error {
	if err := w.reread(ctx); err != nil {
		return err
	}
	if w.poked.Swap(false) {
		w.behind = true
	}
	for w.behind {
		pubs, bytes := w.ledger.room()
		if pubs == 0 || bytes == 0 {
			return nil
		}
		r, err := w.read(ctx, w.ledger.next, min(pubs, pageSize), bytes)
		if err != nil {
			return err
		}
		w.top = r.Top
		switch {
		case r.Top.Epoch != w.ledger.epoch:
			err = w.renew(ctx, r.Top.Epoch)
		case r.Top.Offset <= w.ledger.next:
			w.behind = false
		case !r.Complete:
			err = w.gap(ctx, &r)
		}
		if err != nil {
			return err
		}
		if r.Top.Epoch == w.ledger.epoch {
			w.ledger.take(r.Pubs)
			w.behind = w.ledger.next < r.Top.Offset
		}
	}
	return nil
}

func (w *worker) read(ctx context.Context, since uint64, limit, bytes int) (channel.ReadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.m.engine.Read(ctx, &channel.ReadRequest{
		Channel: w.source, Policy: w.ns.Policy, Limit: limit, MaxBytes: bytes,
		Since: channel.Position{Epoch: w.ledger.epoch, Offset: since},
	})
}

// gap goes past what the channel did not keep, and tells of it.
func (w *worker) gap(ctx context.Context, r *channel.ReadResult) error {
	to := r.Top.Offset
	if len(r.Pubs) > 0 {
		to = r.Pubs[0].Prev
	}
	if to <= w.ledger.next {
		return nil
	}
	err := w.send(ctx, &letter{
		Reason: reasonEvicted, Consumer: w.name, Channel: w.source, Epoch: w.ledger.epoch, Offset: w.ledger.next + 1, To: to,
	})
	if err != nil {
		return err
	}
	w.m.log.Warn("a consumer lost publications that its channel did not keep for long enough",
		observe.KeyNamespace, w.ns.Policy.Namespace, observe.KeyCount, to-w.ledger.next)
	w.notes.giveUp(givenUp{
		Epoch: w.ledger.epoch, Offset: w.ledger.next + 1, To: to, At: time.Now().UnixMilli(), Why: reasonEvicted, Letter: w.ledger.set.DeadLetter,
	})
	w.ledger.skip(to, to-w.ledger.next)
	w.urgent = true
	return nil
}

// renew starts over in a new epoch. All that was not settled in the old one is
// lost, and how much came after that nobody knows.
func (w *worker) renew(ctx context.Context, epoch string) error {
	for _, e := range w.ledger.entries {
		e.doomed = reasonEpoch
		if err := w.send(ctx, w.letterOf(e)); err != nil {
			return err
		}
	}
	err := w.send(ctx, &letter{
		Reason: reasonEpoch, Consumer: w.name, Channel: w.source, Epoch: w.ledger.epoch, Offset: w.ledger.next + 1,
	})
	if err != nil {
		return err
	}
	w.m.log.Warn("the channel of a consumer began a new epoch", observe.KeyNamespace, w.ns.Policy.Namespace, observe.KeyCount, len(w.ledger.entries))
	w.ledger.counts.Lost += uint64(len(w.ledger.entries))
	now, old, letter := time.Now().UnixMilli(), w.ledger.epoch, w.ledger.set.DeadLetter
	for _, e := range w.ledger.entries {
		w.notes.giveUp(givenUp{Epoch: old, Offset: e.offset, Attempts: e.attempts, At: now, Why: reasonEpoch, Letter: letter})
	}
	w.notes.giveUp(givenUp{Epoch: old, Offset: w.ledger.next + 1, To: channel.MaxOffset, At: now, Why: reasonEpoch, Letter: letter})
	w.notes.begin(channel.Position{Epoch: epoch})
	w.ledger.seek(epoch, 0)
	w.urgent = true
	return nil
}

// reread gives entries that came out of the record their publications back.
func (w *worker) reread(ctx context.Context) error {
	for {
		first, last, ok := w.ledger.unread()
		if !ok {
			return nil
		}
		r, err := w.read(ctx, first-1, pageSize, windowBytes)
		if err != nil {
			return err
		}
		if r.Top.Epoch != w.ledger.epoch {
			return w.renew(ctx, r.Top.Epoch)
		}
		to := last // nothing comes after these pages
		if n := len(r.Pubs); n > 0 && r.Pubs[n-1].Offset < r.Top.Offset {
			to = min(to, r.Pubs[n-1].Offset)
		}
		w.ledger.restore(r.Pubs, to)
	}
}

// deliver hands out what waits.
func (w *worker) deliver(ctx context.Context, now time.Time) {
	for {
		left := false
		remote := make(map[string][]handed)
		for _, d := range w.ledger.assign(now, func(s seat) bool { return w.busy[s.node] }) {
			if d.entry.holder != d.to {
				continue // he left while this was going on
			}
			d.entry.to, d.entry.at = w.people[d.to.seat], now.UnixMilli()
			p := w.publication(d.entry)
			if s := d.to.seat; s.node != w.m.self.Node {
				remote[s.node] = append(remote[s.node], handed{Seat: s.id, Pub: p})
			} else if !w.m.hand(w.full, s.id, p) {
				w.ledger.leave(s, now)
				left = true
			}
		}
		for node, items := range remote {
			w.busy[node] = true
			w.m.handOver(ctx, w, node, items)
		}
		if !left {
			return
		}
	}
}

// publication returns an entry as it is delivered.
func (w *worker) publication(e *entry) *channel.Publication {
	p := *e.pub
	p.Channel = w.full
	p.Tags = make(map[string]string, len(e.pub.Tags)+3)
	maps.Copy(p.Tags, e.pub.Tags)
	p.Tags[TagAck] = sign(w.key, ticket{full: w.full, epoch: w.ledger.epoch, offset: e.offset})
	p.Tags[TagAttempt] = strconv.Itoa(e.attempts)
	p.Tags[TagOffset] = strconv.FormatUint(e.offset, 10)
	return &p
}

// handedOver notes that a node has been handed what was for it, but for the
// seats that are gone.
func (w *worker) handedOver(node string, gone []uint64, err error, now time.Time) {
	delete(w.busy, node)
	for _, m := range append([]*member(nil), w.ledger.members...) {
		if m.seat.node != node {
			continue
		}
		for _, id := range gone {
			if m.seat.id == id {
				w.ledger.leave(m.seat, now)
			}
		}
		if err != nil {
			// What it has been handed nobody knows. It says within moments who
			// sits there.
			w.ledger.leave(m.seat, now)
		}
	}
}

// sync takes word of a node who sits there.
func (w *worker) sync(at owner, seats []uint64, people []person, now time.Time) {
	w.heard[at.Node] = now
	if len(seats) == 0 {
		delete(w.heard, at.Node)
	}
	there := make(map[seat]bool, len(seats))
	for _, id := range seats {
		there[seat{at.Node, at.Incarnation, id}] = true
	}
	for _, m := range append([]*member(nil), w.ledger.members...) {
		if m.seat.node == at.Node && !there[m.seat] {
			w.ledger.leave(m.seat, now)
		}
	}
	maps.DeleteFunc(w.people, func(s seat, _ person) bool { return s.node == at.Node && !there[s] })
	for i, id := range seats {
		s := seat{at.Node, at.Incarnation, id}
		w.ledger.join(s)
		if i < len(people) {
			w.people[s] = people[i]
		}
	}
}

// forget takes out the seats of nodes that are silent.
func (w *worker) forget(now time.Time) {
	for node, at := range w.heard {
		if now.Sub(at) > silence && node != w.m.self.Node {
			w.sync(owner{Node: node}, nil, nil, now)
		}
	}
}

// save writes the record where that is due, and answers those who wait for it.
func (w *worker) save(ctx context.Context, now time.Time) error {
	for {
		due := w.urgent || len(w.waiters) > 0 || w.again != nil || now.Sub(w.saved) >= lazySave
		if w.over || !due || (!w.ledger.changed && w.again == nil) {
			if len(w.waiters) > 0 && !w.over {
				w.answer(nil)
			}
			return nil
		}
		w.saved, w.urgent = now, false
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := w.write(ctx, w.m.self)
		cancel()
		if err != nil {
			w.answer(err)
			if w.over {
				return nil
			}
			return err
		}
	}
}

// write writes the record. A write whose outcome is not known is repeated as it
// was before there is another.
func (w *worker) write(ctx context.Context, by owner) error {
	a := w.again
	if a == nil {
		data, err := json.Marshal(w.recordBy(by))
		if err != nil {
			return channel.ErrInternal.Wrap(err)
		}
		a = &attempt{id: w.m.self.Incarnation + ":" + strconv.FormatUint(w.m.writes.Add(1), 10), data: data}
		w.ledger.changed = false
	}
	at, err := w.m.registry.write(ctx, w.full, a.id, a.data, w.record)
	switch {
	case err == nil:
		w.record, w.again = at, nil
		return nil
	case errors.Is(err, channel.ErrConflict):
		w.over = true
		return errMoved()
	}
	w.again = a
	return err
}

func (w *worker) recordBy(by owner) *record {
	r := &record{
		Settings: w.ledger.set, Epoch: w.ledger.epoch, Next: w.ledger.next, Counts: w.ledger.counts, Owner: by, Created: w.created,
		Began: w.notes.began, GivenUp: w.notes.given, Forgotten: w.notes.forgotten,
	}
	for _, e := range w.ledger.entries {
		r.Pending = append(r.Pending, [2]uint64{e.offset, uint64(e.attempts)})
	}
	return r
}

// answer tells those who wait for the record.
func (w *worker) answer(err error) {
	for _, tell := range w.waiters {
		tell(err)
	}
	w.waiters = nil
}
