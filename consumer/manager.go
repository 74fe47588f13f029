package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

// The topics of consumers on the bus.
const (
	topicCall = "consumer.call"
	topicHand = "consumer.hand"
)

const (
	// beat is how often gauges are set and other nodes looked at.
	beat = time.Second
	// adoptEvery is how often this node looks for consumers that nobody works,
	// although no node has gone.
	adoptEvery = time.Minute
	// tries is how often a node tries to own a consumer that others want, too.
	tries = 5
)

// Limits are how many consumers there may be. Zero takes the default.
type Limits struct {
	// Consumers in all, 10,000.
	Consumers int
	// PerChannel is how many one channel may have, 100.
	PerChannel int
	// PerUser is how many the clients of one user may make, 1,000. All anonymous
	// clients are one user.
	PerUser int
}

// Options is what a Manager is made of. Policy is required.
type Options struct {
	// Policy is that of the records, of a state namespace.
	Policy *channel.Policy
	// Rules are those of the namespaces by name; the rest has DefaultRules.
	Rules   map[string]Rules
	Limits  Limits
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Manager has the consumers of one node. It is the hub.Gate of [Namespace].
type Manager struct {
	opts     Options
	limits   Limits
	metrics  *observe.Metrics
	log      *slog.Logger
	hub      *hub.Hub
	engine   channel.Engine
	bus      channel.Bus // nil on a node alone
	registry registry
	// self is this run of this node.
	self   owner
	writes atomic.Uint64
	census census

	ctx  context.Context
	stop context.CancelFunc

	mu struct {
		sync.Mutex
		// ready: the engine has been started.
		ready bool
		// key is what tokens are signed with; nil before the first one.
		key     []byte
		closed  bool
		workers map[string]*worker
		// opening are the names that somebody is reading the record of.
		opening map[string]chan struct{}
		posts   map[string]*post
		seats   uint64
	}
	running sync.WaitGroup
}

// New returns a Manager. It does nothing before Attach and Start.
func New(o Options) *Manager {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{opts: o, limits: o.Limits, metrics: o.Metrics, log: o.Logger}
	if m.limits.Consumers <= 0 {
		m.limits.Consumers = 10_000
	}
	if m.limits.PerChannel <= 0 {
		m.limits.PerChannel = 100
	}
	if m.limits.PerUser <= 0 {
		m.limits.PerUser = 1000
	}
	m.census.turn = make(chan struct{}, 1)
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.mu.workers = make(map[string]*worker)
	m.mu.opening = make(map[string]chan struct{})
	m.mu.posts = make(map[string]*post)
	return m
}

// Attach gives the Manager its hub, before the hub's bus is started.
func (m *Manager) Attach(h *hub.Hub) {
	o := h.Options()
	m.hub, m.engine, m.bus = h, o.Engine, o.Bus
	m.registry = registry{o.Engine, m.opts.Policy}
	m.self = owner{Node: h.Node(), Incarnation: rand.Text()}
	if m.bus != nil {
		m.self.Incarnation = strconv.FormatUint(m.bus.Self().Incarnation, 10)
		m.bus.Answer(topicCall, m.answerCall)
		m.bus.Answer(topicHand, m.answerHand)
	}
}

// Start takes up what nobody works, once the engine has been started.
func (m *Manager) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed || m.mu.ready || !m.engine.Caps().State {
		return
	}
	m.mu.ready = true
	m.running.Go(m.keep)
}

// signing returns what tokens are signed with.
func (m *Manager) signing(ctx context.Context) ([]byte, error) {
	m.mu.Lock()
	key := m.mu.key
	m.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := m.registry.secret(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.key = key
	return key, nil
}

// Close gives all consumers back and returns when nothing is at work any more.
// It is called before the hub and the engine are closed.
func (m *Manager) Close() {
	m.mu.Lock()
	m.mu.closed = true
	m.mu.Unlock()
	m.stop()
	m.running.Wait()
}

// usable returns nil while there can be consumers.
func (m *Manager) usable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mu.closed:
		return channel.ErrUnavailable.With("the server is shutting down")
	case !m.mu.ready:
		return channel.ErrUnavailable.With("consumers are not there yet, try again")
	}
	return nil
}

// keep sets the gauges, and takes up consumers whose nodes are gone.
func (m *Manager) keep() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	peers, adopted, seen := "", time.Time{}, map[string]bool{}
	for {
		if now := m.peers(); now != peers || time.Since(adopted) >= adoptEvery {
			if m.adopt() == nil {
				peers, adopted = now, time.Now()
			}
		}
		m.measure(seen)
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
	}
}

