package mesh

import (
	"maps"
	"slices"
	"time"

	"myelin/channel"
)

const (
	// beat is how often a node says that it is alive.
	beat = time.Second
	// deadAfter is how long a node may be silent before it counts as gone. It
	// is looked at with every beat, so it is gone after a beat more at the
	// latest.
	deadAfter = 5 * time.Second
	// lateBeat is how late our own beat may come before we were paused: then it
	// is us that heard nothing, and not the others that said nothing.
	lateBeat = 2 * time.Second
)

// peer is another node that is there.
type peer struct {
	node  channel.Node
	heard time.Time
	// gone is closed when it is not there any more.
	gone chan struct{}
}

// roster knows who is there. It has no clock and no goroutine of its own, and
// belongs to whoever holds its lock.
type roster struct {
	peers map[string]*peer
	// ticked is when tick was last called.
	ticked time.Time
	max    int
}

func newRoster(now time.Time, most int) *roster {
	return &roster{peers: make(map[string]*peer), ticked: now, max: most}
}

// hello is called when a node says that it is alive. It returns what is to be
// announced, and whether there was no room for the node.
func (r *roster) hello(n channel.Node, now time.Time) (events []channel.PeerEvent, full bool) {
	old := r.peers[n.ID]
	switch {
	case old != nil && old.node.Incarnation == n.Incarnation:
		old.heard = now
		return nil, false
	case old != nil && old.node.Incarnation > n.Incarnation:
		// A process that its successor has taken the place of.
		return nil, false
	case old != nil:
		events = append(events, r.drop(old))
	case len(r.peers) >= r.max:
		return nil, true
	}
	r.peers[n.ID] = &peer{node: n, heard: now, gone: make(chan struct{})}
	return append(events, channel.PeerEvent{Node: n, Up: true}), false
}

// sign is called when something else of a node is heard. It returns nil where
// that node is not there.
func (r *roster) sign(id string, incarnation uint64, now time.Time) *peer {
	p := r.peers[id]
	if p == nil || p.node.Incarnation != incarnation {
		return nil
	}
	p.heard = now
	return p
}

// bye is called when a node says that it goes.
func (r *roster) bye(id string, incarnation uint64) []channel.PeerEvent {
	p := r.peers[id]
	if p == nil || p.node.Incarnation != incarnation {
		return nil
	}
	return []channel.PeerEvent{r.drop(p)}
}

// tick is called with every beat.
func (r *roster) tick(now time.Time) (events []channel.PeerEvent) {
	late := now.Sub(r.ticked) > lateBeat
	r.ticked = now
	for _, id := range slices.Sorted(maps.Keys(r.peers)) {
		p := r.peers[id]
		switch {
		case late:
			p.heard = now
		case now.Sub(p.heard) >= deadAfter:
			events = append(events, r.drop(p))
		}
	}
	return events
}

// clear drops everybody.
func (r *roster) clear() (events []channel.PeerEvent) {
	for _, id := range slices.Sorted(maps.Keys(r.peers)) {
		events = append(events, r.drop(r.peers[id]))
	}
	return events
}

func (r *roster) drop(p *peer) channel.PeerEvent {
	delete(r.peers, p.node.ID)
	close(p.gone)
	return channel.PeerEvent{Node: p.node}
}

// nodes returns who is there, by id.
func (r *roster) nodes() []channel.Node {
	all := make([]channel.Node, 0, len(r.peers))
	for _, id := range slices.Sorted(maps.Keys(r.peers)) {
		all = append(all, r.peers[id].node)
	}
	return all
}
