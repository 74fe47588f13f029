package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"myelin/channel"
)

// Engine keeps channels in memory. Make one with New.
type Engine struct {
	options Options
	started time.Time
	seed    maphash.Seed
	secret  secret
	phase   atomic.Int32
	// sink is set before phase says that the engine runs.
	sink    channel.Sink
	shards  [shards]shard
	sweeper *sweeper
	watches channel.Watches

	channels atomic.Int64
	bytes    atomic.Int64
	ids      atomic.Int64
}

var _ channel.Engine = (*Engine)(nil)

// The phases of an engine's life.
const (
	phaseNew = iota
	phaseRunning
	phaseClosed
)

// New returns an engine that waits for Start.
func New(o Options) *Engine {
	e := &Engine{options: o.withDefaults(), started: time.Now(), seed: maphash.MakeSeed(), secret: newSecret(), sweeper: newSweeper()}
	for i := range e.shards {
		ids := &e.shards[i].ids
		ids.total = &e.ids
		ids.maxTotal = int64(e.options.MaxIDs)
		ids.maxChannel = e.options.MaxIDsPerChannel
		ids.wake = e.sweeper.before
	}
	return e
}

// Start begins delivery to s. ctx bounds the start only.
func (e *Engine) Start(ctx context.Context, s channel.Sink) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if s == nil {
		return channel.ErrBadRequest.With("the engine needs a sink to deliver to")
	}
	if e.phase.Load() != phaseNew {
		return channel.ErrBadRequest.With("the engine was started before; make a new one")
	}
	e.sink = s
	if !e.phase.CompareAndSwap(phaseNew, phaseRunning) {
		return channel.ErrBadRequest.With("the engine was started or closed before; make a new one")
	}
	go e.sweepLoop()
	return nil
}

// Subscribe begins delivery of a channel and returns its top.
func (e *Engine) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if err := alive(ctx); err != nil {
		return channel.Position{}, err
	}
	t, err := e.open(name, p, toSubscribe)
	if err != nil {
		return channel.Position{}, err
	}
	defer e.leave(t)
	t.b.mu.subscribed = true
	return t.b.position(), nil
}

// Unsubscribe ends delivery of a channel. Nothing of it arrives after that.
func (e *Engine) Unsubscribe(name string) {
	s := e.shard(name)
	b := s.find(name)
	if b == nil {
		return
	}
	t := e.enter(s, b)
	if t.b == nil {
		s.bury(b, name)
		return
	}
	b.mu.subscribed = false
	e.leave(t)
}

// Caps says what this engine can do: everything but to survive.
func (e *Engine) Caps() channel.Caps {
	return channel.Caps{Dense: true, Durable: channel.DurabilityMemory, State: true}
}

// Close ends the engine. When it returns nil nothing is delivered any more,
// and every later call is refused with ErrUnavailable. Closing again is no
// error.
func (e *Engine) Close(ctx context.Context) error {
	switch e.phase.Swap(phaseClosed) {
	case phaseNew:
		close(e.sweeper.done)
	case phaseRunning:
		close(e.sweeper.stop)
	}
	for i := range e.shards {
		e.closeShard(&e.shards[i])
	}
	select {
	case <-e.sweeper.done:
		return nil
	case <-ctx.Done():
		return alive(ctx)
	}
}

// closeShard ends all books of a shard. Taking the lock of each one waits for
// the publisher who is delivering under it.
func (e *Engine) closeShard(s *shard) {
	s.mu.Lock()
	books := s.mu.books
	s.mu.books = nil
	s.mu.Unlock()
	for _, b := range books {
		b.mu.Lock()
		if !b.mu.dead {
			e.empty(b)
			e.end(turn{s: s, b: b})
		}
		b.mu.Unlock()
	}
}

func (e *Engine) shard(name string) *shard {
	return &e.shards[maphash.String(e.seed, name)%shards]
}

// running returns nil between Start and Close.
func (e *Engine) running() error {
	switch e.phase.Load() {
	case phaseRunning:
		return nil
	case phaseNew:
		return channel.ErrUnavailable.With("it has not been started yet")
	default:
		return channel.ErrUnavailable.With("it is closed")
	}
}

// alive returns nil unless ctx is over.
func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return channel.ErrUnavailable.With("the request was given up before it began").Wrap(err)
	}
	return nil
}

func conflict(key string, want, have uint64) error {
	err := channel.ErrConflict.With(fmt.Sprintf("key %q is at offset %d, not at %d", key, have, want))
	err.Current = have
	return err
}

func tooMany[N int | int64](what string, limit N) string {
	return fmt.Sprintf("at most %d %s are allowed", limit, what)
}
