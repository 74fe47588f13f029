package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/consumer"
	"myelin/engine/memory"
	"myelin/hub"
)

// commons is an engine that several nodes share.
type commons struct {
	*memory.Engine
	mu struct {
		sync.Mutex
		hubs map[string]*hub.Hub
	}
}

func (c *commons) each(do func(h *hub.Hub)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.mu.hubs {
		do(h)
	}
}

func (c *commons) Deliver(p *channel.Publication) { c.each(func(h *hub.Hub) { h.Deliver(p) }) }
func (c *commons) Lost(name string)               { c.each(func(h *hub.Hub) { h.Lost(name) }) }
func (c *commons) Cleared(name string)            { c.each(func(h *hub.Hub) { h.Cleared(name) }) }

// share is one node's part of it.
type share struct {
	mortal
	of *commons
	id string
}

func (s *share) Start(_ context.Context, to channel.Sink) error {
	h, _ := to.(*hub.Hub)
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.mu.hubs[s.id] = h
	return nil
}

// Unsubscribe does nothing: other nodes may be subscribed still.
func (s *share) Unsubscribe(string) {}

// cluster is nodes on one engine.
type cluster struct {
	t     *testing.T
	net   *channeltest.Network
	of    *commons
	nodes map[string]*rig
	parts map[string]*share
}

func inCluster(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{
			t: t, net: channeltest.NewNetwork(), of: &commons{Engine: memory.New(memory.Options{})},
			nodes: make(map[string]*rig), parts: make(map[string]*share),
		}
		c.of.mu.hubs = make(map[string]*hub.Hub)
		if err := c.of.Engine.Start(t.Context(), c.of); err != nil {
			t.Fatal(err)
		}
		test(t, c)
		for _, r := range c.nodes {
			r.stop()
		}
		if err := c.of.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// join starts a node.
func (c *cluster) join(id string) *rig {
	c.t.Helper()
	bus := c.net.Join(id)
	part := &share{mortal: mortal{lasting: lasting{Engine: c.of.Engine}}, of: c.of, id: id}
	r := newRigOn(c.t, part, bus, nil)
	c.nodes[id], c.parts[id] = r, part
	if err := bus.Start(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = bus.Close(context.Background()) })
	wait(2 * time.Second) // as on a server, whose bus starts by hearing the others
	r.start()
	synctest.Wait()
	return r
}

// kill has a node die at once: nothing it does is heard or kept.
func (c *cluster) kill(id string) {
	c.net.Kill(id)
	c.parts[id].dead.Store(true)
}

// A consumer works across nodes, and outlives the one that has it.
func TestNodes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a"), c.join("b")
		if i := a.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Hour, MaxUnacked: 4}, fresh); i.Node != "a" {
			t.Fatalf("%+v", i)
		}
		bob := b.sits("bob", "w", "jobs:a")
		wait(time.Second)
		a.publish("jobs:a", 1, 10)
		wait(time.Second)
		got := bob.gets(numbers(1, 4))
		b.acks(got[0], got[2])
		wait(time.Second)
		bob.gets(numbers(5, 6))
		if i := b.info("w", "jobs:a"); i.Node != "a" || i.Seats != 1 || i.Counts.Acked != 2 {
			t.Errorf("%+v", i)
		}
		c.kill("a")
		wait(10 * time.Second)
		again := bob.gets("2#2 4#2 5#2 6#2")
		b.acks(again...)
		wait(time.Second)
		rest := bob.gets(numbers(7, 10))
		b.acks(rest...)
		if i := b.info("w", "jobs:a"); i.Node != "b" || i.Pending != 0 || i.Counts.Acked != 10 {
			t.Errorf("%+v", i)
		}
	})
}

// A node that leaves gives its consumers to another at once, and a client that
// goes with its node leaves what it had.
func TestNodeLeaves(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a"), c.join("b")
		a.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Hour}, fresh)
		ann := b.sits("ann", "w", "jobs:a")
		wait(time.Second)
		a.publish("jobs:a", 1, 1)
		ann.gets("1#1")
		c.kill("b") // the client's node, not the owner's
		wait(15 * time.Second)
		late := a.sits("late", "w", "jobs:a")
		late.gets("1#2")
		d := c.join("d")
		a.stop()
		wait(time.Second)
		d.sits("dan", "w", "jobs:a").gets("1#3")
		if i := d.info("w", "jobs:a"); i.Node != "d" {
			t.Errorf("%+v", i)
		}
	})
}

// What is too large for the bus reaches other nodes all the same.
func TestLargeDeliveries(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a"), c.join("b")
		a.create("w", "jobs:a", consumer.Settings{}, fresh)
		bob := b.sits("bob", "w", "jobs:a")
		wait(time.Second)
		data := strings.Repeat("x", 600<<10)
		if _, err := c.of.Publish(t.Context(), &channel.PublishRequest{
			Channel: "jobs:a", Policy: &channel.Policy{Namespace: "jobs", HistorySize: 10_000}, Data: []byte(data),
		}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if got := bob.take(); len(got) != 1 || string(got[0].Data) != data {
			t.Errorf("%d deliveries", len(got))
		} else {
			b.acks(got...)
		}
	})
}
