package consumer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

// Bounds of a worker.
const (
	// lazySave is how long a delivery may go unrecorded: after a crash some may
	// come once more than they should.
	lazySave = time.Second
	// look is how often a worker reads its channel and record although nobody
	// said that there is anything new.
	look = 30 * time.Second
	// retryPause is how long it waits after an error of the engine.
	retryPause = time.Second
	// callTimeout is how long one call of the engine or of another node may take.
	callTimeout = 5 * time.Second
	// silence is after how long without a word the seats of another node are
	// taken for gone.
	silence = 10 * time.Second
	// pageSize is how many publications are read at a time.
	pageSize = 256
)

// worker owns one consumer. Its goroutine alone touches the fields below done.
type worker struct {
	m      *Manager
	full   string
	name   string
	source string
	ns     *hub.Namespace
	count  *observe.Consumers
	key    []byte

	inbox struct {
		sync.Mutex
		queue  []func(now time.Time)
		closed bool
	}
	wake  chan struct{}
	poked atomic.Bool
	// pending, unacked and oldest are for the metrics.
	pending, unacked, oldest atomic.Int64
	done                     chan struct{}

	ledger  ledger
	notes   notes
	created int64
	untap   func()
	top     channel.Position
	// behind: the channel may hold more than has been taken.
	behind bool
	looked time.Time

	// record is where the record is. urgent: it has to be written now; saved
	// is when it was. again is a write whose outcome is not known.
	record  uint64
	urgent  bool
	saved   time.Time
	again   *attempt
	waiters []func(error)
	told    Counts

	// heard is when each node last said who sits there, busy which are being
	// handed something.
	heard map[string]time.Time
	busy  map[string]bool
	// people are those who sit there.
	people map[seat]person
	over   bool
}

// attempt is one write of the record.
type attempt struct {
	id   string
	data []byte
}

func newWorker(m *Manager, full string, rec *record, at uint64) (*worker, error) {
	name, source, err := parse(full)
	if err != nil {
		return nil, err
	}
	ns, err := m.hub.Namespace(source)
	if err != nil {
		return nil, err
	}
	w := &worker{
		m: m, full: full, name: name, source: source, ns: ns, count: m.metrics.Consumers(ns.Policy.Namespace),
		wake: make(chan struct{}, 1), done: make(chan struct{}), created: rec.Created, behind: true, record: at,
		looked: time.Now(), saved: time.Now(), told: rec.Counts,
		heard: make(map[string]time.Time), busy: make(map[string]bool), people: make(map[seat]person),
		notes: notes{began: rec.Began, given: rec.GivenUp, forgotten: rec.Forgotten},
	}
	w.ledger = ledger{set: rec.Settings.withDefaults(), epoch: rec.Epoch, next: rec.Next, counts: rec.Counts}
	for _, p := range rec.Pending {
		w.ledger.entries = append(w.ledger.entries, &entry{offset: p[0], attempts: int(p[1])})
	}
	return w, nil
}

// errMoved answers those who wait for a worker that has stopped.
func errMoved() error {
	return channel.ErrUnavailable.With("the consumer moves to another node; try again")
}

// push has the worker do something.
func (w *worker) push(do func(now time.Time)) error {
	w.inbox.Lock()
	defer w.inbox.Unlock()
	if w.inbox.closed {
		return errMoved()
	}
	w.inbox.queue = append(w.inbox.queue, do)
	w.poke()
	return nil
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// hear is the worker's tap: there may be something new.
func (w *worker) hear() {
	if !w.poked.Swap(true) {
		w.poke()
	}
}

// ask has the worker do something and returns what it came to; where keep says
// so once that is kept.
func (w *worker) ask(ctx context.Context, keep bool, do func(now time.Time) (any, error)) (any, error) {
	type answer struct {
		out any
		err error
	}
	answered := make(chan answer, 1)
	err := w.push(func(now time.Time) {
		out, err := do(now)
		if err != nil || !keep || (!w.ledger.changed && w.again == nil) {
			answered <- answer{out, err}
			return
		}
		w.waiters = append(w.waiters, func(err error) { answered <- answer{out, err} })
	})
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answered:
		return a.out, a.err
	case <-w.done:
		select {
		case a := <-answered:
			return a.out, a.err
		default:
			return nil, errMoved()
		}
	case <-ctx.Done():
		return nil, channel.ErrUnavailable.Wrap(ctx.Err())
	}
}

