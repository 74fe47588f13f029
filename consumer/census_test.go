package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"myelin/channel"
	"myelin/consumer"
)

// countsLists counts how often all entries of a channel are asked for.
type countsLists struct {
	channel.Engine
	n atomic.Int64
}

func (e *countsLists) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if r.Key == "" {
		e.n.Add(1)
	}
	return e.Engine.Snapshot(ctx, r)
}

// One user's clients cannot use up what there may be for all, and what is
// refused costs no look at all there are.
func TestTooManyConsumersOfAUser(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		counted := &countsLists{Engine: r.engine}
		small := newRig(t, counted, func(o *consumer.Options) {
			o.Limits = consumer.Limits{Consumers: 5, PerUser: 2}
			o.Rules["jobs"] = consumer.Rules{Clients: consumer.ClientsAny}
		})
		moved(r.engine, small)
		defer small.stop()
		mallory, ann, nobody := small.connect("mallory"), small.connect("ann"), small.connect("")
		if err := errors.Join(mallory.sit("a", "jobs:a"), mallory.sit("b", "jobs:b"), nobody.sit("n", "jobs:n")); err != nil {
			t.Fatal(err)
		}
		before := counted.n.Load()
		for i := range 100 {
			if err := mallory.sit(fmt.Sprint("c", i), "jobs:c"); !errors.Is(err, channel.ErrLimitExceeded) {
				t.Fatalf("a third of a user: %v", err)
			}
		}
		if n := counted.n.Load() - before; n > 1 {
			t.Errorf("all were read %d times for 100 refusals", n)
		}
		if n := small.metrics.Limit("consumers").Value(); n != 100 {
			t.Errorf("%d hits of the limit", n)
		}
		if err := ann.sit("c", "jobs:c"); err != nil {
			t.Errorf("another user: %v", err)
		}
		if err := mallory.sit("c", "jobs:c"); err != nil {
			t.Errorf("one that is there: %v", err)
		}
		if err := small.m.Delete(t.Context(), "a", "jobs:a"); err != nil {
			t.Fatal(err)
		}
		if err := mallory.sit("d", "jobs:d"); err != nil {
			t.Errorf("after one was deleted: %v", err)
		}
		if _, err := small.m.Create(t.Context(), "e", "jobs:e", consumer.Settings{}, fresh); err != nil {
			t.Errorf("the server's side: %v", err)
		}
	})
}
