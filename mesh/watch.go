package mesh

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/observe"
)

const (
	// routeLook is how often the connections between nodes are looked at.
	routeLook = time.Second
	// settleTime is how long after the last change between nodes a second
	// disturbance is told: by then the nodes know what each other listens to.
	settleTime = 2 * time.Second
	// maxDisturbances is how many disturbances wait to be told. Of more, one
	// that stands for all of them is.
	maxDisturbances = 256
)

// Cause is what happened in a disturbance.
type Cause string

// The causes.
const (
	// CauseDisconnected: the connection to the server was lost.
	CauseDisconnected Cause = "disconnected"
	// CauseReconnected: it is there again, with all its subscriptions.
	CauseReconnected Cause = "reconnected"
	// CauseSlow: what came for a subscription was dropped, because it was not
	// taken in time.
	CauseSlow Cause = "slow"
	// CauseRoutes: a connection between embedded servers was lost or made, or
	// was made a moment ago and has settled.
	CauseRoutes Cause = "routes"
	// CauseMany: there was too much to be told one by one.
	CauseMany Cause = "many"
)

// Disturbance is a moment around which messages may have been lost.
type Disturbance struct {
	Cause Cause
	// Conn is the connection concerned; nil stands for all.
	Conn *nats.Conn
	// Subscription is the one concerned; nil stands for all of Conn.
	Subscription *nats.Subscription
}

// watch notices what goes wrong and tells who wants to know.
type watch struct {
	n      *Network
	events chan Disturbance
	missed atomic.Bool
	poked  chan struct{}
	health atomic.Pointer[condition]
	caught atomic.Bool
	damage atomic.Pointer[condition] // nil for none
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     struct {
		sync.Mutex
		listeners map[int]func(Disturbance)
		next      int
	}
}

func newWatch(n *Network) *watch {
	w := &watch{n: n, events: make(chan Disturbance, maxDisturbances), poked: make(chan struct{}, 1)}
	w.mu.listeners = make(map[int]func(Disturbance))
	w.health.Store(&condition{errStarting})
	return w
}

// Watch has fn called for every disturbance from now on, one at a time, until
// stop is called. fn must not block. Who feeds on messages cannot know what it
// missed around a disturbance, and has to look.
func (n *Network) Watch(fn func(Disturbance)) (stop func()) {
	w := n.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.mu.next
	w.mu.next++
	w.mu.listeners[id] = fn
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.mu.listeners, id)
	}
}

// handlers returns the options that make a connection tell its troubles.
func (w *watch) handlers() []nats.Option {
	log := w.n.options.Logger.With(observe.KeyComponent, "mesh")
	return []nats.Option{
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) {
			if w.n.closed.Load() {
				return
			}
			log.Warn("the connection to the NATS server was lost", observe.KeyErr, err)
			w.tell(Disturbance{Cause: CauseDisconnected, Conn: c})
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("connected to the NATS server again", observe.KeyURL, c.ConnectedUrlRedacted())
			w.tell(Disturbance{Cause: CauseReconnected, Conn: c})
		}),
		nats.ErrorHandler(func(c *nats.Conn, s *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) {
				log.Warn("the NATS server complains", observe.KeyErr, err)
				return
			}
			w.n.options.Metrics.Limit(observe.LimitMeshPending).Add(1)
			w.tell(Disturbance{Cause: CauseSlow, Conn: c, Subscription: s})
		}),
	}
}

// tell queues a disturbance.
func (w *watch) tell(d Disturbance) {
	select {
	case w.events <- d:
	default:
		w.missed.Store(true)
	}
}

// poke has the connections between nodes looked at now.
func (w *watch) poke() {
	select {
	case w.poked <- struct{}{}:
	default:
	}
}

func (w *watch) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	if e := w.n.embedded; e != nil {
		poke := w.poke
		e.voice.poke.Store(&poke)
	}
	w.wg.Go(func() { w.run(ctx) })
	w.wg.Go(func() { w.examine(ctx) })
	if w.n.options.scrubs() {
		w.wg.Go(func() { w.scrub(ctx) })
	}
}

func (w *watch) stop() {
	if w.cancel != nil {
		w.cancel()
	}
	w.wg.Wait()
}

// run tells disturbances and looks for those between nodes.
func (w *watch) run(ctx context.Context) {
	look := time.NewTicker(routeLook)
	defer look.Stop()
	settled := time.NewTimer(settleTime)
	settled.Stop()
	defer settled.Stop()
	known := w.n.routes()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-w.events:
			w.publish(d)
			if w.missed.Swap(false) {
				w.publish(Disturbance{Cause: CauseMany})
			}
			continue
		case <-settled.C:
			w.publish(Disturbance{Cause: CauseRoutes})
			continue
		case <-look.C:
		case <-w.poked:
		}
		now := w.n.routes()
		if maps.Equal(known, now) {
			continue
		}
		known = now
		w.publish(Disturbance{Cause: CauseRoutes})
		settled.Reset(settleTime)
	}
}

// publish calls the listeners.
func (w *watch) publish(d Disturbance) {
	w.mu.Lock()
	listeners := maps.Clone(w.mu.listeners)
	w.mu.Unlock()
	for _, fn := range listeners {
		fn(d)
	}
}

// routes returns the name of the peer of each connection between nodes.
func (n *Network) routes() map[uint64]string {
	if n.embedded == nil || !n.options.clustered() {
		return nil
	}
	state, err := n.embedded.Routez(nil)
	if err != nil {
		return nil
	}
	all := make(map[uint64]string, len(state.Routes))
	for _, r := range state.Routes {
		all[r.Rid] = r.RemoteName
	}
	return all
}
