package jetstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// replicas returns how many copies there are of the stream of a policy.
func replicas(tb testing.TB, e *jetstream.Engine, p *channel.Policy) int {
	tb.Helper()
	name, err := jetstream.StreamOf(context.Background(), e, p)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := e.JetStream().Stream(context.Background(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return st.CachedInfo().Config.Replicas
}

// TestFewerCopies holds that a node that is told of fewer copies than there
// are takes none away, not even where it has the stream changed for something
// else, and that one that is told of more adds them.
func TestFewerCopies(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	for i, step := range []struct{ asks, want int }{{1, 1}, {3, 3}, {1, 3}} {
		o := replicated(c, i)
		p := logPolicy(10 + i)
		o.Replicas, o.Namespaces = step.asks, []*channel.Policy{p}
		e := start(t, o, newSink())
		defer stop(t, e)
		if got := replicas(t, e, p); got != step.want {
			t.Errorf("a node that is told of %d copies: there are %d, want %d", step.asks, got, step.want)
		}
	}
}

// TestTwoOfThreeAfterAll has two of three nodes start after all were down: what
// is on disk is served, and what was in memory does not keep them from it.
func TestTwoOfThreeAfterAll(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	sync := logPolicy(10)
	memory := &channel.Policy{Namespace: "memory", Durability: channel.DurabilityMemory, HistorySize: 10}
	options := func(i int) jetstream.Options {
		o := replicated(c, i)
		o.Namespaces, o.PublishTimeout = []*channel.Policy{memory, sync}, 3*time.Second
		return o
	}
	first := start(t, options(0), newSink())
	last := publish(t, first, "x", sync, "1")
	publish(t, first, "x", memory, "1")
	for i := range 3 {
		c.Kill(i)
	}
	stopDead(t, first)
	c.Restart(0)
	c.Restart(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Node(0).Ready(ctx); err != nil {
		t.Fatal(err)
	}
	e := start(t, options(0), newSink())
	defer stop(t, e)
	if res := read(t, e, "x", sync, channel.Position{}); res.Top != last.Position {
		t.Errorf("the top is %v, want %v", res.Top, last.Position)
	}
	publish(t, e, "x", sync, "2")
	if _, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "x", Policy: memory, Data: []byte("2")}); err != nil && !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("a namespace that nobody leads: %v", err)
	}
}
