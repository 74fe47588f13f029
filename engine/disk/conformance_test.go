package disk_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/disk"
)

// homes remembers on which file system an engine of a test lives.
type homes struct {
	mu struct {
		sync.Mutex
		of map[channel.Engine]*vfs.MemFS
	}
}

func (h *homes) open(tb testing.TB, fs *vfs.MemFS) channel.Engine {
	tb.Helper()
	e, err := disk.Open(disk.Options{Path: "data", FS: fs, FlushInterval: 50 * time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.of == nil {
		h.mu.of = make(map[channel.Engine]*vfs.MemFS)
	}
	h.mu.of[e] = fs
	return e
}

func (h *homes) home(e channel.Engine) *vfs.MemFS {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.of[e]
}

// factory makes engines on file systems in memory, whose power can be cut, in
// virtual time.
func factory(d channel.Durability) channeltest.Factory {
	h := &homes{}
	random := rand.New(rand.NewPCG(1, uint64(d)))
	channels := 0
	if raced {
		// What a channel leaves behind is found without the race detector.
		channels = 10_000
	}
	return channeltest.Factory{
		Durability: d,
		Channels:   channels,
		New:        func(tb testing.TB) channel.Engine { tb.Helper(); return h.open(tb, vfs.NewCrashableMem()) },
		Restart: func(tb testing.TB, e channel.Engine, clean bool) channel.Engine {
			tb.Helper()
			fs := h.home(e)
			left := fs
			if !clean {
				left = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random})
			}
			// A crashed process is gone from the tests too.
			if err := e.Close(context.Background()); err != nil {
				tb.Errorf("Close: %v", err)
			}
			return h.open(tb, left)
		},
	}
}

func TestConformance(t *testing.T) {
	for name, d := range map[string]channel.Durability{
		"sync": channel.DurabilitySync, "async": channel.DurabilityAsync, "memory": channel.DurabilityMemory,
	} {
		t.Run(name, func(t *testing.T) { channeltest.Run(t, factory(d)) })
	}
}
