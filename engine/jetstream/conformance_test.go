package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// home is one embedded node with its directory.
type home struct {
	options mesh.Options
	network *mesh.Network
}

func newHome(tb testing.TB, synced bool) *home {
	tb.Helper()
	h := &home{options: meshtest.Options(tb, "one")}
	h.options.SyncAlways = synced
	h.open(tb)
	return h
}

func (h *home) open(tb testing.TB) {
	tb.Helper()
	n, err := mesh.Open(context.Background(), h.options)
	if err != nil {
		tb.Fatal(err)
	}
	h.network = n
	tb.Cleanup(func() { h.close(tb, n) })
}

func (h *home) close(tb testing.TB, n *mesh.Network) {
	tb.Helper()
	if err := n.Close(context.Background()); err != nil {
		tb.Error(err)
	}
}

func (h *home) engine(tb testing.TB) *jetstream.Engine {
	tb.Helper()
	return newEngine(tb, jetstream.Options{Network: h.network, Synced: h.options.SyncAlways, Alone: true})
}

func newEngine(tb testing.TB, o jetstream.Options) *jetstream.Engine {
	tb.Helper()
	e, err := jetstream.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// factory makes engines on one embedded node each.
func factory(d channel.Durability) channeltest.Factory {
	var homes sync.Map
	remember := func(e *jetstream.Engine, h *home) channel.Engine {
		homes.Store(channel.Engine(e), h)
		return e
	}
	return channeltest.Factory{
		Durability: d,
		RealTime:   true,
		MaxPayload: 512 << 10,
		Channels:   5000,
		New: func(tb testing.TB) channel.Engine {
			tb.Helper()
			h := newHome(tb, d == channel.DurabilitySync)
			return remember(h.engine(tb), h)
		},
		Restart: func(tb testing.TB, e channel.Engine, clean bool) channel.Engine {
			tb.Helper()
			v, _ := homes.Load(e)
			h := v.(*home)
			// A crash has no time for the engine.
			if !clean {
				h.close(tb, h.network)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := e.Close(ctx); err != nil {
				tb.Error(err)
			}
			h.close(tb, h.network)
			h.open(tb)
			return remember(h.engine(tb), h)
		},
		Cut: func(_ testing.TB, e channel.Engine) func() { return jetstream.Deafen(e) },
	}
}

// alone are the checks that look at the whole process.
func alone(check string) bool { return strings.HasPrefix(check, "scale/") }

// timed are the checks in which things outlive their time.
func timed(check string) bool {
	return slices.ContainsFunc([]string{
		"expiry/", "state/expire", "state/lifetimes", "state/outlives", "dedupe/window", "cas/expect", "remove/entries",
	}, func(begin string) bool { return strings.HasPrefix(check, begin) })
}

// examine runs the checks that are wanted, one after the other.
func examine(t *testing.T, f channeltest.Factory, wanted func(check string) bool) {
	t.Helper()
	for _, check := range channeltest.Checks() {
		if !wanted(check) {
			continue
		}
		t.Run(check, func(t *testing.T) {
			if err := channeltest.Examine(t, f, check); err != nil && !errors.Is(err, channeltest.ErrLeftOut) {
				t.Error(err)
			}
		})
	}
}

// TestConformance takes every durability, or with the race detector the one
// that is on file and does not wait for it: the code is the same.
func TestConformance(t *testing.T) {
	for name, d := range map[string]channel.Durability{
		"sync": channel.DurabilitySync, "async": channel.DurabilityAsync, "memory": channel.DurabilityMemory,
	} {
		if raced && d != channel.DurabilityAsync {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			examine(t, factory(d), func(check string) bool { return !timed(check) && !alone(check) })
		})
	}
}

// TestConformanceAlone runs while nothing else does.
func TestConformanceAlone(t *testing.T) {
	examine(t, factory(channel.DurabilityAsync), alone)
}

// TestConformanceInTime runs the checks that wait all at once, so that they can
// wait for as long as a busy machine needs.
func TestConformanceInTime(t *testing.T) {
	t.Parallel()
	f := factory(channel.DurabilityAsync)
	f.Window = 1500 * time.Millisecond
	var work sync.WaitGroup
	for _, check := range channeltest.Checks() {
		// How old something is does not depend on who races.
		if timed(check) && (!raced || !strings.HasPrefix(check, "expiry/")) {
			work.Go(func() {
				if err := channeltest.Examine(t, f, check); err != nil {
					t.Errorf("%s: %v", check, err)
				}
			})
		}
	}
	work.Wait()
}

// pair is an engine of two nodes: what is kept is published on one of them, and
// read on the other.
type pair struct {
	channel.Engine
	publisher channel.Engine
}

func (p *pair) Start(ctx context.Context, s channel.Sink) error {
	if err := p.publisher.Start(ctx, nowhere{}); err != nil {
		return err
	}
	return p.Engine.Start(ctx, s)
}

func (p *pair) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	// The positions of what is not kept are those of each node.
	if r.Policy.Kind == channel.KindLog && r.Policy.HistorySize == 0 {
		return p.Engine.Publish(ctx, r)
	}
	return p.publisher.Publish(ctx, r)
}

func (p *pair) Close(ctx context.Context) error {
	err := p.publisher.Close(ctx)
	if other := p.Engine.Close(ctx); err == nil {
		err = other
	}
	return err
}

// nowhere is a Sink of a node without subscribers.
type nowhere struct{}

func (nowhere) Deliver(*channel.Publication) {}
func (nowhere) Lost(string)                  {}
func (nowhere) Cleared(string)               {}

// clusterFactory makes engines of two nodes of a cluster that they share.
func clusterFactory(c *meshtest.Cluster, d channel.Durability, serial *atomic.Int64) channeltest.Factory {
	options := func(i int, prefix string) jetstream.Options {
		return jetstream.Options{Network: c.Node(i), Replicas: 3, Synced: d == channel.DurabilitySync, Prefix: prefix, PublishTimeout: patience}
	}
	return channeltest.Factory{
		Durability: d,
		RealTime:   true,
		MaxPayload: 512 << 10,
		Channels:   2000,
		New: func(tb testing.TB) channel.Engine {
			tb.Helper()
			prefix := fmt.Sprintf("test-%d", serial.Add(1))
			p := &pair{Engine: newEngine(tb, options(1, prefix)), publisher: newEngine(tb, options(0, prefix))}
			tb.Cleanup(func() {
				for _, name := range jetstream.Streams(p.Engine) {
					_ = c.Node(2).JetStream().DeleteStream(context.Background(), name)
				}
			})
			return p
		},
		Cut: func(_ testing.TB, e channel.Engine) func() { return jetstream.Deafen(e.(*pair).Engine) },
	}
}

// TestConformanceOfThree leaves out what is about how long things are kept, as
// every node looks at that for itself. What is kept in memory differs only in
// where, and the race detector sees the same in less.
func TestConformanceOfThree(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	var serial atomic.Int64
	few := func(check string) bool {
		return slices.ContainsFunc([]string{"order/many", "order/bursts", "subscribe/churn", "read/while", "cas/con", "lost/"}, func(begin string) bool {
			return strings.HasPrefix(check, begin)
		})
	}
	t.Run("sync", func(t *testing.T) {
		examine(t, clusterFactory(c, channel.DurabilitySync, &serial), func(check string) bool {
			return !timed(check) && !alone(check) && (!raced || few(check))
		})
	})
	t.Run("memory", func(t *testing.T) {
		if !raced {
			examine(t, clusterFactory(c, channel.DurabilityMemory, &serial), few)
		}
	})
}
