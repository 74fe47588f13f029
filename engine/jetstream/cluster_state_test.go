package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestOneStateOfThree has writers on three nodes count by compare-and-set, and
// entries end while all nodes look: no update is lost, every end comes once, and
// all nodes see one chain.
func TestOneStateOfThree(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p := &channel.Policy{Namespace: "test", Kind: channel.KindState, Durability: channel.DurabilitySync, HistorySize: 1000}
	var engines []*jetstream.Engine
	var sinks []*sink
	for i := range 3 {
		sinks = append(sinks, newSink())
		engines = append(engines, start(t, replicated(c, i), sinks[i]))
		subscribe(t, engines[i], "state", p)
	}
	const writers, each, ending = 6, 10, 20
	for i := range ending {
		_, err := engines[i%3].Publish(t.Context(), &channel.PublishRequest{
			Channel: "state", Policy: p, Op: channel.OpPut, Key: fmt.Sprint("ends-", i), TTL: time.Duration(100*(i%4)+200) * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for range each {
				if err := increment(engines[w%3], p); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	work.Wait()
	for i, s := range sinks {
		eventually(t, func() string {
			if n := len(s.got("state")); n < ending*2+writers*each {
				return fmt.Sprintf("node %d has %d publications of %d", i, n, ending*2+writers*each)
			}
			return ""
		})
		got := s.got("state")
		if wrong := chained(got, 0); wrong != "" || s.losses("state") > 0 {
			t.Errorf("node %d: %s, lost %d times", i, wrong, s.losses("state"))
		}
		count, ends := 0, make(map[string]int)
		for _, pub := range got {
			switch {
			case pub.Op == channel.OpExpire:
				ends[pub.Key]++
			case pub.Key == "count":
				if count++; string(pub.Data) != strconv.Itoa(count) {
					t.Errorf("node %d: count %d came as %s", i, count, pub.Data)
				}
			}
		}
		if len(got) != ending*2+writers*each || len(ends) != ending {
			t.Errorf("node %d: %d publications, the ends of %d keys", i, len(got), len(ends))
		}
	}
}

// increment adds one to the count, however many others do.
func increment(e *jetstream.Engine, p *channel.Policy) error {
	for {
		page, err := e.Snapshot(context.Background(), &channel.SnapshotRequest{Channel: "state", Policy: p})
		if err != nil {
			return err
		}
		var at uint64
		count := 0
		for _, item := range page.Items {
			if item.Key == "count" {
				at = item.Offset
				if count, err = strconv.Atoi(string(item.Data)); err != nil {
					return err
				}
			}
		}
		_, err = e.Publish(context.Background(), &channel.PublishRequest{
			Channel: "state", Policy: p, Op: channel.OpPut, Key: "count", Data: []byte(strconv.Itoa(count + 1)), Expect: &at,
		})
		if !errors.Is(err, channel.ErrConflict) {
			return err
		}
	}
}
