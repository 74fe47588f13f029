package hub_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

func TestConnectionsAreListed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newLake(1, time.Millisecond, 0)
		w := newTown(t, nil, func(string) channel.Engine { return shared.port() }, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		slow, quick := b.connect("ann"), a.connect("bob")
		for _, c := range []*client{slow, quick} {
			c.subscribe("log:x")
		}
		slow.allow(3)
		b.publish("log:x", "1", "2")
		wait(time.Second)
		list, err := a.hub.ListConnections(context.Background(), "", 10)
		if err != nil || list.Total != 2 || len(list.Connections) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		first, second := list.Connections[0], list.Connections[1]
		if first.Client != slow.ID() || first.User != "ann" || first.Node != "b" || first.Queued == 0 || first.BlockedAt == 0 || fmt.Sprint(first.Channels) != "[log:x]" {
			t.Errorf("the slow one is %+v", first)
		}
		if second.Client != quick.ID() || second.Queued != 0 || second.BlockedAt != 0 || second.Subscriptions != 1 {
			t.Errorf("the quick one is %+v", second)
		}
		if list, err = a.hub.ListConnections(context.Background(), "ann", 10); err != nil || list.Total != 1 || list.Connections[0].User != "ann" {
			t.Errorf("those of ann: %+v, %v", list, err)
		}
		if list, err = a.hub.ListConnections(context.Background(), "", 1); err != nil || list.Total != 2 || len(list.Connections) != 1 {
			t.Errorf("one of two: %+v, %v", list, err)
		}
	})
}

func TestLimitsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.Limits.MessageBytes = 4 }, nil, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		for range 3 {
			if _, err := b.hub.Publish(context.Background(), &channel.PublishRequest{Channel: "log:x", Data: []byte("too long")}); err == nil {
				t.Fatal("a long message went through")
			}
		}
		if got := fmt.Sprint(a.hub.LimitsHit(context.Background())); got != "[{a map[] false} {b map[message:3] false}]" {
			t.Errorf("limits are %s", got)
		}
	})
}
