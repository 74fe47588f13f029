package hub

import (
	"context"
	"sync"
	"time"

	"myelin/channel"
	"myelin/roster"
)

// topic is the node's view of one channel that has subscribers.
type topic struct {
	hub  *Hub
	name string
	// id is how clients may know the channel. No other topic of this node has
	// had it or will, so it never means another channel to anybody.
	id int64
	ns *Namespace
	// refs counts the subscriptions, those that are joining included. Under
	// the stripe's lock.
	refs int
	// parts holds what each shard knows; each entry is its shard's own.
	parts []*part
	// checked is when the position check last looked; it is the keeper's own.
	checked time.Time

	mu struct {
		sync.Mutex
		// opening: the engine has not answered yet. repairing: a task reads
		// what the feed did not bring. What the feed brings in the meantime
		// waits in early; again says that early could not hold it.
		opening, repairing, again bool
		early                     []*channel.Publication
		top                       channel.Position
		// newest is the last publication, where patches are made to it.
		newest  *channel.Publication
		ring    ring
		members map[string]*channel.ClientInfo
		// shards counts the subscriptions of each shard.
		shards []int32
		// state is a copy of the entries of a state channel, nil until somebody
		// needs it.
		state *stateCopy
		// taps want to know when there is something new.
		taps []*tap
		// watchers counts the subscriptions that want joins and leaves, of
		// connections or of users.
		watchers, userWatchers int
		// crowd is nil where nobody can want them.
		crowd *crowd
		// seated counts those that the lifecycle was told of, entry is where the
		// journal for other nodes keeps that there are any.
		seated int
		entry  roster.Place
	}
}

// stripes is how many locks the table of topics has.
const stripes = 64

// topicTable finds topics by name.
type topicTable struct {
	stripes [stripes]stripe
}

type stripe struct {
	mu struct {
		sync.RWMutex
		topics map[string]*topic
		// busy holds the names that are being opened or closed at the engine.
		busy map[string]*transition
	}
}

// transition is a topic on its way to or from the engine.
type transition struct {
	done chan struct{}
	// err is why it could not be opened, where that is nobody's own fault: all
	// who wait hear it. It is set before done closes.
	err error
}

func (t *topicTable) init() {
	for i := range t.stripes {
		t.stripes[i].mu.topics = make(map[string]*topic)
		t.stripes[i].mu.busy = make(map[string]*transition)
	}
}

// of returns the stripe of a name, by FNV-1a.
func (t *topicTable) of(name string) *stripe {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return &t.stripes[h%stripes]
}

func (t *topicTable) get(name string) *topic {
	st := t.of(name)
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.mu.topics[name]
}

// intern returns the topic's own copy of name where there is a topic, so that
// what is kept does not hold a copy each.
func (t *topicTable) intern(name string) string {
	if tp := t.get(name); tp != nil {
		return tp.name
	}
	return name
}

// all returns the topics of one stripe.
func (s *stripe) all() []*topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*topic, 0, len(s.mu.topics))
	for _, t := range s.mu.topics {
		out = append(out, t)
	}
	return out
}

// acquire returns the topic of a channel, opened at the engine, with one more
// reference.
func (h *Hub) acquire(ctx context.Context, name string, ns *Namespace) (*topic, error) {
	st := h.topics.of(name)
	for {
		st.mu.Lock()
		if busy := st.mu.busy[name]; busy != nil {
			st.mu.Unlock()
			select {
			case <-busy.done:
				if busy.err != nil {
					return nil, busy.err
				}
				continue
			case <-ctx.Done():
				return nil, channel.ErrUnavailable.Wrap(ctx.Err())
			}
		}
		if t := st.mu.topics[name]; t != nil {
			t.refs++
			st.mu.Unlock()
			return t, nil
		}
		t := &topic{hub: h, name: name, id: h.topicIDs.Add(1), ns: ns, refs: 1, parts: make([]*part, len(h.shards))}
		t.mu.shards = make([]int32, len(h.shards))
		t.mu.opening = true
		st.mu.topics[t.name] = t
		st.beginLocked(name)
		st.mu.Unlock()

		t.seed()
		err := t.open(ctx)
		st.mu.Lock()
		defer st.mu.Unlock()
		if err == nil {
			ns.metrics.Channels.Add(1)
			st.endLocked(name, nil)
			return t, nil
		}
		delete(st.mu.topics, name)
		shared := err
		if ctx.Err() != nil {
			shared = nil // who waits has more patience, and tries himself
		}
		st.endLocked(name, shared)
		return nil, err
	}
}

func (s *stripe) beginLocked(name string) {
	s.mu.busy[name] = &transition{done: make(chan struct{})}
}

