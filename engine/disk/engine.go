package disk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
)

// Engine keeps channels on disk. Make one with Open.
type Engine struct {
	options Options
	log     *slog.Logger
	clock   clock
	seed    maphash.Seed
	phase   atomic.Int32
	// calls is how many calls are in the engine; idle hears when the last one
	// leaves a closed one.
	calls atomic.Int64
	idle  chan struct{}
	// sink is set before phase says that the engine runs.
	sink   channel.Sink
	shards [shards]shard

	home   *home
	health *health
	memory *store
	gate   gate
	// guard, disk and ledger belong together. They change while the engine is
	// mended, when nobody else is in it.
	guard  *guard
	disk   *store
	ledger *ledger

	watches channel.Watches
	sweeper *sweeper
	flusher *flusher
	mender  *mender
	// closed hears how Close ended; it is for one goroutine to do it.
	closing chan struct{}
	closed  error

	channels atomic.Int64
}

var _ channel.Engine = (*Engine)(nil)

// The phases of an engine's life.
const (
	phaseNew = iota
	phaseRunning
	// phaseMending: calls wait.
	phaseMending
	phaseClosed
)

// Open opens the directory, or makes it, and returns an engine that waits for
// Start. An error says what is wrong with the directory and what to do; what
// is in it is not lost then.
func Open(o Options) (*Engine, error) { return openAs(o, knownFormats()) }

func openAs(o Options, known formats) (*Engine, error) {
	o = o.withDefaults()
	home, err := enterHome(o, known)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		options: o, log: o.Logger, seed: maphash.MakeSeed(), home: home, health: newHealth(o.Logger),
		idle: make(chan struct{}, 1), closing: make(chan struct{}), sweeper: newSweeper(), flusher: newFlusher(),
		mender: newMender(),
	}
	e.gate.maxCount, e.gate.maxBytes = o.MaxInFlight, o.MaxInFlightBytes
	opened, err := e.openDisk()
	if err != nil {
		return nil, errors.Join(err, home.lock.Close())
	}
	last, err := opened.store.header(headerClock)
	if err == nil {
		e.clock = newClock(int64(min(last, uint64(never))))
		e.memory, err = openMemory(e.options)
	}
	if err != nil {
		opened.guard.armed.Store(false)
		return nil, errors.Join(home.damaged(err), opened.store.db.Close(), home.lock.Close())
	}
	e.use(opened)
	return e, nil
}

// database is one that was opened, and what stands around it.
type database struct {
	store *store
	guard *guard
}

// openDisk opens the database on disk and has it take note of how it was left.
// What makes it give up is an error here, and so is what it would try, or wait
// for, for ever: then its goroutine is left behind.
func (e *Engine) openDisk() (database, error) {
	h := e.home
	guard := newGuard(h.fs, e.health, h.witness, h.fs.PathJoin(h.path, databaseDir))
	type opened struct {
		store *store
		err   error
	}
	done := make(chan opened, 1)
	go func() {
		o := opened{err: h.damaged(errors.New("the database gave up"))}
		defer func() {
			if why := recover(); why != nil {
				o.err = h.damaged(fmt.Errorf("the database gave up: %v", why))
			}
			done <- o
		}()
		o.store, o.err = h.openStore(e.options, guard)
	}()
	var o opened
	select {
	case o = <-done:
	case err := <-guard.stuck:
		o.err = h.damaged(err)
	}
	if o.err != nil {
		guard.abandon()
		return database{}, o.err
	}
	guard.armed.Store(true)
	return database{o.store, guard}, nil
}

// use makes a database the one of the engine.
func (e *Engine) use(d database) {
	e.disk, e.guard = d.store, d.guard
	e.ledger = newLedger(d.store, d.guard, e.tell)
	go d.guard.witness.loop(func(err error) {
		e.log.Warn("the witness of the logs could not be written; damage to them may go unnoticed", "err", err)
	})
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
		return errStarted
	}
	e.sink = s
	if !e.phase.CompareAndSwap(phaseNew, phaseRunning) {
		return errStarted
	}
	go e.sweepLoop() //nolint:gosec // ctx bounds the start only
	go e.flushLoop() //nolint:gosec // as above
	go e.mendLoop()
	return nil
}

var errStarted = channel.ErrBadRequest.With("the engine was started or closed before; open another one")

// begin lets a call in. Every call that was let in ends with end. While the
// engine is mended it waits.
func (e *Engine) begin(ctx context.Context) error {
	for {
		if err := alive(ctx); err != nil {
			return err
		}
		e.calls.Add(1)
		phase := e.phase.Load()
		if phase == phaseRunning {
			return nil
		}
		e.end()
		if phase != phaseMending {
			return e.running()
		}
		select {
		case <-e.mender.mended():
		case <-ctx.Done():
		}
	}
}

func (e *Engine) end() {
	if e.calls.Add(-1) == 0 && e.phase.Load() >= phaseMending {
		select {
		case e.idle <- struct{}{}:
		default:
		}
	}
}

