package disk_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/disk"
)

// TestInTurn publishes bursts on an async channel that was quiet: the first two
// of each wait for the disk, those behind them do not, and yet all are told in
// their order, and the top never goes back.
func TestInTurn(t *testing.T) {
	bursts := 3000
	if raced {
		bursts = 300
	}
	inBubble(t, disk.Options{}, func(r *rig) {
		p := logPolicy(channel.DurabilityAsync, 100)
		at := r.subscribe("c", p)
		for n := range bursts {
			var wg sync.WaitGroup
			for w := range 6 {
				wg.Go(func() {
					for range 3 {
						if _, err := r.Publish(context.Background(), &channel.PublishRequest{Channel: "c", Policy: p, Data: fmt.Append(nil, w)}); err != nil {
							r.tb.Errorf("Publish: %v", err)
						}
					}
				})
			}
			wg.Wait()
			at.Offset += 18
			if top := r.since("c", p, at).Top; top != at {
				r.tb.Errorf("after burst %d the top is %v, want %v", n, top, at)
				return
			}
			time.Sleep(1100 * time.Millisecond)
		}
		for i, pub := range r.delivered("c") {
			if pub.Offset != uint64(i+1) {
				r.tb.Errorf("publication %d was delivered as number %d", pub.Offset, i+1)
				return
			}
		}
	})
}
