package jetstream

import (
	"context"
	"slices"
	"sync"

	"myelin/channel"
)

// flights lets those who ask the same at the same time share an answer, and
// bounds how many questions there are. Nobody shares an answer that was begun
// before he asked: it may lack what he knows to be there.
type flights struct {
	engine *Engine
	slots  chan struct{}
	mu     struct {
		sync.Mutex
		waiting map[flightKey]*flight
	}
}

// flightKey is a question.
type flightKey struct {
	stream          *stream
	policy          *channel.Policy
	channel         string
	since           channel.Position
	limit, maxBytes int
	reverse         bool
}

// flight is a question that waits for its turn, or is being answered.
type flight struct {
	done chan struct{}
	res  channel.ReadResult
	err  error
	// riders is how many wait for the answer. Under the lock of flights.
	riders int
	cancel context.CancelFunc
}

func newFlights(e *Engine) *flights {
	t := &flights{engine: e, slots: make(chan struct{}, e.options.MaxReads)}
	t.mu.waiting = make(map[flightKey]*flight)
	return t
}

// do answers a read of a stream.
func (t *flights) do(ctx context.Context, s *stream, r *channel.ReadRequest) (channel.ReadResult, error) {
	key := flightKey{
		stream: s, policy: r.Policy, channel: r.Channel, since: r.Since,
		limit: r.Limit, maxBytes: r.MaxBytes, reverse: r.Reverse,
	}
	t.mu.Lock()
	f := t.mu.waiting[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		var inner context.Context
		inner, f.cancel = context.WithCancel(t.engine.ctx)
		t.mu.waiting[key] = f
		t.engine.work.Go(func() { t.fly(inner, key, f, s, *r) })
	}
	f.riders++
	t.mu.Unlock()
	select {
	case <-f.done:
		res := f.res
		// The list is the caller's own.
		res.Pubs = slices.Clone(res.Pubs)
		return res, f.err
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if f.riders--; f.riders == 0 {
			f.cancel()
			if t.mu.waiting[key] == f {
				delete(t.mu.waiting, key)
			}
		}
		return channel.ReadResult{}, channel.ErrUnavailable.With("the read was given up").Wrap(ctx.Err())
	}
}

// fly waits for a slot and answers.
func (t *flights) fly(ctx context.Context, key flightKey, f *flight, s *stream, r channel.ReadRequest) {
	defer close(f.done)
	defer f.cancel()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		f.err = channel.ErrUnavailable.With("the read was given up").Wrap(ctx.Err())
	}
	t.mu.Lock()
	if t.mu.waiting[key] == f {
		delete(t.mu.waiting, key)
	}
	t.mu.Unlock()
	if f.err == nil {
		f.res, f.err = s.read(ctx, &r)
	}
}