// Subscribe begins delivery of a channel and returns its top.
func (e *Engine) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if err := e.begin(ctx); err != nil {
		return channel.Position{}, err
	}
	defer e.end()
	b, err := e.open(name, p, true)
	if err != nil {
		return channel.Position{}, err
	}
	defer e.leave(b)
	b.mu.subscribed = true
	return b.position(), nil
}

// Unsubscribe ends delivery of a channel. Nothing of it arrives after that.
func (e *Engine) Unsubscribe(name string) {
	if e.begin(context.Background()) != nil {
		return
	}
	defer e.end()
	s := e.shard(name)
	b := s.find(name)
	if b == nil {
		return
	}
	b.mu.Lock()
	if b.mu.dead || !b.mu.subscribed {
		b.mu.Unlock()
		return
	}
	b.mu.subscribed = false
	if b.mu.store != nil {
		e.leave(b)
		return
	}
	e.bury(b)
	b.mu.Unlock()
}

// Caps says what this engine can do: everything on one node.
func (e *Engine) Caps() channel.Caps {
	return channel.Caps{Dense: true, Durable: channel.DurabilitySync, State: true}
}

// Healthy returns nil while the disk takes writes, else what is wrong with it.
// What is kept can be read all the same.
func (e *Engine) Healthy() error { return e.health.err() }

// Close ends the engine: what was accepted is written, told and flushed. When
// it returns nil nothing is delivered any more, and every later call is
// refused with ErrUnavailable. Closing again is no error. Where ctx is over
// first, the closing goes on behind the error.
func (e *Engine) Close(ctx context.Context) error {
	if was := e.phase.Swap(phaseClosed); was != phaseClosed {
		go func() {
			defer close(e.closing)
			e.closed = e.close(was)
		}()
	}
	select {
	case <-e.closing:
		return e.closed
	case <-ctx.Done():
		return channel.ErrUnavailable.With("it is still closing").Wrap(ctx.Err())
	}
}

// close does the work of Close.
func (e *Engine) close(was int32) error {
	if was != phaseNew {
		close(e.mender.stop)
		<-e.mender.done
	}
	for e.calls.Load() != 0 {
		<-e.idle
	}
	if was != phaseNew {
		close(e.sweeper.stop)
		close(e.flusher.stop)
		<-e.sweeper.done
		<-e.flusher.done
	}
	ill := e.health.ill()
	err := e.health.err()
	if err == nil {
		err = e.flushAll()
	}
	e.ledger.close()
	stopped := func(what chan struct{}) bool {
		select {
		case <-what:
			return true
		case <-ill:
			return false
		}
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		e.guard.copies.Wait()
	}()
	down := stopped(copied) && stopped(e.ledger.scribe) && stopped(e.ledger.herald)
	for i := range e.shards {
		e.closeShard(&e.shards[i])
	}
	err = errors.Join(err, e.memory.db.Close())
	e.guard.witness.dismiss()
	<-e.guard.witness.done
	if !down || e.health.err() != nil {
		// The database is in the middle of a write that may never end. It is
		// left as it is, as after a crash.
		e.guard.abandon()
		select {
		case <-e.guard.quiet:
			err = errors.Join(err, e.home.lock.Close())
		default:
			// Until the write ends nobody else may come in.
		}
		return channel.ErrUnavailable.With("what was acknowledged is safe, but the disk cannot be left in order").
			Wrap(errors.Join(err, e.health.err()))
	}
	err = errors.Join(err, e.disk.db.Flush(), e.disk.db.Close(), e.guard.witness.testify(), e.home.lock.Close())
	if err != nil {
		return channel.ErrUnavailable.With("the disk was not left in order").Wrap(err)
	}
	return nil
}

// closeShard ends all books of a shard.
func (e *Engine) closeShard(s *shard) {
	s.mu.Lock()
	books := s.mu.books
	s.mu.books = nil
	s.mu.Unlock()
	for _, b := range books {
		b.mu.Lock()
		b.mu.dead = true
		b.mu.Unlock()
	}
}

// running returns nil between Start and Close.
func (e *Engine) running() error {
	switch e.phase.Load() {
	case phaseRunning, phaseMending:
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

// failed returns what to tell callers of an error of the database.
func (e *Engine) failed(name string, err error) error {
	if told, ok := errors.AsType[*channel.Error](err); ok {
		return told
	}
	e.log.Error("a channel cannot be read", "channel", name, "err", err)
	return channel.ErrUnavailable.With("what is kept of the channel cannot be read; restore it from a backup, or remove the channel").Wrap(err)
}

func conflict(key string, want, have uint64) error {
	err := channel.ErrConflict.With(fmt.Sprintf("key %q is at offset %d, not at %d", key, have, want))
	err.Current = have
	return err
}

func tooMany[N int | int64](what string, limit N) string {
	return fmt.Sprintf("at most %d %s are allowed", limit, what)
}

var _ vfs.FS = (*guard)(nil)
