package jetstream

import (
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// Remove forgets the kept publications of a channel. A marker takes their
// place, which remembers the position and tells the other nodes.
func (e *Engine) Remove(ctx context.Context, name string, p *channel.Policy) error {
	if err := e.enter(ctx, name, p); err != nil {
		return err
	}
	defer e.calls.end()
	if fleeting(p) {
		return nil
	}
	s, err := e.streams.of(ctx, p, false)
	if err != nil {
		return err
	}
	if p.Kind == channel.KindState {
		return e.books.clear(ctx, s, name)
	}
	for pause := minPause; ; {
		h, err := s.head(ctx, name)
		if err != nil || h.sequence == 0 {
			return err
		}
		at, err := s.mark(ctx, name, kindCleared, h)
		if err == nil {
			return s.purge(ctx, name, at)
		}
		if !errors.Is(err, errElsewhere) {
			return err
		}
		// Somebody has published in between.
		if pause, err = wait(ctx, pause); err != nil {
			return channel.ErrUnavailable.Wrap(err)
		}
	}
}

// mark puts a marker at the head of a channel, and returns its sequence.
func (s *stream) mark(ctx context.Context, name string, kind kind, h head) (uint64, error) {
	f := frame{kind: kind, last: h.last}
	m := nats.NewMsg(s.subject(name))
	m.Data = f.encode()
	m.Header.Set(headerExpectedSubject, strconv.FormatUint(h.sequence, 10))
	ack, err := s.engine.send(ctx, m, true)
	return ack.Sequence, err
}

// purge removes what is kept of a channel before a sequence.
func (s *stream) purge(ctx context.Context, name string, before uint64) error {
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	st, err := s.engine.js.Stream(ctx, s.name)
	if err == nil {
		err = st.Purge(ctx, natsjs.WithPurgeSubject(s.filter(name)), natsjs.WithPurgeSequence(before))
	}
	if err != nil {
		return channel.ErrUnavailable.With("what is kept was marked as removed, but still takes room; remove it again").Wrap(err)
	}
	return nil
}
