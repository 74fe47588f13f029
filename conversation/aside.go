package conversation

import (
	"errors"
	"sync"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

const (
	// asideAfter is how long a subscription or a read is waited for before what
	// comes behind it is handled; asideSoon is the same while another is under way, for
	// one that is slow is seldom alone.
	asideAfter = 100 * time.Millisecond
	asideSoon  = 5 * time.Millisecond
	// maxAside is how many commands of one conversation may be under way while
	// others are handled; beyond it the rest waits.
	maxAside = 64
	// patience is how long a subscription or history waits for an engine that does not
	// answer, as when a stream has lost its leader. It is shorter than the 5 s
	// after which clients give up, and the connection with it, other channels
	// and all: told in time they ask for the one channel again.
	patience = 4 * time.Second
)

// asides are the commands that are finished beside those behind them.
type asides struct{ tasks sync.WaitGroup }

// aside has work done that neither changes anything for others nor depends on
// what comes behind, and what it returns under the lock: at once where it
// takes no longer than asideAfter, else when it is, and what came behind goes
// first. The lock is held.
func (c *Conversation) aside(id uint32, work func() (finish func() error)) error {
	switch {
	case c.host.ctx.Err() != nil:
		return work()() // it fails at once, and nobody waits for more
	case c.mu.asides >= maxAside:
		c.host.opts.Metrics.Limit(observe.LimitAsides).Inc()
		return work()()
	}
	done := make(chan func() error, 1)
	c.host.asides.tasks.Go(func() { done <- work() })
	after := asideAfter
	if c.mu.asides > 0 {
		after = asideSoon
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case finish := <-done:
		return finish()
	case <-timer.C:
	}
	c.mu.asides++
	c.host.asides.tasks.Go(func() {
		finish := <-done
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
	})
	return nil
}

// enter subscribes, and has then called with what came of it.
func (c *Conversation) enter(id uint32, req hub.SubscribeRequest, then func(*hub.Subscription) error) error {
	return c.aside(id, func() func() error {
		req.Until = time.Now().Add(patience)
		sn, err := c.session.Subscribe(c.host.ctx, req)
		return func() error {
			if err != nil {
				return err
			}
			return then(sn)
		}
	})
}

// errUnrecovered refuses a subscription that would have a hole.
func errUnrecovered(what string) error {
	return channel.ErrUnrecoverable.With("what came after the given position is not kept any more" + what)
}
