package channeltest

import (
	"fmt"
	"runtime"

	"myelin/channel"
)

func scaleChecks() []check {
	return []check{
		{"scale/channels", checkManyChannelsLeak},
	}
}

const (
	// leakPerChannel is how many bytes a channel that is gone may leave: less
	// than a pointer and its slot.
	leakPerChannel = 16
	// leakSlack is what the heap may differ by for other reasons.
	leakSlack = 4 << 20
	// extraGoroutines is how many goroutines an engine may have for any number
	// of channels.
	extraGoroutines = 64
)

// checkManyChannelsLeak subscribes to very many channels and leaves them,
// twice with other names: the second time must leave nothing that the first
// had not.
func checkManyChannelsLeak(x *exam) {
	p := x.ephemeral()
	goroutines := runtime.NumGoroutine()
	round := func(round int) {
		name := func(i int) string { return fmt.Sprintf("scale:%d:%d", round, i) }
		for i := range x.f.Channels {
			x.subscribe(name(i), p)
		}
		if n := runtime.NumGoroutine(); n > goroutines+extraGoroutines {
			x.failf("%d channels have %d goroutines", x.f.Channels, n-goroutines)
		}
		for i := 0; i < x.f.Channels; i += x.f.Channels/10 + 1 {
			x.await(name(i), x.publish(name(i), p, "x").Position)
		}
		for i := range x.f.Channels {
			x.e.Unsubscribe(name(i))
		}
		x.pass(1)
	}
	round(1)
	before := heapInUse()
	round(2)
	after := heapInUse()
	if limit := before + int64(x.f.Channels)*leakPerChannel + leakSlack; after > limit {
		x.failf("%d channels that are gone hold %d bytes", x.f.Channels, after-before)
	}
	runtime.KeepAlive(x.e)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var _ channel.Sink = (*recorder)(nil)
