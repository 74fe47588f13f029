package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

// put publishes on a state channel.
func (t *books) put(ctx context.Context, s *stream, r *channel.PublishRequest) (channel.Ack, error) {
	outer := ctx
	ctx, cancel := t.engine.within(ctx)
	defer cancel()
	b, err := t.open(ctx, bookKey{s, r.Channel})
	if err != nil {
		return channel.Ack{}, err
	}
	defer t.close(b)
	if b.epoch != s.epoch() {
		if err := b.refresh(ctx); err != nil {
			return channel.Ack{}, public(err)
		}
	}
	for pause := minPause; ; {
		ack, err := b.put(ctx, r)
		if err == nil && r.Op == channel.OpDelete {
			t.sweepLater(b, r.Policy)
		}
		if !errors.Is(err, errElsewhere) {
			return ack, public(err)
		}
		// Another node has written meanwhile.
		var over error
		if pause, over = wait(ctx, jitter(pause)); over != nil {
			return channel.Ack{}, channel.ErrUnavailable.With("too many write to the channel at once").Wrap(errors.Join(outer.Err(), over))
		}
		if err := b.refresh(ctx); err != nil {
			return channel.Ack{}, public(err)
		}
	}
}

// put tries once. errElsewhere says that the book is behind.
func (b *book) put(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if err := b.settle(ctx); err != nil {
		return channel.Ack{}, err
	}
	if err := b.check(r); err != nil {
		// The book may be behind, which only matters when it says no.
		if err := b.refresh(ctx); err != nil {
			return channel.Ack{}, err
		}
		if err := b.settle(ctx); err != nil {
			return channel.Ack{}, err
		}
	}
	if err := b.check(r); err != nil {
		if ack, known := b.known(ctx, r); known {
			return ack, nil
		}
		return channel.Ack{}, err
	}
	f := frame{
		kind: kindPublication, op: r.Op, key: r.Key,
		contentType: r.ContentType, tags: r.Tags, info: r.Info, data: r.Data,
		expires: r.Expires, score: r.Score, base: r.Base,
	}
	ttl := r.TTL
	if ttl == 0 {
		ttl = r.Policy.KeyTTL
	}
	if ttl > 0 && r.Op == channel.OpPut {
		f.due = time.Now().Add(ttl).UnixMilli()
	}
	return b.write(ctx, &f, r.ID)
}

// check returns nil where the entry of the request's key is as the publisher
// expects, and there is room for a new one.
func (b *book) check(r *channel.PublishRequest) error {
	at := b.offset(r.Key)
	if r.Expect != nil && *r.Expect != at {
		err := channel.ErrConflict.With(fmt.Sprintf("key %q is at offset %d, not at %d", r.Key, at, *r.Expect))
		err.Current = at
		return err
	}
	most := r.Policy.MostKeys(b.stream.engine.options.MaxEntries)
	if r.Op == channel.OpPut && at == 0 && len(b.entries) >= most {
		b.stream.engine.options.Metrics.Limit(observe.LimitEntries).Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf("at most %d entries in a channel are allowed", most))
	}
	return nil
}

// known asks the stream whether it has a message with the id of a request: one
// that it must refuse for another reason, which comes after.
func (b *book) known(ctx context.Context, r *channel.PublishRequest) (channel.Ack, bool) {
	if r.ID == "" {
		return channel.Ack{}, false
	}
	f := frame{kind: kindSwept}
	m := nats.NewMsg(b.stream.keySubject(b.name, ""))
	m.Data = f.encode()
	m.Header.Set(headerID, messageID(b.name, r.ID))
	// Where a stream has replicas the id is looked at before the sequence, and
	// where it has none before the last id.
	if b.stream.engine.options.Replicas > 1 {
		m.Header.Set(headerExpectedSubject, strconv.FormatUint(1<<62, 10))
	} else {
		m.Header.Set(headerExpectedID, "a message that is not there")
	}
	ack, err := b.stream.engine.send(ctx, m, true)
	if err != nil || !ack.Duplicate {
		return channel.Ack{}, false
	}
	return channel.Ack{Position: channel.Position{Epoch: b.epoch, Offset: ack.Sequence}, Duplicate: true}, true
}

