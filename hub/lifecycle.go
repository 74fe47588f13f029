package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/observe"
	"myelin/roster"
)

// The names of lifecycle events. Lines are added, never changed.
const (
	LifeConnected    = "connected"
	LifeDisconnected = "disconnected"
	LifeSubscribed   = "subscribed"
	LifeUnsubscribed = "unsubscribed"
	// LifeOccupied and LifeVacated are of a channel as all nodes see it.
	LifeOccupied = "occupied"
	LifeVacated  = "vacated"
	// LifeNodeUp is the first word of a node's life, LifeNodeDown the last one
	// or what the others say of it. They are always told.
	LifeNodeUp   = "node_up"
	LifeNodeDown = "node_down"
	// LifeLost says that so many events are missing in this place.
	LifeLost = "lost"
)

// LifecycleEvents returns the events that can be chosen.
func LifecycleEvents() []string {
	return []string{LifeConnected, LifeDisconnected, LifeSubscribed, LifeUnsubscribed, LifeOccupied, LifeVacated}
}

// LifecycleEvent is one entry of the lifecycle channel.
type LifecycleEvent struct {
	Event string `json:"event"`
	// Time is Unix milliseconds by the clock of Node, which is where it
	// happened; for occupied and vacated it is the node that says so.
	Time    int64  `json:"time"`
	Node    string `json:"node"`
	Channel string `json:"channel,omitempty"`
	// Pattern: Channel is a pattern that a client is subscribed to. Patterns
	// are never occupied or vacated.
	Pattern bool   `json:"pattern,omitempty"`
	Client  string `json:"client,omitempty"`
	User    string `json:"user,omitempty"`
	// Code and Reason are those of the disconnect or unsubscribe; a code of 0
	// is the client's own wish.
	Code   uint32 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// By is the node that says that another one is down.
	By string `json:"by,omitempty"`
	// Again: it may have been told before, by a node that is gone.
	Again bool `json:"again,omitempty"`
	// Count is how many events were lost.
	Count int64 `json:"count,omitempty"`

	// heir is the node whose last words these are: they are said by the one
	// that claims them.
	heir string
}

// LifecycleBatch is the data of a publication of the lifecycle channel.
type LifecycleBatch struct {
	Events []LifecycleEvent `json:"events"`
}

// Lifecycle is what is told of who comes and goes, and where.
type Lifecycle struct {
	// Channel is in a system namespace with history.
	Channel string
	// Events are the names of those told. Namespaces are those whose channels
	// are told of; nil is all but those of the server itself.
	Events     []string
	Namespaces []string
	// VacatedAfter is how long a channel has to be empty before it is vacated:
	// who comes back within it was never away. 1 s by default.
	VacatedAfter time.Duration
	// Queue is how many events may wait for the engine, 100,000 by default.
	// What is more is lost, and told as lost.
	Queue int
}

const (
	// lifeBatch and lifeBatchBytes are how much one publication of the
	// lifecycle channel holds.
	lifeBatch      = 256
	lifeBatchBytes = 32 << 10
	// lifeRetry is the longest pause between two tries to publish.
	lifeRetry = 2 * time.Second
	// lifeFlush is how long the last events may take when the hub closes.
	lifeFlush = 3 * time.Second
	// lifeEntry is about how many bytes an event has beside its texts.
	lifeEntry = 160
	// sessionsRoom is where the roster keeps the sessions of other nodes, and
	// anybody the client id under which it keeps a channel that has subscribers.
	sessionsRoom = "$lifecycle:sessions"
	anybody      = "-"
	// reasonNodeDown is why sessions of a node that is gone have ended.
	reasonNodeDown = "node down"
)

// lifecycle tells who comes and goes. A hub that does not has none.
type lifecycle struct {
	hub *Hub
	o   Lifecycle
	// told are the events that are chosen.
	told map[string]bool
	wake chan struct{}
	// stop closes when nothing is added any more.
	stop chan struct{}
	once sync.Once
	// speaks: this node speaks for the cluster.
	speaks atomic.Bool
	limit  *observe.Counter
	policy *channel.Policy

	mu struct {
		sync.Mutex
		queue []LifecycleEvent
		lost  int64
		rooms rooms
	}

	// What follows is the goroutine's own. claims are the last words that
	// somebody else has said, pending is the batch that has been tried, under
	// the id that keeps it from being published twice.
	claims    map[string]bool
	pending   []LifecycleEvent
	pendingID string
}

func newLifecycle(h *Hub, o Lifecycle) *lifecycle {
	if o.VacatedAfter == 0 {
		o.VacatedAfter = time.Second
	}
	if o.Queue <= 0 {
		o.Queue = 100_000
	}
	l := &lifecycle{
		hub: h, o: o, told: make(map[string]bool), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		limit: h.opts.Metrics.Limit(observe.LimitLifecycleQueue), claims: make(map[string]bool),
	}
	for _, name := range o.Events {
		l.told[name] = true
	}
	l.mu.rooms.init()
	l.policy = h.opts.Namespaces[channel.Namespace(o.Channel)].Policy
	for name, ns := range h.opts.Namespaces {
		if ns.System {
			continue
		}
		ns.life = o.Namespaces == nil
		for _, chosen := range o.Namespaces {
			ns.life = ns.life || chosen == name
		}
	}
	h.patterns.tellOf(o.Namespaces)
	return l
}

