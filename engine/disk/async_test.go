package disk_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// TestAsyncLosesTheIntervalOnly cuts the power at many moments, in virtual
// time and with all that was not synced gone: what is lost of async channels
// was acknowledged within the flush interval, and a new epoch says so.
func TestAsyncLosesTheIntervalOnly(t *testing.T) {
	const interval = 20 * time.Millisecond
	worst, lost := time.Duration(0), 0
	step := 1
	if raced {
		step = 4
	}
	for n := 0; n < 60; n += step {
		synctest.Test(t, func(t *testing.T) {
			age, count := loseAfter(t, interval, time.Duration(n)*1700*time.Microsecond)
			worst, lost = max(worst, age), lost+count
		})
	}
	if worst > interval {
		t.Errorf("a publication is gone that was acknowledged %v before the power, the interval is %v", worst, interval)
	}
	// The test has to see losses, and such as are nearly as old as may be.
	if lost == 0 || worst < interval/2 {
		t.Errorf("%d publications were lost, the oldest %v before the power went: the test did not test", lost, worst)
	}
	t.Logf("%d publications were lost, the oldest %v before the power went", lost, worst)
}

// loseAfter publishes every half millisecond, cuts the power after a while and
// returns how many acknowledged publications are gone and the greatest age of
// one.
func loseAfter(t *testing.T, interval, while time.Duration) (oldest time.Duration, lost int) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	r := start(t, disk.Options{FS: fs, FlushInterval: interval})
	p := logPolicy(channel.DurabilityAsync, 1000)
	type ack struct {
		at   channel.Position
		when time.Time
	}
	acks := make(map[string]ack)
	for begin := time.Now(); time.Since(begin) <= while; time.Sleep(time.Millisecond / 2) {
		data := fmt.Sprint(len(acks))
		acks[data] = ack{r.publish("c", p, data).Position, time.Now()}
	}
	left, crash := fs.CrashClone(vfs.CrashCloneCfg{}), time.Now()
	r.stop()
	r = start(t, disk.Options{FS: left, FlushInterval: interval})
	defer r.stop()
	res := r.since("c", p, channel.Position{})
	for _, pub := range res.Pubs {
		delete(acks, string(pub.Data))
	}
	for data, a := range acks {
		oldest = max(oldest, crash.Sub(a.when))
		if a.at.Epoch == res.Top.Epoch {
			t.Errorf("%q was acknowledged and is gone, and the epoch goes on", data)
		}
	}
	return oldest, len(acks)
}
