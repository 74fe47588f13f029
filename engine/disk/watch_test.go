package disk_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// tally counts what a watcher is told.
type tally struct{ pubs, ends, gaps atomic.Int64 }

func (w *tally) Watched(p *channel.Publication) {
	if w.pubs.Add(1); p.Op == channel.OpExpire && p.Channel == "test:s" && p.Key == "k" {
		w.ends.Add(1)
	}
}

func (w *tally) Gap() { w.gaps.Add(1) }

// TestFailedDiskIsAGap has those who watch a namespace hear that something may
// be missing when its disk has failed and works again.
func TestFailedDiskIsAGap(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilitySync, 100)
	var w tally
	if err := r.Watch(t.Context(), p, &w); err != nil {
		t.Fatal(err)
	}
	r.publish("c", p, "1")
	if w.pubs.Load() != 1 || w.gaps.Load() != 0 {
		t.Errorf("%d publications and %d gaps of a disk that works", w.pubs.Load(), w.gaps.Load())
	}
	fs.begin(breaks()["sync"])
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("2")}); err == nil {
		t.Error("a publish as the disk fails succeeded")
	}
	fs.end()
	eventually(t, "the word of a gap", func() bool { return w.gaps.Load() > 0 })
	r.stop()
}

// TestEndOfAnEntryIsWatched has those who watch a namespace hear that an entry
// has ended of which nobody has spoken since the engine was started.
func TestEndOfAnEntryIsWatched(t *testing.T) {
	p := statePolicy(channel.DurabilitySync, 100)
	for ttl := time.Second; ; ttl *= 2 {
		fs := vfs.NewMem()
		r := start(t, disk.Options{FS: fs})
		begun := time.Now()
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "test:s", Policy: p, Op: channel.OpPut, Key: "k", TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		r.stop()
		r = start(t, disk.Options{FS: fs})
		var w tally
		if err := r.Watch(t.Context(), p, &w); err != nil {
			t.Fatal(err)
		}
		inTime := time.Since(begun) < ttl
		if inTime {
			eventually(t, "the entry to end", func() bool { return w.ends.Load() == 1 })
		}
		r.stop()
		if inTime {
			return
		}
	}
}

// TestWatchingKeepsNothing holds that a channel of which nothing is kept costs
// nothing once its publication has gone to those who watch.
func TestWatchingKeepsNothing(t *testing.T) {
	r := start(t, disk.Options{FS: vfs.NewMem()})
	p := &channel.Policy{Namespace: "fleeting"}
	var w tally
	if err := r.Watch(t.Context(), p, &w); err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		r.publish("fleeting:"+strconv.Itoa(n), p, "x")
	}
	if w.pubs.Load() != 200 || r.Books() != 0 {
		t.Errorf("%d publications came, %d channels are known still", w.pubs.Load(), r.Books())
	}
	r.stop()
}
