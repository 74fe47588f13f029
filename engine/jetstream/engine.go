package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

// Engine keeps channels in NATS JetStream. Make one with New.
type Engine struct {
	options Options
	conn    *nats.Conn
	js      natsjs.JetStream
	// origin is the incarnation of this engine: it marks what it sent itself.
	origin uint64
	// ctx ends when Close has no more patience.
	ctx    context.Context
	cancel context.CancelFunc

	calls   calls
	streams *streams
	feeds   *feeds
	fetcher *fetcher
	flights *flights
	breeze  *breeze
	watches *watches
	books   *books
	life    *lives
	keeper  *keeper
	// sink is set before calls are let in.
	sink channel.Sink
	// work counts the goroutines.
	work sync.WaitGroup
	// stop ends them.
	stop chan struct{}
}

var _ channel.Engine = (*Engine)(nil)

// New returns an engine that waits for Start.
func New(o Options) (*Engine, error) {
	if o.Network == nil {
		return nil, channel.ErrBadRequest.With("the engine needs a network")
	}
	o = o.withDefaults()
	if token(o.Prefix) != o.Prefix {
		return nil, channel.ErrBadRequest.With("the prefix of subjects may hold printable ASCII without blanks, \".\", \"*\", \">\" and \"%\" only")
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	e := &Engine{options: o, conn: o.Network.Conn(), js: o.Network.JetStream(), stop: make(chan struct{})}
	e.origin = max(binary.BigEndian.Uint64(seed[:]), 1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.streams = newStreams(e)
	e.feeds = newFeeds(e)
	e.fetcher = newFetcher(e.conn)
	e.flights = newFlights(e)
	e.breeze = newBreeze(e)
	e.watches = newWatches(e)
	e.books = newBooks(e)
	e.life = newLives(e)
	e.keeper = newKeeper(e)
	e.options.Logger = e.options.Logger.With(observe.KeyComponent, "jetstream")
	return e, nil
}

// Start begins delivery to s. It returns when the streams of
// Options.Namespaces are there.
func (e *Engine) Start(ctx context.Context, s channel.Sink) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if s == nil {
		return channel.ErrBadRequest.With("the engine needs a sink to deliver to")
	}
	if err := e.calls.start(); err != nil {
		return err
	}
	e.sink = s
	if err := e.fetcher.start(); err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	e.feeds.start()
	if e.options.Alone {
		if err := e.life.resume(ctx); err != nil {
			return channel.ErrUnavailable.With("how the node was stopped cannot be read").Wrap(err)
		}
	}
	for _, p := range e.options.Namespaces {
		if err := e.admit(p); err != nil {
			return err
		}
		if fleeting(p) {
			continue
		}
		if err := e.await(ctx, p); err != nil {
			return err
		}
	}
	if err := e.keeper.start(); err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	e.work.Go(e.books.run)
	e.calls.open()
	return nil
}

// await returns when the stream of a policy is there. A cluster that starts may
// take longer to elect who leads it than a publish may wait. What is bound to
// the memory of the servers may need all of them after they were all down, as
// none has anything to show for itself: the others are not kept waiting for it.
func (e *Engine) await(ctx context.Context, p *channel.Policy) error {
	for {
		_, err := e.streams.of(ctx, p, true)
		told, ok := errors.AsType[*channel.Error](err)
		if err == nil || !ok || !told.Temporary || ctx.Err() != nil || e.ctx.Err() != nil {
			return err
		}
		if p.Durability != channel.DurabilitySync {
			e.options.Logger.Warn("a namespace cannot be served yet; after all nodes were down it may need all of them back", observe.KeyNamespace, p.Namespace, observe.KeyErr, err)
			return nil
		}
		e.options.Logger.Info("waiting for the stream of a namespace", observe.KeyNamespace, p.Namespace, observe.KeyErr, err)
	}
}

// Caps says what this engine can do.
func (e *Engine) Caps() channel.Caps {
	c := channel.Caps{Durable: channel.DurabilityAsync, State: true, MultiNode: true}
	if e.options.Synced {
		c.Durable = channel.DurabilitySync
	}
	return c
}

// Close ends the engine. Publishes under way are waited for; when ctx ends
// before they do, they are told that their outcome is unknown.
func (e *Engine) Close(ctx context.Context) error {
	idle, started := e.calls.close()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = channel.ErrUnavailable.With("the engine was closed before it was idle").Wrap(ctx.Err())
	}
	if started && err == nil && e.options.Alone {
		if err := e.life.testify(ctx); err != nil {
			e.options.Logger.Warn("that the node stops could not be written down; channels of durability async will begin a new epoch", observe.KeyErr, err)
		}
	}
	e.cancel()
	<-idle
	if started {
		e.keeper.mute()
		close(e.stop)
		e.work.Wait()
		e.watches.close()
		e.feeds.close()
		e.fetcher.close()
	}
	return err
}

