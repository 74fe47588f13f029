package jetstream_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

func cluster(tb testing.TB) *meshtest.Cluster {
	tb.Helper()
	return meshtest.New(tb, 3, func(_ int, o *mesh.Options) { o.SyncAlways = true })
}

func replicated(c *meshtest.Cluster, i int) jetstream.Options {
	return jetstream.Options{Network: c.Node(i), Replicas: 3, Synced: true, PublishTimeout: 30 * time.Second}
}

func logPolicy(history int) *channel.Policy {
	return &channel.Policy{Namespace: "test", Durability: channel.DurabilitySync, HistorySize: history}
}

// TestOneOrder has eight publish on each of three nodes: all nodes see one
// order, with no gap.
func TestOneOrder(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	const each = 40
	p := logPolicy(3 * 8 * each)
	var engines []*jetstream.Engine
	var sinks []*sink
	var tops []channel.Position
	for i := range 3 {
		sinks = append(sinks, newSink())
		engines = append(engines, start(t, replicated(c, i), sinks[i]))
		tops = append(tops, subscribe(t, engines[i], "one", p))
	}
	var work sync.WaitGroup
	for i := range 3 * 8 {
		work.Go(func() {
			for n := range each {
				_, err := engines[i%3].Publish(context.Background(), &channel.PublishRequest{
					Channel: "one", Policy: p, Data: fmt.Appendf(nil, "%d/%d", i, n),
				})
				if err != nil {
					t.Errorf("publisher %d: %v", i, err)
					return
				}
			}
		})
	}
	work.Wait()
	for i, s := range sinks {
		eventually(t, func() string {
			if n := len(s.got("one")); n < 3*8*each {
				return fmt.Sprintf("node %d has %d of %d", i, n, 3*8*each)
			}
			return ""
		})
		if tops[i] != tops[0] {
			t.Fatalf("node %d began at %v, node 0 at %v", i, tops[i], tops[0])
		}
		if wrong := chained(s.got("one"), tops[0].Offset); wrong != "" {
			t.Errorf("node %d: %s", i, wrong)
		}
		for n, pub := range s.got("one") {
			if first := sinks[0].got("one")[n]; first.Position != pub.Position || string(first.Data) != string(pub.Data) {
				t.Fatalf("place %d is %v %s on node %d, %v %s on node 0", n, pub.Position, pub.Data, i, first.Position, first.Data)
			}
		}
		if s.losses("one") > 0 {
			t.Errorf("node %d lost something", i)
		}
	}
}

// leader returns which node leads the stream of a policy.
func leader(tb testing.TB, c *meshtest.Cluster, e *jetstream.Engine, p *channel.Policy) int {
	tb.Helper()
	name, err := jetstream.StreamOf(context.Background(), e, p)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := e.JetStream().Stream(context.Background(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.IndexFunc(c.Nodes(), func(n *mesh.Network) bool { return n.Node() == st.CachedInfo().Cluster.Leader })
}

// TestLeaderKilled kills the leader of the stream while publishers retry with
// ids: what was acknowledged is there, once, and subscribers miss nothing
// without being told.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p := logPolicy(100_000)
	sinks := []*sink{newSink(), newSink(), newSink()}
	var engines []*jetstream.Engine
	for i, s := range sinks {
		engines = append(engines, newEngine(t, replicated(c, i)))
		if err := engines[i].Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	top := subscribe(t, engines[0], "killed", p)
	victim := leader(t, c, engines[0], p)
	var alive []int
	for i := range engines {
		if i != victim {
			alive = append(alive, i)
			defer stop(t, engines[i])
			subscribe(t, engines[i], "killed", p)
		}
	}
	crowd := publishing(t, p, 4, func(i int) *jetstream.Engine { return engines[alive[i%2]] })
	crowd.progress(t, 200)
	c.Kill(victim)
	stopDead(t, engines[victim])
	crowd.progress(t, 200)
	acked := crowd.stop()
	res := read(t, engines[alive[0]], "killed", p, top)
	checkAcked(t, res, top, acked)
	for _, i := range alive {
		eventually(t, func() string {
			got := sinks[i].got("killed")
			if len(got) > 0 && got[len(got)-1].Position == res.Top && chained(got, got[0].Prev) == "" && len(got) >= len(res.Pubs) {
				return ""
			}
			if sinks[i].losses("killed") > 0 || chained(got, top.Offset) != "" {
				return ""
			}
			return fmt.Sprintf("node %d has %d of %d, and nobody said that something was lost", i, len(got), len(res.Pubs))
		})
	}
}

// crowd publishes with ids until it is told to stop.
type crowd struct {
	done  atomic.Bool
	count atomic.Int64
	work  sync.WaitGroup
	acked []map[string]uint64
}

// publishing has n publish, each on its own engine, and retry.
func publishing(tb testing.TB, p *channel.Policy, n int, at func(i int) *jetstream.Engine) *crowd {
	tb.Helper()
	c := &crowd{acked: make([]map[string]uint64, n)}
	for w := range n {
		c.acked[w] = make(map[string]uint64)
		c.work.Go(func() {
			for n := 0; !c.done.Load(); n++ {
				id := fmt.Sprintf("%d/%d", w, n)
				ack, err := at(w).Publish(context.Background(), &channel.PublishRequest{Channel: "killed", Policy: p, Data: []byte(id), ID: id})
				if err != nil {
					tb.Errorf("%s: %v", id, err)
					return
				}
				c.acked[w][id] = ack.Offset
				c.count.Add(1)
			}
		})
	}
	return c
}

// progress waits until so many more are acknowledged.
func (c *crowd) progress(tb testing.TB, more int64) {
	tb.Helper()
	from := c.count.Load()
	eventually(tb, func() string {
		if n := c.count.Load() - from; n < more {
			return fmt.Sprintf("%d of %d more acknowledged", n, more)
		}
		return ""
	})
}

// stop returns what was acknowledged, by id.
func (c *crowd) stop() map[string]uint64 {
	c.done.Store(true)
	c.work.Wait()
	all := make(map[string]uint64)
	for _, m := range c.acked {
		maps.Copy(all, m)
	}
	return all
}

// checkAcked holds that everything acknowledged is in the history, once, where
// its publisher was told.
func checkAcked(t *testing.T, res channel.ReadResult, top channel.Position, acked map[string]uint64) {
	t.Helper()
	if !res.Complete {
		t.Errorf("the history is not complete")
	}
	if wrong := chained(res.Pubs, top.Offset); wrong != "" {
		t.Errorf("history: %s", wrong)
	}
	there := make(map[string]uint64)
	for _, pub := range res.Pubs {
		if at, ok := there[string(pub.Data)]; ok {
			t.Errorf("%s is at %d and at %d", pub.Data, at, pub.Offset)
		}
		there[string(pub.Data)] = pub.Offset
	}
	for id, at := range acked {
		if there[id] != at {
			t.Errorf("%s was acknowledged at %d, it is at %d", id, at, there[id])
		}
	}
}

// stopDead closes an engine whose network is gone.
func stopDead(tb testing.TB, e *jetstream.Engine) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		tb.Logf("Close: %v", err)
	}
}

