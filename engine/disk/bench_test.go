package disk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/disk"
)

func BenchmarkEngine(b *testing.B) {
	for name, d := range map[string]channel.Durability{
		"sync": channel.DurabilitySync, "async": channel.DurabilityAsync, "memory": channel.DurabilityMemory,
	} {
		b.Run(name, func(b *testing.B) {
			channeltest.Benchmark(b, channeltest.Factory{
				Durability: d,
				New: func(tb testing.TB) channel.Engine {
					tb.Helper()
					e, err := disk.Open(disk.Options{Path: filepath.Join(tb.(*testing.B).TempDir(), "data")})
					if err != nil {
						tb.Fatal(err)
					}
					return e
				},
			})
		})
	}
}

// floorLog is the least that a durable publish can be: append to a file, fsync
// together with whoever is there.
type floorLog struct {
	file *os.File
	mu   struct {
		sync.Mutex
		buf     []byte
		waiting []chan struct{}
	}
	nudge chan struct{}
	done  chan struct{}
}

func newFloorLog(b *testing.B) *floorLog {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	must(b, err)
	l := &floorLog{file: f, nudge: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for range l.nudge {
			l.mu.Lock()
			buf, waiting := l.mu.buf, l.mu.waiting
			l.mu.buf, l.mu.waiting = nil, nil
			l.mu.Unlock()
			if len(waiting) == 0 {
				continue
			}
			_, err := f.Write(buf)
			must(b, err)
			must(b, f.Sync())
			for _, w := range waiting {
				close(w)
			}
		}
	}()
	return l
}

func (l *floorLog) publish(p []byte) {
	w := make(chan struct{})
	l.mu.Lock()
	l.mu.buf = append(l.mu.buf, p...)
	l.mu.waiting = append(l.mu.waiting, w)
	l.mu.Unlock()
	select {
	case l.nudge <- struct{}{}:
	default:
	}
	<-w
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// rate has publishers publish for a while, and returns how many a second and
// how long half and nearly all of them took.
func rate(publishers int, while time.Duration, publish func(i int)) (perSecond float64, p50, p99 time.Duration) {
	var n atomic.Int64
	var stop atomic.Bool
	took := make([][]time.Duration, publishers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range publishers {
		wg.Go(func() {
			for !stop.Load() {
				at := time.Now()
				publish(i)
				took[i] = append(took[i], time.Since(at))
				n.Add(1)
			}
		})
	}
	time.Sleep(while)
	stop.Store(true)
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return float64(n.Load()) / time.Since(began).Seconds(), all[len(all)/2], all[len(all)*99/100]
}

// BenchmarkDurable holds durable publishes of 256 bytes against the floor, in
// turns, so that both see the same machine.
func BenchmarkDurable(b *testing.B) {
	for _, publishers := range []int{1, 64, 512} {
		for _, channels := range []int{1, 64} {
			if channels > publishers {
				continue
			}
			b.Run(fmt.Sprintf("%d-publishers-%d-channels", publishers, channels), func(b *testing.B) {
				benchDurable(b, publishers, channels)
			})
		}
	}
}

func benchDurable(b *testing.B, publishers, channels int) {
	floor := newFloorLog(b)
	e, err := disk.Open(disk.Options{Path: filepath.Join(b.TempDir(), "data")})
	must(b, err)
	must(b, e.Start(b.Context(), &deaf{}))
	p := logPolicy(channel.DurabilitySync, 1000)
	names := make([]string, channels)
	for i := range names {
		names[i] = fmt.Sprintf("bench:%d", i)
	}
	payload := make([]byte, 256)
	var mine, its, p50, p99 []float64
	for b.Loop() {
		for range 3 {
			its = append(its, first(rate(publishers, time.Second, func(int) { floor.publish(payload) })))
			r, half, most := rate(publishers, time.Second, func(i int) {
				_, err := e.Publish(context.Background(), &channel.PublishRequest{Channel: names[i%channels], Policy: p, Data: payload})
				must(b, err)
			})
			mine, p50, p99 = append(mine, r), append(p50, float64(half.Microseconds())), append(p99, float64(most.Microseconds()))
		}
	}
	close(floor.nudge)
	<-floor.done
	must(b, floor.file.Close())
	must(b, e.Close(context.Background()))
	b.ReportMetric(middle(its), "floor/s")
	b.ReportMetric(middle(mine), "engine/s")
	b.ReportMetric(middle(mine)/middle(its), "of-floor")
	b.ReportMetric(middle(p50), "p50-µs")
	b.ReportMetric(middle(p99), "p99-µs")
}

func first(r float64, _, _ time.Duration) float64 { return r }

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkRecovery reads the last 100 publications of one of 100,000 channels
// after a restart, each channel once, so that none is in memory.
func BenchmarkRecovery(b *testing.B) {
	const channels, deep, each = 100_000, 2000, 110
	dir := filepath.Join(b.TempDir(), "data")
	p := logPolicy(channel.DurabilityAsync, 100)
	name := func(i int) string { return fmt.Sprintf("recovery:%06d", i) }
	e, err := disk.Open(disk.Options{Path: dir})
	must(b, err)
	must(b, e.Start(b.Context(), &deaf{}))
	var wg sync.WaitGroup
	const publishers = 512
	for w := range publishers {
		wg.Go(func() {
			for n := range each {
				for i := w; i < channels; i += publishers {
					// The channels that are read are among all the others, and so is what is in them.
					if i%(channels/deep) != 0 && n > 15 {
						continue
					}
					_, err := e.Publish(context.Background(), &channel.PublishRequest{Channel: name(i), Policy: p, Data: make([]byte, 256)})
					if err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	must(b, e.Close(context.Background()))
	var took []time.Duration
	for b.Loop() {
		opened := time.Now()
		e, err = disk.Open(disk.Options{Path: dir})
		must(b, err)
		b.ReportMetric(float64(time.Since(opened).Milliseconds()), "open-ms")
		must(b, e.Start(b.Context(), &deaf{}))
		for _, i := range rand.Perm(deep) {
			at := time.Now()
			res, err := e.Read(context.Background(), &channel.ReadRequest{
				Channel: name(i * (channels / deep)), Policy: p, Since: channel.Position{Offset: each - 100}, Limit: -1,
			})
			took = append(took, time.Since(at))
			if err != nil || len(res.Pubs) != 100 || !res.Complete {
				b.Fatal(len(res.Pubs), res.Complete, err)
			}
		}
		must(b, e.Close(context.Background()))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
