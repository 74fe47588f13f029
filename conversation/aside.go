package conversation

import (
	"errors"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

const (
	// asideAfter is how long a subscription or a read is waited for before what
	// comes behind it is handled; asideSoon is the same while another is under
	// way, for one that is slow is seldom alone.
	asideAfter = 100 * time.Millisecond
	asideSoon  = 5 * time.Millisecond
	// maxAside is how many commands of one conversation may be under way while
	// others are handled; beyond it the rest waits.
	maxAside = 64
	// patience is how long a subscription or a history waits for an engine that
	// does not answer, as when a stream has lost its leader. It is shorter than
	// the 5 s after which clients give up, and the connection with it, other
	// channels and all: told in time they ask for the one channel again.
	patience = 4 * time.Second
)

// aside has work done that changes nothing for what comes behind, and then is
// called with what came of it, under the lock: at once where work takes no
// longer than asideAfter, else when it is done, and what came behind goes first.
// work may not look at the frame. The lock is held.
func aside[T any](c *Conversation, id uint32, work func() (T, error), then func(T) error) error {
	var out T
	var err error
	finish := func() error {
		if err != nil {
			return err
		}
		return then(out)
	}
	full := c.mu.asides >= maxAside
	if full {
		c.host.opts.Metrics.Limit(observe.LimitAsides).Inc()
	}
	if full || c.host.ctx.Err() != nil { // who ends waits for nothing new
		out, err = work()
		return finish()
	}
	done := make(chan struct{})
	c.host.asides.Go(func() {
		defer close(done)
		out, err = work()
	})
	after := asideAfter
	if c.mu.asides > 0 {
		after = asideSoon
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-done:
		return finish()
	case <-timer.C:
	}
	c.mu.asides++
	c.host.asides.Go(func() {
		<-done
		c.late(id, finish)
	})
	return nil
}

// late finishes a command that others have gone before.
func (c *Conversation) late(id uint32, finish func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.asides--
	err := finish()
	if err != nil {
		err = c.refuse(id, err)
	}
	if d, ok := errors.AsType[hub.Disconnect](err); ok && !c.mu.over {
		c.fail(d)
	}
}

// enter subscribes, and has then called with what came of it.
func (c *Conversation) enter(id uint32, req hub.SubscribeRequest, then func(*hub.Subscription) error) error {
	return aside(c, id, func() (*hub.Subscription, error) {
		req.Until = time.Now().Add(patience)
		return c.session.Subscribe(c.host.ctx, req)
	}, then)
}

// errUnrecovered refuses a subscription that would have a hole.
func errUnrecovered(what string) error {
	return channel.ErrUnrecoverable.With("what came after the given position is not kept any more" + what)
}