// tellOf has the lifecycle told of the patterns of chosen namespaces, nil for
// all. That of everything is told of wherever one is that it reaches.
func (p *patterns) tellOf(chosen []string) {
	if p == nil {
		return
	}
	p.all.life = chosen == nil
	for _, s := range p.spaces {
		s.view.life = s.ns.life
		p.all.life = p.all.life || s.ns.life
	}
}

// Concerns reports whether an event is about a channel of one of some
// namespaces, about a pattern that reaches into one, or about none.
func (e *LifecycleEvent) Concerns(namespaces []string) bool {
	return e.Channel == "" || (e.Pattern && e.Channel == everything) || slices.Contains(namespaces, channel.Namespace(e.Channel))
}

// Begin says that the engine has started, and the bus. From here on the hub
// tells of its own accord that it is there.
func (h *Hub) Begin() {
	if l := h.life; l != nil {
		l.elect(channel.Node{})
		l.add(&LifecycleEvent{Event: LifeNodeUp})
	}
}

// end says that nothing is added any more; the hub may be closed twice.
func (l *lifecycle) end() { l.once.Do(func() { close(l.stop) }) }

// add queues an event. It does not block, and may be called under any lock of
// the hub.
func (l *lifecycle) add(e *LifecycleEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(e)
}

func (l *lifecycle) addLocked(e *LifecycleEvent) {
	if e.Time == 0 {
		e.Time = time.Now().UnixMilli()
	}
	if e.Node == "" {
		e.Node = l.hub.opts.Node
	}
	if len(l.mu.queue) >= l.o.Queue {
		l.mu.lost++
		l.limit.Inc()
		return
	}
	l.mu.queue = append(l.mu.queue, *e)
	l.poke()
}

func (l *lifecycle) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// connected tells of a session; s.mu is held.
func (l *lifecycle) connected(s *Session, user string) {
	if l == nil {
		return
	}
	if l.told[LifeConnected] {
		l.add(&LifecycleEvent{Event: LifeConnected, Client: s.id, User: user})
	}
	if l.told[LifeDisconnected] && l.hub.cluster != nil {
		// The others say that it has ended where this node cannot.
		s.entry = l.hub.cluster.journal.Join(roster.Member{
			Channel: sessionsRoom, Info: &channel.ClientInfo{Client: s.id, User: user},
		})
	}
}

func (l *lifecycle) disconnected(s *Session, id string, why Disconnect) {
	if l == nil {
		return
	}
	if l.told[LifeDisconnected] {
		l.add(&LifecycleEvent{Event: LifeDisconnected, Client: s.id, User: id, Code: why.Code, Reason: why.Reason})
	}
	if s.entry != 0 {
		l.hub.cluster.journal.Leave(s.entry)
	}
}

// subscribedLocked tells of a subscription that has joined its topic, whose
// lock is held.
func (l *lifecycle) subscribedLocked(t *topic, sb *sub) {
	if l == nil || !t.ns.life {
		return
	}
	if l.told[LifeSubscribed] {
		l.add(&LifecycleEvent{Event: LifeSubscribed, Channel: t.name, Pattern: t.ns.spaces != nil, Client: sb.session.id, User: sb.user})
	}
	if t.ns.spaces != nil {
		return
	}
	if t.mu.seated++; t.mu.seated == 1 {
		l.occupy(t)
	}
}

func (l *lifecycle) unsubscribedLocked(t *topic, sb *sub, why Unsubscribe) {
	if l == nil || !t.ns.life {
		return
	}
	if l.told[LifeUnsubscribed] {
		l.add(&LifecycleEvent{
			Event: LifeUnsubscribed, Channel: t.name, Pattern: t.ns.spaces != nil,
			Client: sb.session.id, User: sb.user, Code: why.Code, Reason: why.Reason,
		})
	}
	if t.ns.spaces != nil {
		return
	}
	if t.mu.seated--; t.mu.seated == 0 {
		l.vacate(t)
	}
}

// run publishes what is queued, until the hub closes. What is queued together
// is published together.
func (l *lifecycle) run() {
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		due.Reset(l.settle(time.Now(), false))
		select {
		case <-l.wake:
		case <-due.C:
			continue
		case <-l.stop:
			ctx, cancel := context.WithTimeout(context.Background(), lifeFlush)
			defer cancel()
			l.farewell(ctx)
			return
		}
		l.publish(l.hub.ctx)
	}
}

