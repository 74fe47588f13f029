package channeltest

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"myelin/channel"
)

// MemBus is one node's bus on a Network.
type MemBus struct {
	net  *Network
	self channel.Node

	// Set before Start, read after.
	watch  []func(channel.PeerEvent)
	hear   map[string][]func(channel.Node, []byte)
	answer map[string]func(context.Context, channel.Node, []byte) ([]byte, error)

	ctx     context.Context
	stop    context.CancelFunc
	loop    sync.WaitGroup
	answers sync.WaitGroup
	wake    chan struct{}
	// ticked is when its own beat last came; the loop's own.
	ticked time.Time

	mu struct {
		sync.Mutex
		started, over, paused, grace bool
		inbox                        memInbox
		waiting                      map[string]int // messages in inbox, by topic
		held                         []memHeld      // what it sent while paused
		peers                        map[string]*memPeer
		requests                     int
		dropped                      int
	}
}

// memPeer is another node, as this one sees it.
type memPeer struct {
	node  channel.Node
	heard time.Time
	gone  chan struct{}
}

// memCall is a request that somebody waits for.
type memCall struct {
	ctx  context.Context
	done chan memMessage
}

// memHeld is a message that a paused node sent; to is empty for all.
type memHeld struct {
	to string
	m  memMessage
}

func newMemBus(n *Network, self channel.Node) *MemBus {
	b := &MemBus{
		net: n, self: self, wake: make(chan struct{}, 1),
		hear:   make(map[string][]func(channel.Node, []byte)),
		answer: make(map[string]func(context.Context, channel.Node, []byte) ([]byte, error)),
	}
	b.mu.waiting = make(map[string]int)
	b.mu.peers = make(map[string]*memPeer)
	return b
}

// Start takes part. It is called once. Where another node has the same id the
// error says so.
func (b *MemBus) Start(context.Context) error {
	if err := b.net.enter(b); err != nil {
		return err
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.mu.Lock()
	b.mu.started = true
	b.mu.Unlock()
	b.ticked = time.Now()
	b.loop.Go(b.run)
	b.net.toAll(b, memMessage{kind: memBeatKind})
	return nil
}

// Close says goodbye and ends.
func (b *MemBus) Close(context.Context) error {
	b.mu.Lock()
	here := b.mu.started && !b.mu.over && !b.mu.paused
	b.mu.Unlock()
	if here {
		b.net.toAll(b, memMessage{kind: memBye})
	}
	b.end()
	return nil
}

// Dropped returns how many messages found no room here.
func (b *MemBus) Dropped() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.dropped
}

func (b *MemBus) end() {
	b.mu.Lock()
	if !b.mu.started || b.mu.over {
		b.mu.Unlock()
		return
	}
	b.mu.over = true
	b.mu.Unlock()
	b.net.leave(b)
	b.stop()
	b.loop.Wait()
	b.answers.Wait()
}

func (b *MemBus) hold(paused bool) {
	b.mu.Lock()
	b.mu.paused = paused
	b.mu.grace = true
	var held []memHeld
	if !paused {
		held, b.mu.held = b.mu.held, nil
	}
	b.mu.Unlock()
	for _, h := range held {
		b.out(h.to, h.m)
	}
	b.nudge()
}

