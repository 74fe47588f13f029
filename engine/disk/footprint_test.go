package disk_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/disk"
	"myelin/hub"
)

// BenchmarkFootprint reports the bytes of memory that each of a million
// channels takes which are known and idle, with one publication of 256 bytes
// on disk, and that each takes which is subscribed, at the engine alone and
// through a hub. Time per operation is that of a million channels.
func BenchmarkFootprint(b *testing.B) {
	const channels = 1_000_000
	p := logPolicy(channel.DurabilityAsync, 100)
	open := func(b *testing.B) *disk.Engine {
		e, err := disk.Open(disk.Options{Path: filepath.Join(b.TempDir(), "data"), FlushInterval: 10 * time.Millisecond})
		must(b, err)
		return e
	}
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			before := heapInUse()
			e := open(b)
			must(b, e.Start(b.Context(), &deaf{}))
			empty := heapInUse()
			publishOnEach(b, e, channels, p)
			b.ReportMetric(float64(heapInUse()-before)/channels, "B/channel")
			b.ReportMetric(float64(e.Books()), "books")
			b.ReportMetric(float64(empty-before)/(1<<20), "MiB-empty")
			must(b, e.Close(context.Background()))
		}
	})
	b.Run("subscribed", func(b *testing.B) {
		for b.Loop() {
			e := open(b)
			must(b, e.Start(b.Context(), &deaf{}))
			before := heapInUse()
			for i := range channels {
				_, err := e.Subscribe(context.Background(), fmt.Sprintf("namespace:%010d", i), p)
				must(b, err)
			}
			b.ReportMetric(float64(heapInUse()-before)/channels, "B/channel")
			must(b, e.Close(context.Background()))
		}
	})
	b.Run("hub-subscribed", func(b *testing.B) {
		for b.Loop() {
			e := open(b)
			benchHub(b, e, channels, p)
			must(b, e.Close(context.Background()))
		}
	})
}

// publishOnEach publishes 256 bytes on each of so many channels.
func publishOnEach(b *testing.B, e *disk.Engine, channels int, p *channel.Policy) {
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < channels; i += 64 {
				_, err := e.Publish(context.Background(), &channel.PublishRequest{
					Channel: fmt.Sprintf("namespace:%010d", i), Policy: p, Data: make([]byte, 256),
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// benchHub reports the bytes that a channel takes on a node with a hub, engine
// included, when one client of a thousand channels listens to it: the book, the
// topic and the subscription.
func benchHub(b *testing.B, e channel.Engine, channels int, p *channel.Policy) {
	const each = 1000
	all := auth.NewWhoSet(auth.WhoAnonymous)
	space := &hub.Namespace{Policy: p, Rules: auth.Rules{Subscribe: all}, Recover: p.Recoverable()}
	h := hub.New(hub.Options{
		Engine: e, Namespaces: map[string]*hub.Namespace{"namespace": space}, PingInterval: -1,
		Limits: hub.Limits{ChannelsPerConnection: each},
	})
	must(b, e.Start(b.Context(), h))
	sessions := make([]*hub.Session, channels/each)
	for i := range sessions {
		s, err := h.Open(hub.SessionOptions{Conn: wall{}, Form: wall{}})
		must(b, err)
		must(b, s.Connect(&auth.Identity{Anonymous: true}))
		sessions[i] = s
	}
	before := heapInUse()
	for i := range channels {
		name := fmt.Sprintf("namespace:%010d", i)
		sn, err := sessions[i/each].Subscribe(b.Context(), hub.SubscribeRequest{Channel: name, Recoverable: true})
		must(b, err)
		sn.Live(nil)
	}
	b.ReportMetric(float64(heapInUse()-before)/float64(channels), "B/channel")
	h.Close()
}

// wall is a connection and a form that take everything and keep nothing.
type wall struct{}

func (wall) WriteNow(p []byte) (int, error)              { return len(p), nil }
func (wall) NotifyWritable(ready func())                 { go ready() }
func (wall) Close()                                      {}
func (wall) AppendEvent(dst []byte, _ *hub.Event) []byte { return dst }

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
