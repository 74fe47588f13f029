package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
)

// counting is a sink for many goroutines.
type counting struct {
	mu struct {
		sync.Mutex
		last map[string]channel.Position
		bad  []string
	}
}

func (c *counting) Lost(string) {}

func (c *counting) Cleared(string) {}

func (c *counting) Deliver(p *channel.Publication) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.mu.last[p.Channel]; last.Epoch == p.Epoch && p.Offset <= last.Offset {
		c.mu.bad = append(c.mu.bad, fmt.Sprintf("%q: %d after %d", p.Channel, p.Offset, last.Offset))
	}
	c.mu.last[p.Channel] = p.Position
}

// TestChaos has goroutines do everything at once on a few channels with short
// lives, and wants the books to balance when all is over.
func TestChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{MaxChannels: 12, MaxBytes: 20_000, MaxEntries: 5, MaxIDsPerChannel: 7, MaxIDs: 40})
		sink := &counting{}
		sink.mu.last = make(map[string]channel.Position)
		if err := e.Start(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { rampage(t, e, rand.New(rand.NewPCG(uint64(i), 1))) })
		}
		wg.Wait()
		for i := range 16 {
			e.Unsubscribe(fmt.Sprint(i))
		}
		// Longer than anything lives.
		time.Sleep(time.Hour)
		synctest.Wait()
		if left := e.Stats(); left != (memory.Stats{}) {
			t.Errorf("when everything is over %+v are counted", left)
		}
		if at, ok := e.NextWake(); ok {
			t.Errorf("when everything is over the engine wakes in %v", time.Until(at))
		}
		if len(sink.mu.bad) > 0 {
			t.Errorf("delivered out of order: %q", sink.mu.bad)
		}
	})
}

// chaosPolicy returns the policy of the i-th channel of the chaos.
func chaosPolicy(i int) *channel.Policy {
	p := &channel.Policy{
		Kind: channel.Kind(i % 2), HistorySize: i % 3 * 4, HistoryTTL: 20 * time.Second, MetaTTL: 15 * time.Second,
		KeyTTL: 10 * time.Second, DedupeWindow: 5 * time.Second,
	}
	if i%5 == 0 {
		p.Kind, p.HistorySize = channel.KindLog, 0
	}
	return p
}

func rampage(t *testing.T, e *memory.Engine, random *rand.Rand) {
	ctx := context.Background()
	for range 3000 {
		i := random.IntN(16)
		name, p := fmt.Sprint(i), chaosPolicy(i)
		var err error
		switch random.IntN(12) {
		case 0:
			_, err = e.Subscribe(ctx, name, p)
		case 1:
			e.Unsubscribe(name)
		case 2:
			_, err = e.Read(ctx, &channel.ReadRequest{Channel: name, Policy: p, Limit: random.IntN(5) - 1, Reverse: random.IntN(2) == 0})
		case 3:
			if p.Kind == channel.KindState {
				_, err = e.Snapshot(ctx, &channel.SnapshotRequest{Channel: name, Policy: p})
			}
		case 4:
			err = e.Remove(ctx, name, p)
		case 5:
			time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
		default:
			r := &channel.PublishRequest{Channel: name, Policy: p, Data: make([]byte, random.IntN(500))}
			if p.Kind == channel.KindState {
				r.Op, r.Key = channel.Op(1+random.IntN(2)), fmt.Sprint(random.IntN(8))
				r.TTL = time.Duration(random.IntN(10)) * time.Second
			}
			if random.IntN(3) == 0 {
				r.ID = fmt.Sprint(random.IntN(20))
			}
			_, err = e.Publish(ctx, r)
		}
		if err != nil && !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("%v", err)
		}
	}
}
