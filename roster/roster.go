package roster

import (
	"sync"

	"myelin/channel"
)

// Roster is the members of all other nodes, as far as they are known.
type Roster struct {
	limit int
	// doomed holds the peers that went and whose members have not been told
	// as left yet. It is the caller's own.
	doomed []*peer
	// copies counts the whole copies that were begun, diverged those for which
	// there was no reason: nothing was missed, and yet the digest differed.
	copies, diverged int

	mu struct {
		sync.RWMutex
		peers map[string]*peer
		// rooms holds the first member of each channel, of a linked list.
		rooms map[string]*member
		count int
	}
}

// Event is what the watchers of a channel have to be told.
type Event struct {
	Joined  bool
	Channel string
	Info    *channel.ClientInfo
	// Announced: the members of the channel hear of it. Others are told of only
	// where presence does not show them either: they are for the caller alone.
	Announced bool
	// Node is whose it is or was; Gone says that the node went, not the member.
	Node channel.Node
	Gone bool
}

// member is one member of another node.
type member struct {
	info       channel.ClientInfo
	channel    string // the one copy that all members of it share
	next, prev *member
	peer       *peer
	// shown is the copy of its node that showed it last.
	shown              uint32
	present, announced bool
}

// New returns a roster for at most limit members.
func New(limit int) *Roster {
	r := &Roster{limit: limit}
	r.mu.peers = make(map[string]*peer)
	r.mu.rooms = make(map[string]*member)
	return r
}

// Up enters a node. The answer is what to ask it.
func (r *Roster) Up(n channel.Node) *Fetch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.mu.peers[n.ID]; p != nil {
		if p.node.Incarnation == n.Incarnation {
			return nil
		}
		r.doomLocked(p)
	}
	p := &peer{node: n, members: make(map[uint64]*member)}
	r.mu.peers[n.ID] = p
	return r.beginLocked(p)
}

// Down takes a node out. Its members are not shown from here on; Sweep tells
// that they have left.
func (r *Roster) Down(n channel.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.mu.peers[n.ID]; p != nil && p.node.Incarnation == n.Incarnation {
		r.doomLocked(p)
	}
}

func (r *Roster) doomLocked(p *peer) {
	delete(r.mu.peers, p.node.ID)
	p.gone = true
	r.doomed = append(r.doomed, p)
}

// Sweep forgets up to most members of nodes that went, and reports whether
// there are more.
func (r *Roster) Sweep(most int) (events []Event, more bool) {
	if len(r.doomed) == 0 {
		return nil, false
	}
	p := r.doomed[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	for ticket := range p.members {
		if most == 0 {
			return events, true
		}
		most--
		events = r.removeLocked(events, p, ticket)
	}
	r.doomed = r.doomed[1:]
	return events, len(r.doomed) > 0
}

// Len returns how many members are held.
func (r *Roster) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.count
}

// Copies returns how many whole copies were begun, and how many of them because
// a digest differed although nothing was missed, which no node of this version
// makes happen. It belongs to the caller who changes the roster.
func (r *Roster) Copies() (begun, diverged int) { return r.copies, r.diverged }

// Missing tells of a node whose members are not all here: none were copied
// yet, or, where full, there is no room for them. The answer is "" where all
// are here.
func (r *Roster) Missing() (node string, full bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for id, p := range r.mu.peers {
		switch {
		case p.full && (!full || id < node):
			node, full = id, true
		case !p.known && !full && (node == "" || id < node):
			node = id
		}
	}
	return node, full
}

// Members returns those of a channel that presence shows, at most most of them.
func (r *Roster) Members(name string, most int) []*channel.ClientInfo {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*channel.ClientInfo
	for m := r.mu.rooms[name]; m != nil && len(out) < most; m = m.next {
		if m.present && !m.peer.gone {
			out = append(out, &m.info)
		}
	}
	return out
}

// Users returns how many connections each user has that others are told of, in
// a channel. It belongs to the caller who changes the roster: what it tells is
// as of the events told so far.
func (r *Roster) Users(name string) map[string]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var users map[string]int
	for m := r.mu.rooms[name]; m != nil; m = m.next {
		if !m.announced {
			continue
		}
		if users == nil {
			users = make(map[string]int)
		}
		users[m.info.User]++
	}
	return users
}

// addLocked enters a member that is new, if there is room.
func (r *Roster) addLocked(events []Event, p *peer, e *entry) []Event {
	if r.mu.count >= r.limit {
		p.full, p.short = true, true
		return events
	}
	m := &member{info: e.info, peer: p, present: e.present, announced: e.announced}
	if first := r.mu.rooms[string(e.channel)]; first != nil {
		m.channel, m.next, first.prev = first.channel, first, m
	} else {
		m.channel = string(e.channel)
	}
	r.mu.rooms[m.channel] = m
	p.members[e.ticket] = m
	p.sum += hash(e.ticket)
	r.mu.count++
	if m.told() {
		events = append(events, Event{Joined: true, Channel: m.channel, Info: &m.info, Announced: m.announced, Node: p.node})
	}
	return events
}

// removeLocked takes a member out, if it is there.
func (r *Roster) removeLocked(events []Event, p *peer, ticket uint64) []Event {
	m := p.members[ticket]
	if m == nil {
		return events
	}
	delete(p.members, ticket)
	p.sum -= hash(ticket)
	r.mu.count--
	switch {
	case m.prev != nil:
		m.prev.next = m.next
	case m.next != nil:
		r.mu.rooms[m.channel] = m.next
	default:
		delete(r.mu.rooms, m.channel)
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
	m.next, m.prev = nil, nil
	if m.told() {
		events = append(events, Event{Channel: m.channel, Info: &m.info, Announced: m.announced, Node: p.node, Gone: p.gone})
	}
	return events
}

// told reports whether there are events of a member: all but those that
// presence shows in silence.
func (m *member) told() bool { return m.announced || !m.present }
