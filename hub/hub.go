package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// Hub holds the sessions and topics of one node. It is the Sink of its engine.
type Hub struct {
	opts    Options
	engine  channel.Engine
	metrics *observe.Hub
	shards  []*shard
	topics  topicTable
	repairs repairs
	growing growing
	pacer   pacer
	cluster *cluster   // nil on a node alone
	life    *lifecycle // nil where nobody wants to know
	began   time.Time
	clients registry
	quotas  *quotas
	// patterns is nil where no namespace has any.
	patterns *patterns
	// departed is who left last.
	departed departed
	bans     *bans // nil where nobody is ever kept out
	tails    tails

	nextShard   atomic.Uint32
	topicIDs    atomic.Int64
	connections atomic.Int64
	// stateBytes is about what the copies of the entries of state channels
	// take, pagings how many snapshots are being read.
	stateBytes atomic.Int64
	pagings    atomic.Int64
	leases     leases
	presence   *presenceMaps
	draining   atomic.Bool

	// ctx ends when the hub closes; tasks are the goroutines that the hub has
	// started beside its shards, each bounded in time by ctx.
	ctx   context.Context
	stop  context.CancelFunc
	tasks taskGroup
	loops sync.WaitGroup
}

// New returns a running Hub. It starts neither the engine nor the bus: their
// owner calls engine.Start(ctx, hub), and starts the bus, before the first
// session opens.
func New(o Options) *Hub {
	o = o.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	h := &Hub{opts: o, engine: o.Engine, metrics: o.Metrics.Hub(), began: time.Now(), ctx: ctx, stop: stop}
	h.topics.init()
	h.clients.init()
	h.quotas = newQuotas(h)
	h.bans = newBans(h, o.Bans)
	h.patterns = newPatterns(h)
	h.presence = newPresenceMaps(h)
	if o.Lifecycle != nil {
		h.life = newLifecycle(h, *o.Lifecycle)
	}
	for i := range o.Shards {
		s := newShard(h, i)
		h.shards = append(h.shards, s)
		h.loops.Go(s.run)
	}
	h.loops.Go(h.keep)
	if o.Bus != nil {
		h.cluster = newCluster(h, o.Bus)
		h.loops.Go(h.cluster.herald)
		h.loops.Go(h.cluster.follow)
		h.loops.Go(h.quotas.tell)
	}
	if h.life != nil {
		h.loops.Go(h.life.run)
	}
	if h.presence.offered {
		h.loops.Go(h.presence.run)
	}
	return h
}

// Node returns the id of this node.
func (h *Hub) Node() string { return h.opts.Node }

// now is the time for meters, which want one that does not jump.
func (h *Hub) now() time.Duration { return time.Since(h.began) }

// Limits returns the limits in force.
func (h *Hub) Limits() Limits { return h.opts.Limits }

// Options returns the options in force, defaults filled in.
func (h *Hub) Options() Options { return h.opts }

// Connections returns how many sessions are open.
func (h *Hub) Connections() int { return int(h.connections.Load()) }

// Namespace returns the namespace of a channel, or ErrUnknownChannel.
func (h *Hub) Namespace(name string) (*Namespace, error) {
	if err := channel.CheckName(name); err != nil {
		return nil, err
	}
	ns := channel.Namespace(name)
	if n, ok := h.opts.Namespaces[ns]; ok {
		if h.patterns.claims(n, name) {
			return nil, errPattern(name)
		}
		return n, nil
	}
	return nil, channel.ErrUnknownChannel.With("namespace \"" + ns + "\" is not configured")
}

// Close disconnects every session and stops the shards, once every client has
// taken its goodbye or has had 5 s for it. Sessions that are to go one by one
// are drained before, see Drain. It closes neither the engine nor the bus, which
// may be closed once it has returned.
func (h *Hub) Close() {
	h.draining.Store(true)
	h.stop()
	for _, s := range h.clients.close() {
		s.Close(DisconnectShutdown)
	}
	<-h.clients.empty
	if h.life != nil {
		h.life.end()
	}
	for _, s := range h.shards {
		s.push(message{kind: msgStop})
	}
	h.loops.Wait()
	h.tasks.close()
	if h.cluster != nil {
		h.cluster.flush(false)
	}
}

// task runs fn in a goroutine that Close waits for. After Close it does not:
// there is nobody left whom it could matter to.
func (h *Hub) task(fn func()) { h.tasks.run(fn) }

// taskGroup is goroutines that somebody waits for.
type taskGroup struct {
	mu struct {
		sync.Mutex
		closed bool
	}
	running sync.WaitGroup
}

func (g *taskGroup) run(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.closed {
		g.running.Go(fn)
	}
}

// close lets no more begin and waits for those that have.
func (g *taskGroup) close() {
	g.mu.Lock()
	g.mu.closed = true
	g.mu.Unlock()
	g.running.Wait()
}