// peers returns who is there, as text to compare.
func (m *Manager) peers() string {
	out := " "
	if m.bus == nil {
		return out
	}
	for _, n := range m.bus.Peers() {
		out += n.ID + ":" + strconv.FormatUint(n.Incarnation, 10) + " "
	}
	return out
}

// adopt takes up all consumers that nobody works.
func (m *Manager) adopt() error {
	ctx, cancel := context.WithTimeout(m.ctx, time.Minute)
	defer cancel()
	names, err := m.registry.all(ctx)
	if err != nil {
		return err
	}
	for _, full := range names {
		if _, _, err := m.find(ctx, full); err != nil && ctx.Err() == nil {
			m.log.Debug("a consumer was not taken up", observe.KeyErr, err)
		}
	}
	return ctx.Err()
}

// alive reports whether the run of a node that owns something is there.
func (m *Manager) alive(o owner) bool {
	if m.bus == nil || o.Node == "" {
		return false
	}
	for _, n := range m.bus.Peers() {
		if n.ID == o.Node && strconv.FormatUint(n.Incarnation, 10) == o.Incarnation {
			return true
		}
	}
	return false
}

// find returns the worker of a consumer, or the node that has it. Where none
// has, this one takes it.
func (m *Manager) find(ctx context.Context, full string) (*worker, string, error) {
	for {
		m.mu.Lock()
		w, busy := m.mu.workers[full], m.mu.opening[full]
		switch {
		case m.mu.closed:
			m.mu.Unlock()
			return nil, "", channel.ErrUnavailable.With("the server is shutting down")
		case w != nil:
			m.mu.Unlock()
			return w, "", nil
		case busy == nil:
			done := make(chan struct{})
			m.mu.opening[full] = done
			m.mu.Unlock()
			w, node, err := m.open(ctx, full)
			m.mu.Lock()
			delete(m.mu.opening, full)
			m.mu.Unlock()
			close(done)
			return w, node, err
		}
		m.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, "", channel.ErrUnavailable.Wrap(ctx.Err())
		}
	}
}

// open reads a record, and takes the consumer where nobody has it.
func (m *Manager) open(ctx context.Context, full string) (*worker, string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range tries {
		rec, at, err := m.registry.read(ctx, full)
		if err != nil {
			return nil, "", err
		}
		if m.alive(rec.Owner) {
			return nil, rec.Owner.Node, nil
		}
		key, err := m.signing(ctx)
		if err != nil {
			return nil, "", err
		}
		w, err := newWorker(m, full, rec, at)
		if err != nil {
			return nil, "", err
		}
		w.key = key
		err = w.write(ctx, m.self)
		if errors.Is(err, channel.ErrConflict) || w.over {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		return w, "", m.employ(w)
	}
	return nil, "", errMoved()
}

// employ sets a worker to work.
func (m *Manager) employ(w *worker) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return errMoved()
	}
	m.mu.workers[w.full] = w
	m.running.Go(func() { w.run(m.ctx) })
	return nil
}

// gone forgets a worker that has stopped.
func (m *Manager) gone(w *worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.workers[w.full] == w {
		delete(m.mu.workers, w.full)
	}
	if p := m.mu.posts[w.full]; p != nil {
		p.poke()
	}
}

// measure sets the gauges of each namespace. seen holds those that have any.
func (m *Manager) measure(seen map[string]bool) {
	type sums struct{ consumers, pending, unacked, oldest int64 }
	all := make(map[string]*sums)
	for name := range seen {
		all[name] = new(sums)
	}
	m.mu.Lock()
	for _, w := range m.mu.workers {
		name := w.ns.Policy.Namespace
		seen[name] = true
		s := all[name]
		if s == nil {
			s = new(sums)
			all[name] = s
		}
		s.consumers++
		s.pending += w.pending.Load()
		s.unacked += w.unacked.Load()
		if at := w.oldest.Load(); at > 0 && (s.oldest == 0 || at < s.oldest) {
			s.oldest = at
		}
	}
	m.mu.Unlock()
	now := time.Now().UnixMilli()
	for name, s := range all {
		g := m.metrics.Consumers(name)
		g.Consumers.Set(s.consumers)
		g.Pending.Set(s.pending)
		g.Unacked.Set(s.unacked)
		age := int64(0)
		if s.oldest > 0 {
			age = max(now-s.oldest, 0) / 1000
		}
		g.OldestSeconds.Set(age)
	}
}
