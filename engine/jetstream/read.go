package jetstream

import (
	"context"
	"errors"
	"time"

	"myelin/channel"
)

// head is where a channel is.
type head struct {
	epoch string
	// sequence is that of the last message of the channel, 0 where none is
	// kept, and at is when the stream got it; last is the offset of its last
	// publication.
	sequence, last uint64
	at             int64
}

// head asks the leader of the stream where a channel is.
func (s *stream) head(ctx context.Context, name string) (head, error) {
	h := head{epoch: s.epoch()}
	err := s.ask(ctx, func(ctx context.Context) error {
		msg, ok, err := s.engine.fetcher.last(ctx, s.name, s.filter(name))
		if err != nil {
			return err
		}
		if !ok {
			h.last, err = s.forgotten(ctx, name, h.epoch)
			return err
		}
		h.sequence, h.last, h.at = msg.sequence, msg.sequence, msg.at
		if msg.kind != kindPublication {
			h.last = msg.last
		}
		return nil
	})
	return h, err
}

// forgotten returns the position of a channel of which nothing is kept: what a
// subscriber here knows, else where whatever there was has gone by now.
func (s *stream) forgotten(ctx context.Context, name, epoch string) (uint64, error) {
	if f := s.engine.feeds.get(name); f != nil && f.stream == s {
		if last, certain := f.position(epoch); certain {
			return last, nil
		}
	}
	return s.floor(ctx)
}

// ask asks the holders of the stream until one answers.
func (s *stream) ask(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	for pause := minPause; ; {
		err := do(ctx)
		if err == nil || !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
			return public(err)
		}
		next, over := wait(ctx, pause)
		if over != nil {
			return channel.ErrUnavailable.With("the stream of the namespace does not answer now").Wrap(errors.Join(over, err))
		}
		pause = next
	}
}

// public returns err as an *Error.
func public(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*channel.Error](err); ok {
		return err
	}
	return channel.ErrUnavailable.Wrap(err)
}

// Read returns what is kept after a position.
func (e *Engine) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if err := e.enter(ctx, r.Channel, r.Policy); err != nil {
		return channel.ReadResult{}, err
	}
	defer e.calls.end()
	if fleeting(r.Policy) {
		return e.breeze.read(r), nil
	}
	s, err := e.streams.of(ctx, r.Policy, false)
	if err != nil {
		return channel.ReadResult{}, err
	}
	return e.flights.do(ctx, s, r)
}

// read reads a channel.
func (s *stream) read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if s.key.kind == channel.KindState {
		return s.engine.books.read(ctx, s, r)
	}
	h, err := s.head(ctx, r.Channel)
	if err != nil {
		return channel.ReadResult{}, err
	}
	res := channel.ReadResult{Top: channel.Position{Epoch: h.epoch, Offset: h.last}}
	if r.Since.Epoch != "" && r.Since.Epoch != h.epoch {
		return res, nil
	}
	since := r.Since.Offset
	if h.sequence == 0 || !r.Reverse && since >= h.last && !r.Since.IsZero() {
		res.Complete = !r.Reverse && since == h.last
		return res, nil
	}
	if r.Limit == 0 && (r.Reverse || r.Since.IsZero()) {
		// Only the top is wanted; whether it all began there is not looked at.
		return res, nil
	}
	k, err := s.scan(ctx, r, h)
	if err != nil {
		return channel.ReadResult{}, err
	}
	res.Top.Offset = k.top(h.last)
	v := k.view(res.Top.Offset, r.Policy, time.Now())
	return v.answer(r, res), nil
}

// confirm waits until the leader has what a replica had before it: who asks
// next, and who listens, shall not find less.
func (s *stream) confirm(ctx context.Context, name string, sequence uint64) error {
	for pause := minPause; ; {
		msg, _, err := s.engine.fetcher.last(ctx, s.name, s.filter(name))
		if err != nil || msg.sequence >= sequence {
			return err
		}
		if pause, err = wait(ctx, pause); err != nil {
			return err
		}
	}
}

// scan reads what is kept of a log channel: as much as the request wants, or up
// to the head at least.
func (s *stream) scan(ctx context.Context, r *channel.ReadRequest, h head) (kept, error) {
	var k kept
	k.start = 1
	if !r.Reverse {
		// An answer that begins with the publication at since proves that
		// nothing after it is gone.
		k.start = max(k.start, r.Since.Offset)
	}
	s.mu.Lock()
	k.shape = s.mu.shape
	s.mu.Unlock()
	batch := 0
	if r.Limit >= 0 && !r.Reverse {
		batch = r.Limit + spare
	}
	err := s.ask(ctx, func(ctx context.Context) (err error) {
		if k.floor, err = s.floor(ctx); err != nil {
			return err
		}
		for {
			b, err := s.engine.fetcher.get(ctx, s.name, query{Sequence: k.next(), Next: s.subject(r.Channel), Batch: batch})
			if err != nil {
				return err
			}
			if len(k.msgs) == 0 && k.start > 1 && (len(b.msgs) == 0 || b.msgs[0].sequence != k.start) {
				k.start = 1
				continue
			}
			k.add(b)
			if b.pending == 0 || len(b.msgs) == 0 {
				break
			}
			if k.enough(r, time.Now()) {
				return nil
			}
		}
		if k.next() <= h.sequence {
			// Whoever answered has not got there yet.
			return errNoAnswer
		}
		if k.next() > h.sequence+1 {
			return s.confirm(ctx, r.Channel, k.next()-1)
		}
		return nil
	})
	k.age(time.Now())
	return k, err
}
