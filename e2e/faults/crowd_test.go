//go:build linux

package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"myelin/client"
	"myelin/e2e/faults/history"
)

// settleTime is how long subscribers may take to catch up when all is over,
// where a crowd says nothing else.
const settleTime = 60 * time.Second

// doubtTime is how long a server may go on trying what its publisher has given
// up: engine.jetstream.publish_timeout and a bit.
const doubtTime = 12 * time.Second

// crowd is the load on some nodes.
type crowd struct {
	rec      *history.Recorder
	nodes    []*node
	channels []string
	// settle is how long subscribers may take to catch up.
	settle time.Duration

	stopPublishers context.CancelFunc
	publishing     sync.WaitGroup
	publishers     []*publisher
	clients        []*client.Client
	subscribers    []*subscriber
}

// hop dials one node after another, in an order of its own.
func hop(nodes []*node) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return nodes[rand.IntN(len(nodes))].dial(ctx)
	}
}

// gather starts the load: for each node two subscribers and two publishers that
// stay with it, and a subscriber of each client, and one by server-sent events,
// that go wherever they find somebody.
func gather(ctx context.Context, nodes []*node, rules []history.Rule) (*crowd, error) {
	c := &crowd{rec: history.NewRecorder(rules...), nodes: nodes}
	for _, r := range rules {
		c.channels = append(c.channels, r.Channel)
	}
	var errs []error
	for i, n := range nodes {
		errs = append(errs,
			c.listen(ours(c.rec, "ours-"+n.name, i%2 == 1, c.channels, n.dial)),
			c.listen(theirs(c.rec, "theirs-"+n.name, i%2 == 0, c.channels, n.dial)))
	}
	errs = append(errs,
		c.listen(ours(c.rec, "ours-hopping", true, c.channels, hop(nodes))),
		c.listen(theirs(c.rec, "theirs-hopping", false, c.channels, hop(nodes))),
		c.listen(byEvents(c.rec, "events-hopping", c.channels, hop(nodes))))
	if err := errors.Join(errs...); err != nil {
		c.end()
		return nil, err
	}
	ctx, c.stopPublishers = context.WithCancel(ctx)
	for _, n := range nodes {
		c.publish(ctx, &publisher{name: "api-" + n.name, node: n.name, publish: byAPI(n.api()), retries: true})
		sender, err := client.New("ws://node/connection/websocket", client.Options{
			MinBackoff: minBackoff, MaxBackoff: maxBackoff, PingSlack: pingSlack,
			Dial: func(ctx context.Context, _ string) (net.Conn, error) { return n.dial(ctx) },
		})
		if err != nil {
			c.end()
			return nil, err
		}
		c.clients = append(c.clients, sender)
		started, cancel := context.WithCancel(ctx)
		cancel()
		_ = sender.Connect(started)
		c.publish(ctx, &publisher{name: "ws-" + n.name, node: n.name, publish: byClient(sender)})
		c.publishing.Go(func() { c.watchTops(ctx, n) })
	}
	return c, nil
}

func (c *crowd) listen(s *subscriber, err error) error {
	if err == nil {
		c.subscribers = append(c.subscribers, s)
	}
	return err
}

func (c *crowd) publish(ctx context.Context, p *publisher) {
	p.channels, p.log, p.now = c.channels, c.rec.Publisher(), c.rec.Now
	c.publishers = append(c.publishers, p)
	c.publishing.Go(func() { p.run(ctx) })
}

// flows waits until every publisher has published something that it began from
// now on.
func (c *crowd) flows(ctx context.Context) error {
	now := c.rec.Now()
	for _, p := range c.publishers {
		if err := eventually(ctx, patience, p.name+" publishes again", func() bool {
			return time.Duration(p.flowing.Load()) > now
		}); err != nil {
			return err
		}
	}
	return nil
}

// outlastDoubt waits until what publishers were left in doubt about is done or
// never will be.
func (c *crowd) outlastDoubt(ctx context.Context) {
	for _, p := range c.publishers {
		if doubt := time.Duration(p.doubt.Load()); doubt > 0 {
			rest(ctx, doubt+doubtTime-c.rec.Now())
		}
	}
}

// watchTops reads the top of a channel now and then.
func (c *crowd) watchTops(ctx context.Context, n *node) {
	api := n.api()
	for i := 0; ctx.Err() == nil; i++ {
		// A reading that fails tells nothing.
		if read, err := c.read(ctx, api, n.name, c.channels[i%len(c.channels)], 0, client.Position{}); err == nil {
			c.rec.Read(read)
		}
		rest(ctx, 50*time.Millisecond)
	}
}

