package mesh_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"myelin/mesh"
	"myelin/mesh/meshtest"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), meshtest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds, that is, returns nil.
func eventually(t *testing.T, condition func(ctx context.Context) error) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// A question to a group without a leader is not answered, and has to be
		// asked again.
		try, cancel := context.WithTimeout(ctx, time.Second)
		err := condition(try)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %v: %v", meshtest.Patience, err)
		case <-tick.C:
		}
	}
}

// stream makes a stream "S" of subjects "s.>" with so many replicas.
func stream(t *testing.T, n *mesh.Network, replicas int) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		_, err := n.JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: "S", Subjects: []string{"s.>"}, Replicas: replicas,
		})
		return err
	})
}

// publish publishes to the stream until it is acknowledged.
func publish(t *testing.T, n *mesh.Network, text string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		_, err := n.JetStream().Publish(ctx, "s.x", []byte(text), jetstream.WithMsgID(text))
		return err
	})
}

// messages waits until the stream has so many messages.
func messages(t *testing.T, n *mesh.Network, want uint64) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		s, err := n.JetStream().Stream(ctx, "S")
		if err != nil {
			return err
		}
		if got := s.CachedInfo().State.Msgs; got != want {
			return fmt.Errorf("the stream has %d messages, want %d", got, want)
		}
		return nil
	})
}