// write brings a message into the stream, after the last one that the book
// knows. errElsewhere says that there is another one, or that there was an
// answer too late.
func (b *book) write(ctx context.Context, f *frame, id string) (channel.Ack, error) {
	s := b.stream
	if f.kind == kindPublication {
		f.prev, f.time = b.last, time.Now().UnixMilli()
	} else {
		f.last = b.last
	}
	m := nats.NewMsg(s.keySubject(b.name, f.key))
	if f.kind == kindSwept {
		m.Subject = s.subject(b.name) + sweepKey
	}
	m.Data = f.encode()
	m.Header.Set(headerExpectedSubject, strconv.FormatUint(b.head, 10))
	m.Header.Set(headerExpectedOf, s.filter(b.name))
	if id != "" {
		m.Header.Set(headerID, messageID(b.name, id))
	}
	ack, err := s.store(ctx, m, id != "")
	if err != nil {
		return channel.Ack{}, err
	}
	if ack.Epoch != b.epoch {
		return channel.Ack{}, channel.ErrUnknownOutcome.With("the stream is not the one that it was")
	}
	if !ack.Duplicate {
		b.apply(&message{frame: *f, sequence: ack.Offset, at: time.Now().UnixNano()})
	}
	return ack, nil
}

// clear forgets the entries of a state channel, and its history.
func (t *books) clear(ctx context.Context, s *stream, name string) error {
	ctx, cancel := t.engine.within(ctx)
	defer cancel()
	b, err := t.open(ctx, bookKey{s, name})
	if err != nil {
		return err
	}
	defer t.close(b)
	for pause := minPause; ; {
		if err := b.refresh(ctx); err != nil || b.head == 0 {
			return public(err)
		}
		if b.head != b.cleared {
			_, err = b.write(ctx, &frame{kind: kindCleared}, "")
		}
		if err == nil {
			return s.purge(ctx, name, b.cleared)
		}
		if !errors.Is(err, errElsewhere) {
			return public(err)
		}
		if pause, err = wait(ctx, jitter(pause)); err != nil {
			return channel.ErrUnavailable.With("too many write to the channel at once").Wrap(err)
		}
	}
}

// read returns what is kept of the history of a state channel.
func (t *books) read(ctx context.Context, s *stream, r *channel.ReadRequest) (channel.ReadResult, error) {
	b, err := t.current(ctx, bookKey{s, r.Channel})
	if err != nil {
		return channel.ReadResult{}, err
	}
	res := channel.ReadResult{Top: b.position()}
	head, cleared := b.head, b.cleared
	t.close(b)
	since := r.Since.Offset
	if r.Since.Epoch != "" && r.Since.Epoch != res.Top.Epoch {
		return res, nil
	}
	if !r.Reverse && since >= res.Top.Offset && !r.Since.IsZero() || r.Policy.HistorySize == 0 || head == 0 {
		res.Complete = !r.Reverse && since == res.Top.Offset
		return res, nil
	}
	from := max(cleared, 1)
	if !r.Reverse {
		from = max(from, since+1)
	}
	var msgs []message
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		msgs, err = s.linked(ctx, r.Channel, from, head)
		return err
	})
	if err != nil {
		return channel.ReadResult{}, err
	}
	if n := len(msgs); n > 0 && msgs[n-1].kind == kindPublication {
		res.Top.Offset = max(res.Top.Offset, msgs[n-1].sequence)
	}
	v := history(msgs, res.Top.Offset, r.Policy, time.Now())
	return v.answer(r, res), nil
}

// linked reads the messages of a state channel from a sequence on, up to its
// head at least.
func (s *stream) linked(ctx context.Context, name string, from, head uint64) ([]message, error) {
	var all []message
	for {
		b, err := s.engine.fetcher.get(ctx, s.name, query{Sequence: from, Next: s.filter(name)})
		if err != nil {
			return nil, err
		}
		for _, m := range b.msgs {
			from = m.sequence + 1
			if m.kind == kindPublication || m.kind == kindCleared {
				all = append(all, m)
			}
		}
		if b.pending == 0 || len(b.msgs) == 0 {
			break
		}
	}
	if from <= head {
		return nil, errNoAnswer
	}
	if from-1 > head {
		return all, s.confirm(ctx, name, from-1)
	}
	return all, nil
}

// history returns what can be seen of the messages of a state channel: the last
// ones, back to where one is not followed by the next.
func history(msgs []message, top uint64, p *channel.Policy, now time.Time) view {
	var v view
	first := len(msgs)
	for first > 0 && msgs[first-1].kind == kindPublication {
		if first < len(msgs) && msgs[first].prev != msgs[first-1].sequence {
			break
		}
		first--
	}
	v.pubs = msgs[first:]
	hide := max(0, len(v.pubs)-p.HistorySize)
	if p.HistoryTTL > 0 {
		for hide < len(v.pubs) && v.pubs[hide].when() <= now.Add(-p.HistoryTTL).UnixMilli() {
			hide++
		}
	}
	v.pubs = v.pubs[hide:]
	v.before, v.floor = top, top
	if len(v.pubs) > 0 {
		v.before, v.floor = v.pubs[0].prev, v.pubs[0].prev
	}
	return v
}