// farewell says the last words of this node.
func (l *lifecycle) farewell(ctx context.Context) {
	if l.hub.cluster == nil || len(l.hub.cluster.bus.Peers()) == 0 {
		l.settle(time.Now(), true)
	}
	l.publish(ctx)
	if c := l.hub.cluster; c != nil {
		// Nobody else has to say them.
		l.say(ctx, claimOf(c.bus.Self()), []LifecycleEvent{l.downOf(c.bus.Self())})
	}
}

func (l *lifecycle) downOf(n channel.Node) LifecycleEvent {
	return LifecycleEvent{Event: LifeNodeDown, Time: time.Now().UnixMilli(), Node: n.ID}
}

// claimOf names the last words of an incarnation of a node.
func claimOf(n channel.Node) string {
	return "down:" + n.ID + ":" + strconv.FormatUint(n.Incarnation, 36)
}

// publish publishes what is queued. What it does not get done before ctx ends
// it goes on with the next time.
func (l *lifecycle) publish(ctx context.Context) {
	if len(l.pending) > 0 && !l.say(ctx, l.pendingID, l.pending) {
		return
	}
	l.pending = nil
	for {
		l.mu.Lock()
		queue, lost := l.mu.queue, l.mu.lost
		l.mu.queue, l.mu.lost = nil, 0
		l.mu.Unlock()
		if lost > 0 {
			queue = append(queue, LifecycleEvent{Event: LifeLost, Time: time.Now().UnixMilli(), Node: l.hub.opts.Node, Count: lost})
		}
		if len(queue) == 0 {
			return
		}
		for len(queue) > 0 {
			var batch []LifecycleEvent
			if batch, queue = l.next(queue); len(batch) == 0 {
				continue
			}
			id := NewID()
			if batch[0].claims() {
				id = batch[0].heir
			}
			if !l.say(ctx, id, batch) {
				l.pending, l.pendingID = batch, id
				l.mu.Lock()
				l.mu.queue = append(queue, l.mu.queue...)
				l.mu.Unlock()
				return
			}
		}
	}
}

// claims reports whether e is what claims the last words of its node.
func (e *LifecycleEvent) claims() bool { return e.heir != "" && e.Event == LifeNodeDown }

// next takes the next batch from the front of the queue, without what somebody
// else has claimed. The claim itself goes alone.
func (l *lifecycle) next(queue []LifecycleEvent) (batch, rest []LifecycleEvent) {
	size := 0
	for len(queue) > 0 {
		e := queue[0]
		switch {
		case l.claims[e.heir]:
			queue = queue[1:]
			continue
		case e.claims() && len(batch) > 0:
			return batch, queue
		}
		size += lifeEntry + 6*(len(e.Channel)+len(e.User)+len(e.Reason))
		if len(batch) > 0 && (size > lifeBatchBytes || len(batch) == lifeBatch) {
			return batch, queue
		}
		batch, queue = append(batch, e), queue[1:]
		if e.claims() {
			return batch, queue
		}
	}
	return batch, nil
}

// say publishes a batch, and tries until it is done or ctx ends. The id keeps
// what was done without an answer from being done twice.
func (l *lifecycle) say(ctx context.Context, id string, batch []LifecycleEvent) bool {
	data, err := json.Marshal(LifecycleBatch{batch})
	if err != nil {
		l.hub.opts.Logger.Error("lifecycle events cannot be encoded", observe.KeyErr, err)
		return true
	}
	pause, tried := lifeRetry/16, false
	for {
		// Past the limits of publishers: a batch may be larger than a message.
		ack, err := l.hub.engine.Publish(ctx, &channel.PublishRequest{Channel: l.o.Channel, Policy: l.policy, Data: data, ID: id})
		if err == nil {
			if !ack.Duplicate || batch[0].heir == "" {
				return true
			}
			var mine bool
			if mine, err = l.said(ctx, ack.Position, data); err == nil {
				if !mine {
					l.yield(batch[0].heir)
				}
				return true
			}
		}
		if ctx.Err() != nil {
			return false
		}
		if !tried {
			l.hub.opts.Logger.Warn("lifecycle events wait for the engine", observe.KeyErr, err)
		}
		tried = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
		pause = min(2*pause, lifeRetry)
	}
}

// said reports whether what was published at a position is data: an engine that
// got no answer to a first attempt may call the second one a duplicate of it.
// What is not there any more was.
func (l *lifecycle) said(ctx context.Context, at channel.Position, data []byte) (bool, error) {
	since := channel.Position{Epoch: at.Epoch, Offset: at.Offset - 1}
	got, err := l.hub.engine.Read(ctx, &channel.ReadRequest{Channel: l.o.Channel, Policy: l.policy, Since: since, Limit: 1})
	if err != nil {
		return false, err
	}
	return len(got.Pubs) == 0 || got.Pubs[0].Offset != at.Offset || bytes.Equal(got.Pubs[0].Data, data), nil
}

// yield leaves the last words of a node to who has claimed them.
func (l *lifecycle) yield(claim string) {
	if len(l.claims) >= maxAbsent {
		clear(l.claims)
	}
	l.claims[claim] = true
}