// run works until the consumer is another's, or is no more, or the manager
// closes.
func (w *worker) run(ctx context.Context) {
	defer w.finish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !w.over {
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		for _, do := range w.work() {
			do(time.Now())
		}
		timer.Reset(w.step(ctx))
	}
}

func (w *worker) work() []func(time.Time) {
	w.inbox.Lock()
	defer w.inbox.Unlock()
	q := w.inbox.queue
	w.inbox.queue = nil
	return q
}

// step does all that there is to do now and returns when to look again.
func (w *worker) step(ctx context.Context) time.Duration {
	now := time.Now()
	w.forget(now)
	err := w.watch(ctx, now)
	if !w.over {
		err = errors.Join(err, w.advance(ctx))
		// The engine may have taken its time: what has been said since the inbox
		// was read counts before it is too late, and what has just been taken may
		// be of no use any more.
		w.ledger.tick(now, time.Now())
		err = errors.Join(err, w.bury(ctx, now))
		w.deliver(ctx, time.Now())
		err = errors.Join(err, w.save(ctx, now))
	}
	w.measure()
	if err != nil && ctx.Err() == nil {
		w.m.log.Warn("a consumer waits for the engine", observe.KeyNamespace, w.ns.Policy.Namespace, observe.KeyErr, err)
		return retryPause
	}
	rest := look
	if at := w.ledger.wake(now); !at.IsZero() {
		rest = min(rest, time.Until(at))
	}
	if w.ledger.changed {
		rest = min(rest, time.Until(w.saved.Add(lazySave)))
	}
	return max(rest, time.Millisecond)
}

// watch listens to the channel, and looks now and then whether the consumer is
// still this node's.
func (w *worker) watch(ctx context.Context, now time.Time) error {
	if w.untap == nil {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		stop, err := w.m.hub.Tap(ctx, w.source, w.hear)
		if err != nil {
			return err
		}
		w.untap, w.behind = stop, true
	}
	if now.Sub(w.looked) < look {
		return nil
	}
	w.looked, w.behind = now, true
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rec, at, err := w.m.registry.read(ctx, w.full)
	switch {
	case errors.Is(err, channel.ErrUnknownChannel):
		w.over = true
	case err != nil:
		return err
	case at != w.record && w.again == nil && rec.Owner != w.m.self:
		w.over = true
	}
	return nil
}

// finish gives the consumer back.
func (w *worker) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if w.untap != nil {
		w.untap()
	}
	w.inbox.Lock()
	w.inbox.closed = true
	w.inbox.queue = nil
	w.inbox.Unlock()
	if !w.over {
		var err error
		if w.again != nil {
			err = w.write(ctx, owner{})
		}
		if err == nil {
			_ = w.write(ctx, owner{}) // who is not told so sees that this node is gone
		}
	}
	w.answer(errMoved())
	w.m.gone(w)
	close(w.done)
}

// measure says for the metrics how much there is to do, and what was done.
func (w *worker) measure() {
	w.pending.Store(int64(len(w.ledger.entries)))
	w.unacked.Store(int64(w.ledger.outstanding()))
	w.oldest.Store(w.ledger.oldest())
	n := w.ledger.counts
	w.count.Acked.Add(int64(n.Acked - w.told.Acked))
	w.count.Redelivered.Add(int64(n.Redelivered - w.told.Redelivered))
	w.count.DeadLettered.Add(int64(n.DeadLettered - w.told.DeadLettered))
	w.count.Expired.Add(int64(n.Expired - w.told.Expired))
	w.count.Lost.Add(int64(n.Lost - w.told.Lost))
	w.told = n
}
