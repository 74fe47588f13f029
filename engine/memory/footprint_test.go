package memory_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
)

// BenchmarkFootprint reports the bytes that a channel takes, with a name of 20
// bytes. Time per operation is that of a million channels.
func BenchmarkFootprint(b *testing.B) {
	const channels = 1_000_000
	wind := &channel.Policy{}
	log := &channel.Policy{HistorySize: 100, HistoryTTL: time.Hour}
	state := &channel.Policy{Kind: channel.KindState, HistorySize: 100}
	for what, use := range map[string]func(e *memory.Engine, name string) error{
		"ephemeral-subscribed": func(e *memory.Engine, name string) error {
			_, err := e.Subscribe(b.Context(), name, wind)
			return err
		},
		"idle": func(e *memory.Engine, name string) error {
			if _, err := e.Publish(b.Context(), &channel.PublishRequest{Channel: name, Policy: log}); err != nil {
				return err
			}
			return e.Remove(b.Context(), name, log)
		},
		"one-publication-256B": func(e *memory.Engine, name string) error {
			_, err := e.Publish(b.Context(), &channel.PublishRequest{Channel: name, Policy: log, Data: make([]byte, 256)})
			return err
		},
		"one-entry-256B": func(e *memory.Engine, name string) error {
			_, err := e.Publish(b.Context(), &channel.PublishRequest{
				Channel: name, Policy: state, Op: channel.OpPut, Key: "key", Data: make([]byte, 256),
			})
			return err
		},
	} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				e := memory.New(memory.Options{})
				if err := e.Start(b.Context(), &bench{}); err != nil {
					b.Fatal(err)
				}
				before := heapInUse()
				for i := range channels {
					if err := use(e, fmt.Sprintf("namespace:%010d", i)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heapInUse()-before)/channels, "B/channel")
				b.ReportMetric(float64(memory.BookSize), "B/book")
				begin := time.Now()
				runtime.GC()
				b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms/GC")
				if err := e.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
