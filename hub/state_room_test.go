package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/observe"
)

// slowReads is an engine that takes a while to read.
type slowReads struct{ channel.Engine }

func (e slowReads) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	<-time.After(time.Second)
	return e.Engine.Read(ctx, r)
}

// The entries that the hub keeps have so much room, however many channels are
// being read at the same moment; and there is room again when nobody needs them.
func TestStateRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, slowReads{memory.New(memory.Options{})}, func(o *hub.Options) { o.Limits.StateBytes = 20_000 })
		names := []string{"state:a", "state:b", "state:c"}
		for _, name := range names {
			for i := range 10 {
				s.set(name, fmt.Sprint(i), strings.Repeat("x", 1000))
			}
		}
		clients := make([]*client, len(names))
		errs := make([]error, len(names))
		var joining sync.WaitGroup
		for i, name := range names {
			clients[i] = s.connect("u")
			joining.Go(func() { _, errs[i] = clients[i].follow(name, 0) })
		}
		joining.Wait()
		in := -1
		for i, err := range errs {
			switch {
			case err == nil && in < 0:
				in = i
			case err == nil:
				t.Error("two channels of 10 kB each are kept in 20 kB, with what an entry takes beside its data")
			case !errors.Is(err, channel.ErrLimitExceeded):
				t.Error(err)
			}
		}
		if in < 0 {
			t.Fatal("none is kept")
		}
		if n := s.metrics.Limit(observe.LimitStateBytes).Value(); n != int64(len(names)-1) {
			t.Errorf("the limit was counted %d times", n)
		}
		if err := clients[in].Unsubscribe(names[in]); err != nil {
			t.Error(err)
		}
		other := (in + 1) % len(names)
		if _, err := clients[other].follow(names[other], 0); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	})
}

// A node has so many snapshots being read at a time, whoever reads them, and
// room again when they are given up.
func TestSnapshotsOfANodeAreBounded(t *testing.T) {
	const each, most = 16, 10_000
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		for i := range each {
			for _, key := range []string{"a", "b"} {
				s.set(fmt.Sprint("state:", i), key, "x")
			}
		}
		begin := func(c *client, i int) error {
			_, err := c.SubscribeState(context.Background(), hub.StateRequest{
				Subscribe: hub.SubscribeRequest{Channel: fmt.Sprint("state:", i)}, Limit: 1,
			})
			return err
		}
		var all []*client
		for i := range most {
			if i%each == 0 {
				all = append(all, s.connect("u"))
			}
			if err := begin(all[len(all)-1], i%each); err != nil {
				t.Fatalf("snapshot %d: %v", i, err)
			}
		}
		one := s.connect("one more")
		if err := begin(one, 0); !errors.Is(err, channel.ErrTooManyRequests) {
			t.Errorf("one more than a node may have: %v", err)
		}
		if n := s.metrics.Limit(observe.LimitSnapshots).Value(); n != 1 {
			t.Errorf("counted %d times", n)
		}
		all[0].Close(hub.DisconnectConnectionClosed)
		s.settle()
		for i := range each {
			if err := begin(one, i); err != nil {
				t.Errorf("when another has left: %v", err)
			}
		}
		if err := begin(s.connect("and one more"), 0); !errors.Is(err, channel.ErrTooManyRequests) {
			t.Errorf("when all are taken again: %v", err)
		}
	})
}
