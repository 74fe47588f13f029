package hub

import (
	"time"

	"myelin/channel"
	"myelin/roster"
)

const (
	// lifeEcho is how far back a node that begins to speak for the cluster says
	// again what the one before it may not have said, lifeEchoes how much.
	lifeEcho   = 15 * time.Second
	lifeEchoes = 4096
)

// rooms is which channels have subscribers on any node. Every node keeps it;
// one of them speaks of it: the one that has been up longest. That is a newcomer
// only where nobody else is left.
type rooms struct {
	byName map[string]*roomState
	// emptied are those that were empty once, in order of time.
	emptied []emptied
	// echoes are the latest events, oldest first.
	echoes []LifecycleEvent
}

// roomState is one channel: how many nodes have subscribers, and what was told.
type roomState struct {
	nodes int
	told  bool
	// since is when it was emptied, in this node's time.
	since time.Time
}

type emptied struct {
	name string
	at   time.Time
}

func (r *rooms) init() { r.byName = make(map[string]*roomState) }

// occupy notes that this node has subscribers of a channel; the topic's lock is
// held, as in vacate.
func (l *lifecycle) occupy(t *topic) {
	if !l.told[LifeOccupied] && !l.told[LifeVacated] {
		return
	}
	if c := l.hub.cluster; c != nil {
		t.mu.entry = c.journal.Join(roster.Member{Channel: t.name, Info: &channel.ClientInfo{Client: anybody}})
	}
	l.more(t.name)
}

func (l *lifecycle) vacate(t *topic) {
	if !l.told[LifeOccupied] && !l.told[LifeVacated] {
		return
	}
	if c := l.hub.cluster; c != nil {
		c.journal.Leave(t.mu.entry)
		t.mu.entry = 0
	}
	l.fewer(t.name)
}

// more notes that one more node has subscribers of a channel.
func (l *lifecycle) more(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.mu.rooms.byName[name]
	if r == nil {
		r = new(roomState)
		l.mu.rooms.byName[name] = r
	}
	r.nodes++
	if !r.told {
		r.told = true
		l.turnLocked(LifeOccupied, name)
	}
}

// fewer notes that one node less has any.
func (l *lifecycle) fewer(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.mu.rooms.byName[name]
	if r == nil {
		return
	}
	if r.nodes--; r.nodes > 0 {
		return
	}
	r.nodes, r.since = 0, time.Now()
	l.mu.rooms.emptied = append(l.mu.rooms.emptied, emptied{name, r.since})
	l.poke()
}

// settle tells of the channels that have been empty for long enough, of all
// that are empty where there is no time left, and returns when to look again.
func (l *lifecycle) settle(now time.Time, all bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.mu.rooms.emptied
	for i, e := range waiting {
		if left := e.at.Add(l.o.VacatedAfter).Sub(now); left > 0 && !all {
			l.mu.rooms.emptied = waiting[i:]
			return left
		}
		// It may be another emptying that counts, if any.
		if r := l.mu.rooms.byName[e.name]; r != nil && r.nodes == 0 && r.since.Equal(e.at) {
			delete(l.mu.rooms.byName, e.name)
			l.turnLocked(LifeVacated, e.name)
		}
	}
	l.mu.rooms.emptied = nil
	return time.Hour
}

// turnLocked notes that a channel was occupied or vacated, and tells of it
// where this node speaks.
func (l *lifecycle) turnLocked(event, name string) {
	if !l.told[event] {
		return
	}
	e := LifecycleEvent{Event: event, Time: time.Now().UnixMilli(), Node: l.hub.opts.Node, Channel: name}
	if l.hub.cluster != nil {
		r := &l.mu.rooms
		if len(r.echoes) >= lifeEchoes {
			r.echoes = append(r.echoes[:0], r.echoes[lifeEchoes/2:]...)
		}
		r.echoes = append(r.echoes, e)
	}
	if l.speaks.Load() {
		l.addLocked(&e)
	}
}

// elect decides whether this node speaks for the cluster, of which a node may
// just have gone, and reports whether it begins to.
func (l *lifecycle) elect(gone channel.Node) (began bool) {
	speaks := true
	if c := l.hub.cluster; c != nil {
		self := c.bus.Self()
		for _, p := range c.bus.Peers() {
			older := p.Incarnation < self.Incarnation || (p.Incarnation == self.Incarnation && p.ID < self.ID)
			if older && (p.ID != gone.ID || p.Incarnation != gone.Incarnation) {
				speaks = false
			}
		}
	}
	return !l.speaks.Swap(speaks) && speaks
}

// peer takes word of a node that came or went, before its members are.
func (l *lifecycle) peer(n channel.Node, up bool) {
	if l == nil {
		return
	}
	if up {
		l.elect(channel.Node{})
		return
	}
	began := l.elect(n)
	if !l.speaks.Load() {
		return
	}
	claim := claimOf(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	down := l.downOf(n)
	down.heir, down.By = claim, l.hub.opts.Node
	l.addLocked(&down)
	if !began {
		return
	}
	from := time.Now().Add(-lifeEcho).UnixMilli()
	for _, e := range l.mu.rooms.echoes {
		if e.Time >= from {
			e.Again, e.heir = true, claim
			l.addLocked(&e)
		}
	}
}

// remote takes word of what another node has or had, and reports whether it
// was for the lifecycle alone.
func (l *lifecycle) remote(e *roster.Event) bool {
	if e.Announced {
		return false
	}
	switch {
	case l == nil:
	case e.Channel == sessionsRoom:
		if e.Gone && l.speaks.Load() && l.told[LifeDisconnected] {
			l.add(&LifecycleEvent{
				Event: LifeDisconnected, Node: e.Node.ID, Client: e.Info.Client, User: e.Info.User,
				Code: DisconnectConnectionClosed.Code, Reason: reasonNodeDown, heir: claimOf(e.Node),
			})
		}
	case e.Info.Client == anybody && e.Joined:
		l.more(e.Channel)
	case e.Info.Client == anybody:
		l.fewer(e.Channel)
	}
	return true
}
