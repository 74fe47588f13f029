package client

import (
	"slices"
	"sync"

	"myelin/protocol"
)

// call is one command of the application.
type call struct {
	cmd  *protocol.Command
	done chan outcome // capacity 1
}

// outcome is how a call ended: a reply without error, or an error.
type outcome struct {
	reply *protocol.Reply
	err   error
}

// calls pairs commands of the application with replies. At most as many calls
// as there are slots are under way.
type calls struct {
	slots chan struct{} // capacity MaxPending; a token per call under way
	mu    struct {
		sync.Mutex
		lastID  uint32
		link    *link            // nil while not connected
		waiting []*call          // for a link, in order of arrival
		pending map[uint32]*call // sent over link
		ended   error            // set once, when the client has ended
	}
}

func newCalls(maxPending int) *calls {
	c := &calls{slots: make(chan struct{}, maxPending)}
	c.mu.pending = make(map[uint32]*call)
	return c
}

// newID returns an id for a command. Zero means a push, so it is left out.
func (c *calls) newID() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newIDLocked()
}

func (c *calls) newIDLocked() uint32 {
	c.mu.lastID = max(c.mu.lastID+1, 1)
	return c.mu.lastID
}

// submit sends a call now or keeps it for the next link. Its outcome arrives in
// done. The caller holds a slot.
func (c *calls) submit(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mu.ended != nil:
		k.done <- outcome{err: c.mu.ended}
	case c.mu.link == nil:
		c.mu.waiting = append(c.mu.waiting, k)
	default:
		c.sendLocked(k)
	}
}

func (c *calls) sendLocked(k *call) {
	if k.cmd.GetSend() == nil {
		k.cmd.Id = c.newIDLocked()
	}
	switch sent := c.mu.link.send(k.cmd); {
	case !sent:
		k.done <- outcome{err: ErrQueueFull}
	case k.cmd.GetSend() != nil:
		k.done <- outcome{reply: &protocol.Reply{}}
	default:
		c.mu.pending[k.cmd.GetId()] = k
	}
}

// forget removes a call whose caller has stopped waiting.
func (c *calls) forget(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.waiting = slices.DeleteFunc(c.mu.waiting, func(w *call) bool { return w == k })
	if c.mu.pending[k.cmd.GetId()] == k {
		delete(c.mu.pending, k.cmd.GetId())
	}
}

// attach makes l the link of all calls and sends those that waited for one.
func (c *calls) attach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.link = l
	for _, k := range c.mu.waiting {
		c.sendLocked(k)
	}
	c.mu.waiting = nil
}

// detach fails the calls that were sent over the link that is gone.
func (c *calls) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.link = nil
	for _, k := range c.mu.pending {
		k.done <- outcome{err: ErrConnectionLost}
	}
	clear(c.mu.pending)
}

// resolve hands a reply to its call, if that still waits.
func (c *calls) resolve(r *protocol.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.mu.pending[r.GetId()]
	if !ok {
		return
	}
	delete(c.mu.pending, r.GetId())
	if r.GetError() != nil {
		k.done <- outcome{err: fromWireError(r.GetError())}
		return
	}
	k.done <- outcome{reply: r}
}

// end fails all calls, now and later.
func (c *calls) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.link, c.mu.ended = nil, err
	for _, k := range c.mu.waiting {
		k.done <- outcome{err: err}
	}
	for _, k := range c.mu.pending {
		k.done <- outcome{err: err}
	}
	c.mu.waiting = nil
	clear(c.mu.pending)
}