func (s *stripe) endLocked(name string, err error) {
	s.mu.busy[name].err = err
	close(s.mu.busy[name].done)
	delete(s.mu.busy, name)
}

// release gives a reference back and closes the topic with the last one.
func (h *Hub) release(t *topic) {
	st := h.topics.of(t.name)
	st.mu.Lock()
	t.refs--
	if t.refs > 0 {
		st.mu.Unlock()
		return
	}
	delete(st.mu.topics, t.name)
	st.beginLocked(t.name)
	st.mu.Unlock()

	t.dropState()
	if t.ns.spaces != nil {
		t.closePattern()
	} else {
		h.engine.Unsubscribe(t.name)
	}
	st.mu.Lock()
	st.endLocked(t.name, nil)
	st.mu.Unlock()
	t.ns.metrics.Channels.Add(-1)
}

// open begins the engine's feed. What the feed brought before the engine
// answered is sorted in here.
func (t *topic) open(ctx context.Context) error {
	if t.ns.spaces != nil {
		return t.openPattern(ctx)
	}
	top, err := t.hub.engine.Subscribe(ctx, t.name, t.ns.Policy)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.opening = false
	early := t.mu.early
	t.mu.early = nil
	if err != nil {
		return err
	}
	t.mu.top = top
	for _, p := range early {
		switch {
		case p.Epoch != top.Epoch:
			t.mu.again = true // which of the two is newer the engine knows
		case p.Offset > t.mu.top.Offset:
			t.advanceLocked(p)
		}
	}
	if t.mu.again {
		t.repairLocked()
	}
	return nil
}

// subscribers returns how many subscriptions the topic has.
func (t *topic) subscribers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.mu.shards {
		n += int(c)
	}
	return n
}

// advanceLocked makes p the newest publication of the topic.
func (t *topic) advanceLocked(p *channel.Publication) {
	t.mu.top = p.Position
	t.pokeLocked()
	if t.ns.Delta {
		t.mu.newest = p
	}
	t.takeStateLocked(p)
	if t.ns.Policy.Recoverable() {
		t.mu.ring.add(p, min(maxRing, t.ns.Policy.HistorySize))
	}
}

// sendLocked puts a message into the inbox of every shard with subscribers. It
// reports whether one of them holds more than it should.
func (t *topic) sendLocked(m message) (over bool) {
	m.topic = t
	for i, n := range t.mu.shards {
		if n > 0 && t.hub.shards[i].push(m) > inboxLimit {
			over = true
		}
	}
	return over
}

// publishLocked makes p the newest publication and sends it on.
func (t *topic) publishLocked(p *channel.Publication) {
	p = t.taggedLocked(p)
	d := &delivery{id: t.id, base: t.mu.newest, event: Event{
		Kind: EventPublication, Channel: t.name, Pub: p, Recoverable: t.ns.Policy.Recoverable(),
		Whole: p.Base > 0 && t.ns.skips(),
	}, was: t.retaggedLocked(p)}
	t.advanceLocked(p)
	if t.sendLocked(message{kind: msgDeliver, delivery: d}) && !t.mu.repairing {
		t.repairLocked()
	}
}

// Deliver takes one publication from the engine.
func (h *Hub) Deliver(p *channel.Publication) {
	t := h.topics.get(p.Channel)
	if t == nil || t.ns.spaces != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mu.opening || t.mu.repairing:
		if len(t.mu.early) < maxWaiting {
			t.mu.early = append(t.mu.early, p)
		} else {
			t.mu.again = true
		}
	case p.Epoch != t.mu.top.Epoch:
		t.breakLocked(channel.Position{Epoch: p.Epoch, Offset: p.Prev})
		t.publishLocked(p)
	case p.Offset <= t.mu.top.Offset:
		// Seen already: a repair read it before the feed brought it.
	case p.Prev != t.mu.top.Offset && t.ns.Policy.Recoverable():
		t.mu.early = append(t.mu.early, p)
		t.repairLocked()
	default:
		t.publishLocked(p)
	}
}

// Lost takes word from the engine that its feed of a channel may have holes.
func (h *Hub) Lost(name string) {
	t := h.topics.get(name)
	if t == nil || t.ns.spaces != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repairLocked()
}

// breakLocked gives up continuity: every subscriber is told, and the topic
// goes on from pos.
func (t *topic) breakLocked(pos channel.Position) {
	t.mu.top = pos
	t.mu.ring, t.mu.newest = ring{}, nil
	t.dropStateLocked(errChanged)
	t.pokeLocked()
	t.sendLocked(message{kind: msgInsufficient})
}
