package channeltest

import (
	"container/heap"
	"maps"
	"slices"
	"sync"
	"time"

	"myelin/channel"
)

// Bounds of a bus in memory.
const (
	// memQueue is how many messages of one topic may wait at a node; more are
	// dropped.
	memQueue = 4096
	// memRequests is how many requests one node answers at a time.
	memRequests = 256
	// memBeat is how often a node says that it is alive, memDead after how long
	// without a word it counts as down, memLate how late its own beat may be
	// before it takes itself for having been paused.
	memBeat = time.Second
	memDead = 5 * time.Second
	memLate = 2 * time.Second
)

// Network joins buses in memory. It carries messages at once, or after the
// delay that it is told, and has faults to plant. It may live in a bubble of
// testing/synctest.
type Network struct {
	mu struct {
		sync.Mutex
		live map[string]*MemBus
		cuts map[link]bool
		// lose counts the broadcasts that each link is still to lose.
		lose map[link]int
		// due is when the last broadcast of each flow arrives, for order.
		due         map[flow]time.Time
		delay       func() time.Duration
		incarnation uint64
		sent        uint64
		lost        int
	}
}

// link is one way between two nodes, flow the broadcasts of one topic on it.
type link struct{ from, to string }

type flow struct {
	link
	topic string
}

// NewNetwork returns a network without nodes.
func NewNetwork() *Network {
	n := &Network{}
	n.mu.live = make(map[string]*MemBus)
	n.mu.cuts = make(map[link]bool)
	n.mu.lose = make(map[link]int)
	n.mu.due = make(map[flow]time.Time)
	return n
}

// Join returns the bus of a new incarnation of a node. It takes part once it
// has been started.
func (n *Network) Join(id string) *MemBus {
	n.mu.Lock()
	n.mu.incarnation++
	self := channel.Node{ID: id, Incarnation: n.mu.incarnation, Addr: id + ":8000", Version: "test"}
	n.mu.Unlock()
	return newMemBus(n, self)
}

// Delay has every message take as long as fn says. Broadcasts of one topic
// stay in order, nothing else does. fn is called by one goroutine at a time.
func (n *Network) Delay(fn func() time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.delay = fn
}

// Kill ends a node as kill -9 does: nobody is told, and what is under way to
// it is gone. When it returns nothing of its bus is called any more.
func (n *Network) Kill(id string) {
	if b := n.node(id); b != nil {
		b.end()
	}
}

// Pause stops a node as SIGSTOP does: what it sends and what it is sent waits
// until Resume, as much of it as fits.
func (n *Network) Pause(id string) { n.hold(id, true) }

// Resume lets a paused node go on.
func (n *Network) Resume(id string) { n.hold(id, false) }

func (n *Network) hold(id string, paused bool) {
	if b := n.node(id); b != nil {
		b.hold(paused)
	}
}

// Cut lets nothing pass between two nodes any more, either way.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay lets nothing pass from one node to another.
func (n *Network) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cuts[link{from, to}] = true
}

// Heal undoes Cut and CutOneWay between two nodes.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.cuts, link{a, b})
	delete(n.mu.cuts, link{b, a})
}

// Drop loses the next broadcasts from one node to another.
func (n *Network) Drop(from, to string, broadcasts int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.lose[link{from, to}] += broadcasts
}

// Lost returns how many broadcasts Drop has lost so far.
func (n *Network) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.lost
}

// Close ends every node.
func (n *Network) Close() {
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.mu.live))
	n.mu.Unlock()
	for _, b := range all {
		b.end()
	}
}

func (n *Network) node(id string) *MemBus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.live[id]
}

// enter makes a bus the live one of its id, unless there is another.
func (n *Network) enter(b *MemBus) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.live[b.self.ID] != nil {
		return channel.ErrConflict.With("another node is called \"" + b.self.ID + "\"; every node needs a name of its own")
	}
	n.mu.live[b.self.ID] = b
	return nil
}

func (n *Network) leave(b *MemBus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.live[b.self.ID] == b {
		delete(n.mu.live, b.self.ID)
	}
}

// toAll sends one message to all other nodes.
func (n *Network) toAll(from *MemBus, m memMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.mu.live {
		if id != from.self.ID {
			n.sendLocked(from, id, m)
		}
	}
}

// toOne sends one message to one node, if it is there.
func (n *Network) toOne(from *MemBus, id string, m memMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sendLocked(from, id, m)
}

func (n *Network) sendLocked(from *MemBus, id string, m memMessage) {
	to, way := n.mu.live[id], link{from.self.ID, id}
	if to == nil || n.mu.cuts[way] {
		return
	}
	if m.kind == memBroadcast && n.mu.lose[way] > 0 {
		n.mu.lose[way]--
		n.mu.lost++
		return
	}
	n.mu.sent++
	m.from, m.number = from.self, n.mu.sent
	m.due = time.Now()
	if n.mu.delay != nil {
		m.due = m.due.Add(n.mu.delay())
	}
	if m.kind == memBroadcast || m.kind == memBye {
		f := flow{way, m.topic}
		if before := n.mu.due[f]; m.due.Before(before) {
			m.due = before
		}
		n.mu.due[f] = m.due
	}
	to.push(m)
}

// memKind is what a message on the network is.
type memKind uint8

const (
	memBeatKind memKind = iota
	memBye
	memBroadcast
	memRequest
	memReply
)

// memMessage is one message on its way.
type memMessage struct {
	kind  memKind
	from  channel.Node
	topic string
	b     []byte
	call  *memCall
	err   *channel.Error
	// due is when it arrives; number is its place among those of one moment.
	due    time.Time
	number uint64
}

// memInbox is the messages under way to one node, the next one first.
type memInbox []memMessage

// Len is heap.Interface's, as the others are.
func (q memInbox) Len() int { return len(q) }

// Less puts what is due earlier first, and what was sent earlier.
func (q memInbox) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}

// Swap exchanges two.
func (q memInbox) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push adds one at the end.
func (q *memInbox) Push(x any) { *q = append(*q, x.(memMessage)) }

// Pop takes the last one.
func (q *memInbox) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = memMessage{}
	*q = old[:len(old)-1]
	return last
}

var _ heap.Interface = (*memInbox)(nil)