// TestClearedElsewhere holds that a removal on one node is heard on another,
// and that nothing about it looks like a loss.
func TestClearedElsewhere(t *testing.T) {
	t.Parallel()
	h := newHome(t, true)
	o := jetstream.Options{Network: h.network, Synced: true}
	here, there := newSink(), newSink()
	one, two := start(t, o, here), start(t, o, there)
	state := &channel.Policy{Namespace: "test", Kind: channel.KindState, Durability: channel.DurabilitySync, HistorySize: 10}
	for name, p := range map[string]*channel.Policy{"log": logPolicy(10), "state": state} {
		send := func(data string) channel.Ack {
			r := &channel.PublishRequest{Channel: name, Policy: p, Data: []byte(data)}
			if p == state {
				r.Op, r.Key = channel.OpPut, data
			}
			ack, err := one.Publish(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return ack
		}
		top := subscribe(t, two, name, p)
		last := send("1")
		if err := one.Remove(t.Context(), name, p); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if there.clearings(name) == 0 {
				return name + ": the other node has not heard of the removal"
			}
			return ""
		})
		if res := read(t, two, name, p, last.Position); !res.Complete || res.Top != last.Position {
			t.Errorf("%s: who was at the top is told %+v", name, res)
		}
		send("2")
		eventually(t, func() string {
			if n := len(there.got(name)); n < 2 {
				return fmt.Sprintf("%s: %d of 2", name, n)
			}
			return ""
		})
		if wrong := chained(there.got(name), top.Offset); wrong != "" || there.losses(name) > 0 {
			t.Errorf("%s: %s, lost %d times", name, wrong, there.losses(name))
		}
	}
}

// TestSlowSink holds that a Sink that does not take what comes is told what it
// missed, and does not stop others.
func TestSlowSink(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	o := jetstream.Options{Network: h.network}
	o.SetLaneRoom(8)
	s := newSink()
	s.gate = make(chan struct{})
	e := start(t, o, s)
	p := &channel.Policy{Namespace: "test", HistorySize: 1000}
	top := subscribe(t, e, "slow", p)
	for n := range 200 {
		publish(t, e, "slow", p, fmt.Sprint(n))
	}
	close(s.gate)
	eventually(t, func() string {
		if s.losses("slow") > 0 || chained(s.got("slow"), top.Offset) != "" {
			return ""
		}
		return fmt.Sprintf("%d of 200 came, and nobody said that something was lost", len(s.got("slow")))
	})
	if res := read(t, e, "slow", p, top); !res.Complete || len(res.Pubs) != 200 {
		t.Errorf("the history has %d publications, complete %v", len(res.Pubs), res.Complete)
	}
}