func (b *MemBus) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// out sends a message, or keeps it while the node is paused.
func (b *MemBus) out(to string, m memMessage) {
	b.mu.Lock()
	if b.mu.over {
		// The dead do not speak, not even those who were answering.
		b.mu.Unlock()
		return
	}
	if b.mu.paused {
		if len(b.mu.held) < memQueue {
			b.mu.held = append(b.mu.held, memHeld{to, m})
		}
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	if to == "" {
		b.net.toAll(b, m)
	} else {
		b.net.toOne(b, to, m)
	}
}

// push takes a message in. It does not block.
func (b *MemBus) push(m memMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.over {
		return
	}
	if b.mu.waiting[m.topic] >= memQueue {
		b.mu.dropped++
		return
	}
	b.mu.waiting[m.topic]++
	heap.Push(&b.mu.inbox, m)
	b.nudge()
}

// next returns the message that is due, or how long until one is.
func (b *MemBus) next() (m memMessage, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.paused || len(b.mu.inbox) == 0 {
		return m, time.Hour, false
	}
	if wait = time.Until(b.mu.inbox[0].due); wait > 0 {
		return m, wait, false
	}
	m = heap.Pop(&b.mu.inbox).(memMessage)
	b.mu.waiting[m.topic]--
	return m, 0, true
}

// run is the one goroutine that calls listeners and watchers.
func (b *MemBus) run() {
	tick := time.NewTicker(memBeat)
	defer tick.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		m, wait, ok := b.next()
		if ok {
			b.take(m)
		} else {
			due.Reset(wait)
		}
		var idle <-chan time.Time
		if !ok {
			idle = due.C
		}
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			b.beat()
			continue
		default:
		}
		if ok {
			continue
		}
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			b.beat()
		case <-b.wake:
		case <-idle:
		}
	}
}

// beat says that this node is alive, and looks who is not.
func (b *MemBus) beat() {
	now := time.Now()
	b.mu.Lock()
	if b.mu.paused {
		b.mu.Unlock()
		return
	}
	grace := b.mu.grace || now.Sub(b.ticked) > memLate
	b.mu.grace = false
	b.ticked = now
	var gone []*memPeer
	for _, p := range b.mu.peers {
		switch {
		case grace:
			p.heard = now
		case now.Sub(p.heard) >= memDead:
			gone = append(gone, p)
		}
	}
	b.mu.Unlock()
	for _, p := range gone {
		b.down(p)
	}
	b.net.toAll(b, memMessage{kind: memBeatKind})
}

func (b *MemBus) down(p *memPeer) {
	b.mu.Lock()
	delete(b.mu.peers, p.node.ID)
	b.mu.Unlock()
	close(p.gone)
	b.tell(channel.PeerEvent{Node: p.node})
}

func (b *MemBus) tell(e channel.PeerEvent) {
	for _, fn := range b.watch {
		if b.ctx.Err() == nil {
			fn(e)
		}
	}
}

// heard notes a sign of life and reports whether what n says counts.
func (b *MemBus) heard(n channel.Node) bool {
	b.mu.Lock()
	p := b.mu.peers[n.ID]
	if p != nil && p.node.Incarnation == n.Incarnation {
		p.heard = time.Now()
		b.mu.Unlock()
		return true
	}
	b.mu.Unlock()
	if p != nil {
		if n.Incarnation < p.node.Incarnation {
			return false
		}
		b.down(p)
	}
	b.mu.Lock()
	b.mu.peers[n.ID] = &memPeer{node: n, heard: time.Now(), gone: make(chan struct{})}
	b.mu.Unlock()
	b.tell(channel.PeerEvent{Node: n, Up: true})
	b.out(n.ID, memMessage{kind: memBeatKind})
	return true
}

// take handles one message that has arrived.
func (b *MemBus) take(m memMessage) {
	if m.kind == memBye {
		b.mu.Lock()
		p := b.mu.peers[m.from.ID]
		b.mu.Unlock()
		if p != nil && p.node.Incarnation == m.from.Incarnation {
			b.down(p)
		}
		return
	}
	if !b.heard(m.from) {
		return
	}
	switch m.kind {
	case memBroadcast:
		for _, fn := range b.hear[m.topic] {
			fn(m.from, slices.Clone(m.b))
		}
	case memRequest:
		b.serve(m)
	case memReply:
		m.call.done <- m // it has room for the one reply
	default:
	}
}

