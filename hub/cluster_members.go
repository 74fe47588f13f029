package hub

import (
	"context"
	"fmt"
	"time"

	"myelin/channel"
	"myelin/observe"
	"myelin/roster"
)

// joined tells the other nodes of a member.
func (c *cluster) joined(t *topic, sb *sub) {
	sb.entry = c.journal.Join(roster.Member{Channel: t.name, Info: sb.info, Present: sb.present, Announced: sb.announced})
	if sb.entry == 0 {
		c.hub.opts.Metrics.Limit(observe.LimitMemberBytes).Inc()
	}
}

// left tells them that it is gone.
func (c *cluster) left(sb *sub) { c.journal.Leave(sb.entry) }

// herald tells the other nodes who comes and goes, until the hub closes.
func (c *cluster) herald() {
	tick := time.NewTicker(membersDigest)
	defer tick.Stop()
	delay := time.NewTimer(time.Hour)
	defer delay.Stop()
	for {
		digest := false
		select {
		case <-c.journal.Due():
			delay.Reset(membersDelay)
			select {
			case <-delay.C:
			case <-c.hub.ctx.Done():
				return
			}
		case <-tick.C:
			digest = true
		case <-c.hub.ctx.Done():
			return
		}
		c.flush(digest)
	}
}

// flush broadcasts what has changed. What cannot be sent the others miss, and
// know by its number.
func (c *cluster) flush(digest bool) {
	frames, dropped := c.journal.Flush(digest)
	for _, f := range frames {
		if err := c.bus.Broadcast(topicMembers, f); err != nil {
			dropped++
		}
	}
	c.hub.opts.Metrics.Limit(observe.LimitMembersOutbox).Add(int64(dropped))
}

// peer takes word from the bus of who comes and goes.
func (c *cluster) peer(e channel.PeerEvent) {
	kind := itemDown
	if e.Up {
		kind = itemUp
		if held := c.absent.came(e.Node); len(held) > 0 {
			c.hub.task(func() { c.catchUp(e.Node, held) })
		}
	} else {
		c.absent.went(e.Node)
	}
	c.push(item{kind: kind, node: e.Node})
}

// push queues an item for follow. It does not block.
func (c *cluster) push(i item) {
	c.inbox.Lock()
	defer c.inbox.Unlock()
	if i.kind == itemFrame && c.inbox.bytes+len(i.b) > membersInbox {
		c.hub.opts.Metrics.Limit(observe.LimitMembersInbox).Inc()
		return
	}
	c.inbox.bytes += len(i.b)
	c.inbox.queue = append(c.inbox.queue, i)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// follow keeps the roster until the hub closes.
func (c *cluster) follow() {
	told := false
	for {
		select {
		case <-c.wake:
		case <-c.hub.ctx.Done():
			return
		}
		c.inbox.Lock()
		queue := c.inbox.queue
		c.inbox.queue, c.inbox.bytes = nil, 0
		c.inbox.Unlock()
		for i := range queue {
			c.handle(&queue[i])
			if c.hub.ctx.Err() != nil {
				return
			}
		}
		c.hub.metrics.RemoteMembers.Set(int64(c.roster.Len()))
		if _, full := c.roster.Missing(); full && !told {
			told = true
			c.hub.opts.Metrics.Limit(observe.LimitRemoteMembers).Inc()
			c.hub.opts.Logger.Warn("other nodes have more members than are kept here; presence is off until there are fewer",
				observe.KeyLimit, c.hub.opts.Limits.RemoteMembers)
		} else if !full {
			told = false
		}
	}
}

// handle tells the roster one thing, and watchers what comes of it.
func (c *cluster) handle(i *item) {
	var events []roster.Event
	var ask *roster.Fetch
	begun, diverged := c.roster.Copies()
	switch i.kind {
	case itemUp:
		c.hub.life.peer(i.node, true)
		ask = c.roster.Up(i.node)
	case itemDown:
		c.hub.life.peer(i.node, false)
		c.roster.Down(i.node)
	case itemFrame:
		events, ask = c.roster.Hear(i.node, i.b)
	case itemPage:
		events, ask = c.roster.Page(i.fetch, i.b, i.err)
	case itemSeed:
		i.topic.seeded(c.roster.Users(i.topic.name))
	}
	c.tell(events)
	for more := true; more && c.hub.ctx.Err() == nil; {
		events, more = c.roster.Sweep(membersChunk)
		c.tell(events)
	}
	if n, d := c.roster.Copies(); n != begun {
		c.hub.metrics.MemberCopies.Add(int64(n - begun))
		if d != diverged {
			c.hub.opts.Logger.Error("the members of a node were not what it says they are; they are read anew", observe.KeyNode, i.node.ID)
		}
	}
	if ask != nil {
		c.hub.task(func() { c.fetch(ask) })
	}
}

// fetch asks for a page.
func (c *cluster) fetch(f *roster.Fetch) {
	ctx, cancel := context.WithTimeout(c.hub.ctx, fetchTimeout)
	defer cancel()
	b, err := c.bus.Request(ctx, f.Node.ID, topicMembers, f.Request)
	c.push(item{kind: itemPage, node: f.Node, fetch: f, b: b, err: err})
}

// tell tells the watchers of this node. Where thousands come and go at once the
// shards are given time.
func (c *cluster) tell(events []roster.Event) {
	for i, e := range events {
		if i%membersChunk == 0 {
			for _, s := range c.hub.shards {
				if c.hub.waitFor(c.hub.ctx, s) != nil {
					return // the hub closes
				}
			}
		}
		if c.hub.life.remote(&events[i]) {
			continue
		}
		t := c.hub.topics.get(e.Channel)
		if t == nil {
			continue
		}
		t.mu.Lock()
		t.movedLocked(e.Joined, true, e.Info)
		t.mu.Unlock()
	}
}

// complete returns nil where the members of all other nodes are known, else
// why presence cannot be told.
func (c *cluster) complete() error {
	node, full := c.roster.Missing()
	switch {
	case full:
		return channel.ErrLimitExceeded.With(fmt.Sprintf(
			"other nodes have more members than the %d that are kept here", c.hub.opts.Limits.RemoteMembers))
	case node != "":
		return &channel.Error{
			Code: channel.CodeUnavailable, Temporary: true,
			Message: fmt.Sprintf("the members of node %s are not known yet: try again", node),
		}
	}
	return nil
}