// read reads so many publications of a channel after a position.
func (c *crowd) read(ctx context.Context, api client.API, node, channel string, limit int, since client.Position) (history.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	type place struct {
		Offset uint64 `json:"offset"`
		Epoch  string `json:"epoch"`
	}
	req := struct {
		Channel string `json:"channel"`
		Limit   int    `json:"limit"`
		Since   *place `json:"since,omitempty"`
	}{Channel: channel, Limit: limit}
	if since.Epoch != "" {
		req.Since = &place{since.Offset, since.Epoch}
	}
	var res struct {
		place
		Publications []struct {
			Offset uint64  `json:"offset"`
			Data   message `json:"data"`
		} `json:"publications"`
	}
	read := history.Reading{Node: node, Channel: channel, Call: c.rec.Now()}
	err := api.Call(ctx, "history", req, &res)
	read.Return = c.rec.Now()
	read.Position = history.Position{Epoch: res.Epoch, Offset: res.Offset}
	for _, p := range res.Publications {
		read.Kept = append(read.Kept, history.Kept{Offset: p.Offset, ID: p.Data.ID})
	}
	return read, err
}

// readAll reads everything that a node keeps of a channel.
func (c *crowd) readAll(ctx context.Context, n *node, channel string) error {
	const page = 1000
	api := n.api()
	all, err := c.read(ctx, api, n.name, channel, page, client.Position{})
	if err != nil {
		return err
	}
	for len(all.Kept) > 0 && all.Kept[len(all.Kept)-1].Offset < all.Offset {
		next, err := c.read(ctx, api, n.name, channel, page, client.Position{Epoch: all.Epoch, Offset: all.Kept[len(all.Kept)-1].Offset})
		switch {
		case err != nil:
			return err
		case next.Position != all.Position:
			return fmt.Errorf("%s: %s moved from %s to %s while nobody publishes", n.name, channel, all.Position, next.Position)
		case len(next.Kept) == 0:
			return fmt.Errorf("%s: %s is at %s and has nothing after %d", n.name, channel, all.Position, all.Kept[len(all.Kept)-1].Offset)
		}
		all.Kept = append(all.Kept, next.Kept...)
	}
	all.Final = true
	c.rec.Read(all)
	return nil
}

// finish ends the load, waits until everybody has seen the last publication, and
// reads what is kept.
func (c *crowd) finish(ctx context.Context) (*history.History, error) {
	c.stopPublishers()
	c.publishing.Wait()
	c.outlastDoubt(ctx)
	last := make(map[string]history.Position)
	byAPI := byAPI(c.nodes[0].api())
	p := &publisher{name: "last", node: c.nodes[0].name, log: c.rec.Publisher(), now: c.rec.Now, retries: true, after: true}
	p.publish = func(ctx context.Context, channel, id string) (history.Position, error) {
		pos, err := byAPI(ctx, channel, id)
		last[channel] = pos
		return pos, err
	}
	for _, channel := range c.channels {
		if err := eventually(ctx, patience, "a last publication on "+channel, func() bool {
			return p.try(ctx, channel, "last-of-"+channel) == history.Acked
		}); err != nil {
			return c.rec.History(), err
		}
	}
	// Who has not caught up is not settled, and the verdict says so.
	_ = eventually(ctx, cmp.Or(c.settle, settleTime), "everybody has caught up", func() bool {
		all := true
		for _, s := range c.subscribers {
			for channel, log := range s.logs {
				if at := log.Stands(); at.Epoch == last[channel].Epoch && at.Offset >= last[channel].Offset {
					log.Settle()
				} else {
					all = false
				}
			}
		}
		return all
	})
	c.end()
	var errs []error
	for _, n := range c.nodes {
		for _, channel := range c.channels {
			errs = append(errs, c.readAll(ctx, n, channel))
		}
	}
	return c.rec.History(), errors.Join(errs...)
}

// end ends everything that was started.
func (c *crowd) end() {
	if c.stopPublishers != nil {
		c.stopPublishers()
	}
	c.publishing.Wait()
	for _, cl := range c.clients {
		_ = cl.Close()
	}
	for _, s := range c.subscribers {
		s.close()
	}
	c.clients, c.subscribers = nil, nil
}
