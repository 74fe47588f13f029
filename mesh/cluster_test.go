package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

func TestThreeNodesKeepAStream(t *testing.T) {
	t.Parallel()
	c := meshtest.New(t, 3, nil)
	stream(t, c.Node(0), 3)
	for _, n := range c.Nodes() {
		publish(t, n, n.Node())
	}
	c.Kill(0)
	publish(t, c.Node(1), "without a")
	c.Restart(0)
	c.Ready()
	messages(t, c.Node(0), 4)
	eventually(t, func(context.Context) error { return c.Node(0).Healthy() })
}

// A node without storage uses that of the others, and does not count when they
// first look for a quorum.
func TestNodeWithoutStorage(t *testing.T) {
	t.Parallel()
	for _, storage := range []int{1, 3} {
		t.Run(fmt.Sprint(storage), func(t *testing.T) {
			t.Parallel()
			c := meshtest.Prepare(t, storage+1, func(i int, o *mesh.Options) {
				o.StorageNodes = storage
				if i == storage {
					o.Storage, o.StorePath = false, ""
				}
			})
			for i := range storage {
				c.Restart(i)
			}
			if storage > 1 {
				// Alone it would wait for a first connection to another node.
				c.Ready()
			}
			last := c.Restart(storage)
			c.Ready()
			stream(t, c.Node(0), storage)
			publish(t, last, "from outside")
			messages(t, last, 1)
			eventually(t, func(context.Context) error { return last.Healthy() })
			if err := last.Retire(within(t)); err != nil {
				t.Errorf("Retire of a node without storage: %v", err)
			}
			c.Stop(0)
			if storage == 1 {
				eventually(t, func(context.Context) error {
					if last.Healthy() == nil {
						return errors.New("a node without storage is healthy while there is none")
					}
					return nil
				})
			}
			c.Restart(0)
			c.Ready()
			messages(t, last, 1)
		})
	}
}

// Without the others a node is not healthy, says what it waits for, and is
// healthy again when they are back.
func TestLossOfTheQuorum(t *testing.T) {
	t.Parallel()
	var said diary
	c := meshtest.New(t, 3, func(i int, o *mesh.Options) {
		if i == 0 {
			o.Logger = said.logger()
		}
	})
	eventually(t, func(context.Context) error { return c.Node(0).Healthy() })
	c.Kill(1)
	c.Isolate(0)
	eventually(t, func(context.Context) error {
		if c.Node(0).Healthy() == nil {
			return errors.New("a node on its own is healthy")
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() { gaveUp <- c.Node(0).Ready(ctx) }()
	said.says(t, "waiting for a quorum")
	cancel()
	if err := <-gaveUp; !errors.Is(err, channel.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Ready without a quorum: %v", err)
	}
	c.Rejoin(0)
	c.Ready()
	eventually(t, func(context.Context) error { return c.Node(0).Healthy() })
}

// After Retire nothing is led from a node any more, and the others go on.
func TestRetire(t *testing.T) {
	t.Parallel()
	c := meshtest.New(t, 3, nil)
	const streams = 6
	for i := range streams {
		eventually(t, func(ctx context.Context) error {
			_, err := c.Node(0).JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{
				Name: fmt.Sprint("S", i), Subjects: []string{fmt.Sprintf("s%d.>", i)}, Replicas: 3,
			})
			return err
		})
	}
	led := func(node string) (count int) {
		for i := range streams {
			eventually(t, func(ctx context.Context) error {
				s, err := c.Node(0).JetStream().Stream(ctx, fmt.Sprint("S", i))
				if err != nil {
					return err
				}
				switch s.CachedInfo().Cluster.Leader {
				case "":
					return errors.New("no leader")
				case node:
					count++
				}
				return nil
			})
		}
		return count
	}
	all := 0
	for _, n := range c.Nodes() {
		all += led(n.Node())
	}
	if all != streams {
		t.Fatalf("%d of %d streams have a known leader", all, streams)
	}
	for i, n := range c.Nodes() {
		if err := n.Retire(within(t)); err != nil {
			t.Fatalf("Retire of %s: %v", n.Node(), err)
		}
		if count := led(n.Node()); count > 0 {
			t.Errorf("%s leads %d streams after it retired", n.Node(), count)
		}
		if i == 2 {
			c.Stop(2)
		}
	}
	eventually(t, func(ctx context.Context) error {
		_, err := c.Node(0).JetStream().Publish(ctx, "s0.x", nil)
		return err
	})
	// Alone there is nobody to hand over to.
	if err := open(t, meshtest.Options(t, "alone")).Retire(within(t)); err != nil {
		t.Errorf("Retire of a node alone: %v", err)
	}
}

// Who feeds on messages is told when some may be missing.
func TestDisturbances(t *testing.T) {
	t.Parallel()
	c := meshtest.Prepare(t, 2, func(_ int, o *mesh.Options) { o.Storage, o.StorePath, o.StorageNodes = false, "", 1 })
	var mu sync.Mutex
	told := make(map[mesh.Cause]int)
	stop := c.Restart(0).Watch(func(d mesh.Disturbance) {
		mu.Lock()
		defer mu.Unlock()
		told[d.Cause]++
	})
	wait := func(cause mesh.Cause, atLeast int) {
		t.Helper()
		eventually(t, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if told[cause] < atLeast {
				return fmt.Errorf("told %v, want %d of %s", told, atLeast, cause)
			}
			return nil
		})
	}
	c.Restart(1)
	wait(mesh.CauseRoutes, 1)
	mu.Lock()
	before := told[mesh.CauseRoutes]
	mu.Unlock()
	c.Kill(1)
	wait(mesh.CauseRoutes, before+1)

	conn := c.Node(0).Conn()
	sub, err := conn.SubscribeSync("flood")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(1, -1); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := conn.Publish("flood", nil); err != nil {
			t.Fatal(err)
		}
	}
	wait(mesh.CauseSlow, 1)
	stop()
}
