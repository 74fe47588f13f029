package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"myelin/channel"
	"myelin/observe"
)

const (
	// absentFor is how long what is done to sessions is held for a node that
	// went silent: it may come back with them, as after a pause or a cut.
	absentFor = 10 * time.Minute
	// absentPause is how long before a node that came back is asked again.
	absentPause = 100 * time.Millisecond
	// maxAbsent is how many silent nodes are thought of at a time.
	maxAbsent = 64
	// maxHeld is how many operations are held for one of them.
	maxHeld = 1024
)

// absentees are the nodes that went silent without being known to have ended,
// with what they have missed. A ban must not be lost because the node of the
// banned was paused.
type absentees struct {
	mu struct {
		sync.Mutex
		nodes map[string]*absentee
	}
}

// absentee is one incarnation of a node.
type absentee struct {
	node  channel.Node
	since time.Time
	held  [][]byte
}

// went notes that a node has gone.
func (a *absentees) went(n channel.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.nodes == nil {
		a.mu.nodes = make(map[string]*absentee)
	}
	for id, old := range a.mu.nodes {
		if time.Since(old.since) > absentFor {
			delete(a.mu.nodes, id)
		}
	}
	if len(a.mu.nodes) < maxAbsent {
		a.mu.nodes[n.ID] = &absentee{node: n, since: time.Now()}
	}
}

// came returns what a node has missed that is there again. Another incarnation
// has missed nothing: it has none of the old sessions.
func (a *absentees) came(n channel.Node) [][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.mu.nodes[n.ID]
	delete(a.mu.nodes, n.ID)
	if old == nil || old.node.Incarnation != n.Incarnation {
		return nil
	}
	return old.held
}

// list returns the nodes that are thought of.
func (a *absentees) list() []channel.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]channel.Node, 0, len(a.mu.nodes))
	for _, old := range a.mu.nodes {
		out = append(out, old.node)
	}
	return out
}

// hold keeps an operation for the nodes that are still away, and returns those
// of before that are not: they have to be asked.
func (a *absentees) hold(op []byte, before []channel.Node, m *observe.Metrics) (back []channel.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range before {
		if old := a.mu.nodes[n.ID]; old == nil || old.node.Incarnation != n.Incarnation {
			back = append(back, n)
		}
	}
	for _, old := range a.mu.nodes {
		if len(old.held) == maxHeld {
			m.Limit(observe.LimitHeldOperations).Inc()
			old.held = old.held[1:]
		}
		old.held = append(old.held, op)
	}
	return back
}

// remember has the nodes that are away do an operation when they come back.
func (c *cluster) remember(ctx context.Context, op []byte, before []channel.Node) {
	for _, n := range c.absent.hold(op, before, c.hub.opts.Metrics) {
		if c.sees(n) {
			c.ask(ctx, n, topicOperate, op)
		}
	}
}

// catchUp sends a node that came back what it has missed, in order. What it does
// not answer is sent again while it is there; what it refuses it will always.
func (c *cluster) catchUp(n channel.Node, held [][]byte) {
	again := time.NewTicker(absentPause)
	defer again.Stop()
	for _, op := range held {
		for c.sees(n) && errors.Is(c.ask(c.hub.ctx, n, topicOperate, op).Err, channel.ErrUnavailable) {
			select {
			case <-again.C:
			case <-c.hub.ctx.Done():
				return
			}
		}
	}
}
