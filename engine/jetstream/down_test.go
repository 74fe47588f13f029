package jetstream_test

import (
	"context"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
	"myelin/mesh/meshtest"
)

// TestAllNodesDown stops all nodes at once and starts them again: what was
// fsynced goes on under its epoch, what was in memory begins anew, and so does
// what nobody can be sure of.
func TestAllNodesDown(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	policies := map[string]*channel.Policy{
		"sync":   {Namespace: "sync", Durability: channel.DurabilitySync, HistorySize: 100},
		"async":  {Namespace: "async", Durability: channel.DurabilityAsync, HistorySize: 100},
		"memory": {Namespace: "memory", Durability: channel.DurabilityMemory, HistorySize: 100},
		"state":  {Namespace: "state", Kind: channel.KindState, Durability: channel.DurabilitySync, HistorySize: 100},
	}
	var engines []*jetstream.Engine
	for i := range 3 {
		engines = append(engines, started(t, c, i))
	}
	origin := make(map[string]channel.Position)
	last := make(map[string]channel.Position)
	for name, p := range policies {
		origin[name] = read(t, engines[0], name, p, channel.Position{}).Top
		for i := range 20 {
			r := &channel.PublishRequest{Channel: name, Policy: p, Data: []byte("x"), ID: string(rune('a' + i))}
			if p.Kind == channel.KindState {
				r.Op, r.Key = channel.OpPut, "k"
			}
			ack, err := engines[i%3].Publish(t.Context(), r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			last[name] = ack.Position
		}
	}
	for i, e := range engines {
		c.Kill(i)
		stopDead(t, e)
	}
	for i := range 3 {
		c.Restart(i)
	}
	c.Ready()
	e := started(t, c, 1)
	defer stop(t, e)
	for name, p := range policies {
		res := read(t, e, name, p, origin[name])
		same := res.Top.Epoch == last[name].Epoch
		if same != (p.Durability == channel.DurabilitySync) {
			t.Errorf("%s: the epoch was %q and is %q", name, last[name].Epoch, res.Top.Epoch)
		}
		if same && (!res.Complete || res.Top != last[name] || len(res.Pubs) != 20) {
			t.Errorf("%s: %d publications up to %v, complete %v; want 20 up to %v", name, len(res.Pubs), res.Top, res.Complete, last[name])
		}
		if !same && (res.Complete || len(res.Pubs) > 0) {
			t.Errorf("%s: another epoch answers %+v", name, res)
		}
	}
}

// started starts an engine on a node of a cluster that may not be ready.
func started(tb testing.TB, c *meshtest.Cluster, i int) *jetstream.Engine {
	tb.Helper()
	e := newEngine(tb, replicated(c, i))
	ctx, cancel := context.WithTimeout(context.Background(), patience+30*time.Second)
	defer cancel()
	if err := e.Start(ctx, newSink()); err != nil {
		tb.Fatal(err)
	}
	return e
}

// TestBehindTheOthers cuts a node off while others publish, and reads at it the
// moment it is back: its own replica lacks what was acknowledged, which nobody
// may take for the whole.
func TestBehindTheOthers(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p := logPolicy(1000)
	var engines []*jetstream.Engine
	var sinks []*sink
	for i := range 3 {
		sinks = append(sinks, newSink())
		engines = append(engines, start(t, replicated(c, i), sinks[i]))
	}
	top := subscribe(t, engines[0], "behind", p)
	first := publish(t, engines[0], "behind", p, "first")
	behind := (leader(t, c, engines[0], p) + 1) % 3
	subscribe(t, engines[behind], "behind", p)
	c.Isolate(behind)
	last := first
	for range 200 {
		last = publish(t, engines[(behind+1)%3], "behind", p, "missed")
	}
	c.Rejoin(behind)
	for range 20 {
		res := read(t, engines[behind], "behind", p, first.Position)
		if !res.Complete || res.Top != last.Position || len(res.Pubs) != 200 {
			t.Fatalf("%d publications up to %v, complete %v; want 200 up to %v", len(res.Pubs), res.Top, res.Complete, last.Position)
		}
	}
	eventually(t, func() string {
		got := sinks[behind].got("behind")
		if sinks[behind].losses("behind") > 0 || len(got) > 0 && got[len(got)-1].Position == last.Position {
			return ""
		}
		return "who was cut off was not told that something was lost"
	})
	if wrong := chained(read(t, engines[behind], "behind", p, top).Pubs, top.Offset); wrong != "" {
		t.Error(wrong)
	}
}