// serve answers a request in a goroutine of its own.
func (b *MemBus) serve(m memMessage) {
	reply := memMessage{kind: memReply, call: m.call}
	fn := b.answer[m.topic]
	b.mu.Lock()
	busy := b.mu.requests >= memRequests
	if fn != nil && !busy {
		b.mu.requests++
	}
	b.mu.Unlock()
	switch {
	case fn == nil:
		reply.err = channel.ErrUnavailable.With("nobody answers \"" + m.topic + "\" at node \"" + b.self.ID + "\"")
	case busy:
		reply.err = channel.ErrUnavailable.With("node \"" + b.self.ID + "\" has too many requests, try again")
	default:
		b.answers.Go(func() {
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			defer context.AfterFunc(m.call.ctx, cancel)()
			out, err := fn(ctx, m.from, slices.Clone(m.b))
			reply.b = slices.Clone(out)
			if err == nil && len(out) > channel.MaxBusMessage {
				err = channel.ErrTooLarge.With("an answer on the bus may have 512 KiB")
			}
			if err != nil {
				reply.b, reply.err = nil, channel.Public(err)
			}
			b.mu.Lock()
			b.mu.requests--
			b.mu.Unlock()
			b.out(m.from.ID, reply)
		})
		return
	}
	b.out(m.from.ID, reply)
}

// Self is channel.Bus's, as what follows is.
func (b *MemBus) Self() channel.Node { return b.self }

// Peers returns the other nodes believed alive, by id.
func (b *MemBus) Peers() []channel.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]channel.Node, 0, len(b.mu.peers))
	for _, id := range slices.Sorted(maps.Keys(b.mu.peers)) {
		out = append(out, b.mu.peers[id].node)
	}
	return out
}

// Watch has fn called for every peer that comes and goes.
func (b *MemBus) Watch(fn func(channel.PeerEvent)) { b.watch = append(b.watch, fn) }

// Hear has fn called with the broadcasts of others.
func (b *MemBus) Hear(topic string, fn func(channel.Node, []byte)) {
	b.hear[topic] = append(b.hear[topic], fn)
}

// Answer has fn called with the requests of others.
func (b *MemBus) Answer(topic string, fn func(context.Context, channel.Node, []byte) ([]byte, error)) {
	b.answer[topic] = fn
}

// ready returns nil where a message of n bytes may be sent.
func (b *MemBus) ready(n int) error {
	if n > channel.MaxBusMessage {
		return channel.ErrTooLarge.With("a message on the bus may have 512 KiB")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.started || b.mu.over {
		return channel.ErrUnavailable.With("the bus is not running")
	}
	return nil
}

// Broadcast sends to all.
func (b *MemBus) Broadcast(topic string, p []byte) error {
	if err := b.ready(len(p)); err != nil {
		return err
	}
	b.out("", memMessage{kind: memBroadcast, topic: topic, b: slices.Clone(p)})
	return nil
}

// Request asks one node.
func (b *MemBus) Request(ctx context.Context, node, topic string, p []byte) ([]byte, error) {
	if err := b.ready(len(p)); err != nil {
		return nil, err
	}
	b.mu.Lock()
	peer := b.mu.peers[node]
	b.mu.Unlock()
	if peer == nil {
		return nil, channel.ErrUnavailable.With("node \"" + node + "\" is not known")
	}
	call := &memCall{ctx: ctx, done: make(chan memMessage, 1)}
	b.out(node, memMessage{kind: memRequest, topic: topic, b: slices.Clone(p), call: call})
	select {
	case m := <-call.done:
		if m.err != nil {
			return nil, m.err
		}
		return m.b, nil
	case <-peer.gone:
		return nil, channel.ErrUnavailable.With("node \"" + node + "\" is gone")
	case <-b.ctx.Done():
		return nil, channel.ErrUnavailable.With("the bus is closed")
	case <-ctx.Done():
		return nil, channel.ErrUnavailable.With("node \"" + node + "\" did not answer in time").Wrap(ctx.Err())
	}
}

var _ channel.Bus = (*MemBus)(nil)