// calls counts the calls under way, and lets none in before start and after
// close.
type calls struct {
	mu struct {
		sync.Mutex
		phase phase
		n     int
		idle  chan struct{}
	}
}

type phase uint8

// The phases of an engine's life.
const (
	phaseNew phase = iota
	phaseStarting
	phaseRunning
	phaseClosed
)

func (c *calls) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.phase != phaseNew {
		return channel.ErrBadRequest.With("the engine was started or closed before; make a new one")
	}
	c.mu.phase = phaseStarting
	return nil
}

func (c *calls) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.phase == phaseStarting {
		c.mu.phase = phaseRunning
	}
}

// begin lets a call in, which calls end when it is over.
func (c *calls) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.mu.phase {
	case phaseRunning:
		c.mu.n++
		return nil
	case phaseClosed:
		return channel.ErrUnavailable.With("it is closed")
	default:
		return channel.ErrUnavailable.With("it has not been started yet")
	}
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.n--
	if c.mu.n == 0 && c.mu.idle != nil {
		close(c.mu.idle)
	}
}

// close lets nobody in any more. The channel it returns closes when nobody is
// in. started says that this is the first close of an engine that was started.
func (c *calls) close() (idle <-chan struct{}, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	started = c.mu.phase == phaseRunning || c.mu.phase == phaseStarting
	c.mu.phase = phaseClosed
	if c.mu.idle == nil {
		c.mu.idle = make(chan struct{})
		if c.mu.n == 0 {
			close(c.mu.idle)
		}
	}
	return c.mu.idle, started
}

// admit returns nil for policies that this engine can keep.
func (e *Engine) admit(p *channel.Policy) error {
	switch {
	case p == nil:
		return channel.ErrBadRequest.With("the request has no policy; the engine needs that of the namespace")
	case p.Kind != channel.KindLog && p.Kind != channel.KindState:
		return channel.ErrUnsupported.With("this engine keeps no channels of that kind")
	case p.Durability > e.Caps().Durable:
		return channel.ErrUnsupported.With("the NATS servers do not fsync every write, so this engine promises at most durability async")
	}
	return nil
}

// enter is the beginning of every call.
func (e *Engine) enter(ctx context.Context, name string, p *channel.Policy) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if err := channel.CheckName(name); err != nil {
		return err
	}
	if err := e.admit(p); err != nil {
		return err
	}
	return e.calls.begin()
}

// alive returns nil unless ctx is over.
func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return channel.ErrUnavailable.With("the request was given up before it began").Wrap(err)
	}
	return nil
}

// fleeting reports whether nothing is kept of the channels of a policy.
func fleeting(p *channel.Policy) bool { return p.Kind == channel.KindLog && p.HistorySize == 0 }

// within returns a context that ends with ctx, with the engine, and after the
// time that any request may take.
func (e *Engine) within(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithTimeout(ctx, e.options.PublishTimeout)
	stop := context.AfterFunc(e.ctx, cancel)
	return inner, func() { stop(); cancel() }
}

// wait waits before another attempt and returns how long to wait the next
// time, or an error when ctx is over.
func wait(ctx context.Context, pause time.Duration) (time.Duration, error) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return min(2*pause, maxPause), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// warn tells the operator what went wrong with a stream, and will be tried
// again.
func (e *Engine) warn(what string, s *stream, err error) {
	if e.ctx.Err() == nil {
		e.options.Logger.Warn("something has to be tried again", observe.KeyReason, what, observe.KeyNamespace, s.key.namespace, observe.KeyErr, err)
	}
}

// Between two attempts of a request passes minPause, then twice as much, up to
// maxPause.
const (
	minPause = 5 * time.Millisecond
	maxPause = 250 * time.Millisecond
)
