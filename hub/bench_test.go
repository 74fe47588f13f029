package hub_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// null is a Conn that takes everything and keeps nothing.
type null struct{ sum *sum }

// sum counts what many null connections took, and tells when that is enough.
type sum struct {
	bytes atomic.Int64
	want  atomic.Int64
	done  chan struct{}
}

func (n null) WriteNow(p []byte) (int, error) {
	if n.sum != nil && n.sum.bytes.Add(int64(len(p))) == n.sum.want.Load() {
		n.sum.done <- struct{}{}
	}
	return len(p), nil
}

func (null) NotifyWritable(ready func()) { go ready() }
func (null) Close()                      {}

// frame is a Form that costs next to nothing: a frame of one size.
type frame struct{ bytes []byte }

func (f *frame) AppendEvent(dst []byte, e *hub.Event) []byte {
	if e.Kind != hub.EventPublication {
		return dst
	}
	return append(dst, f.bytes...)
}

// benchHub returns a hub with sessions that take everything.
func benchHub(b *testing.B, sessions int, to *sum) (*hub.Hub, []*hub.Session) {
	b.Helper()
	e := memory.New(memory.Options{})
	spaces := namespaces()
	spaces["live"].Delta = true
	h := hub.New(hub.Options{Engine: e, Namespaces: spaces, Limits: hub.Limits{Connections: 1 << 20}})
	if err := e.Start(b.Context(), h); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		h.Close()
		if err := e.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	form := &frame{[]byte(strings.Repeat("x", 190))} // 128 bytes of data, in JSON
	all := make([]*hub.Session, sessions)
	for i := range all {
		s, err := h.Open(hub.SessionOptions{Conn: null{to}, Form: form, Pongs: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Connect(&auth.Identity{Anonymous: true}); err != nil {
			b.Fatal(err)
		}
		all[i] = s
	}
	return h, all
}

func benchJoin(b *testing.B, s *hub.Session, name string) {
	sn, err := s.Subscribe(context.Background(), hub.SubscribeRequest{Channel: name})
	if err != nil {
		b.Fatal(err)
	}
	sn.Live(nil)
}

// BenchmarkFanout delivers to 500 subscribers, with some publications
// outstanding at a time. An operation is one delivery to one subscriber.
func BenchmarkFanout(b *testing.B) {
	const subscribers = 500
	for _, outstanding := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("outstanding=", outstanding), func(b *testing.B) {
			to := &sum{done: make(chan struct{}, 1)}
			h, sessions := benchHub(b, subscribers, to)
			for _, s := range sessions {
				benchJoin(b, s, "live:x")
			}
			to.want.Store(subscribers * 190)
			ack, err := h.Publish(b.Context(), &channel.PublishRequest{Channel: "live:x", Data: []byte("x")})
			if err != nil {
				b.Fatal(err)
			}
			<-to.done
			at := ack.Position
			pubs := make([]*channel.Publication, outstanding)
			b.ReportAllocs()
			rounds := b.N/(subscribers*outstanding) + 1
			b.ResetTimer()
			for range rounds {
				for i := range pubs {
					p := &channel.Publication{Channel: "live:x", Position: at, Prev: at.Offset}
					p.Offset++
					at, pubs[i] = p.Position, p
				}
				to.want.Add(int64(subscribers * outstanding * 190))
				for _, p := range pubs {
					h.Deliver(p)
				}
				<-to.done
			}
			b.StopTimer()
			n := float64(rounds * subscribers * outstanding)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/delivery")
		})
	}
}

// BenchmarkSubscribe joins and leaves a channel, one that is there already and
// one that is opened at the engine each time.
func BenchmarkSubscribe(b *testing.B) {
	for name, there := range map[string]bool{"channel=there": true, "channel=new": false} {
		b.Run(name, func(b *testing.B) {
			_, sessions := benchHub(b, 2, nil)
			if there {
				benchJoin(b, sessions[1], "log:x")
			}
			b.ReportAllocs()
			for b.Loop() {
				benchJoin(b, sessions[0], "log:x")
				if err := sessions[0].Unsubscribe("log:x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublish is the whole way through the memory engine, to one
// subscriber.
func BenchmarkPublish(b *testing.B) {
	h, sessions := benchHub(b, 1, nil)
	benchJoin(b, sessions[0], "log:x")
	data := []byte(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Publish(context.Background(), &channel.PublishRequest{Channel: "log:x", Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdleSession measures what a session costs that does nothing: its
// heap, without its connection. An operation is one session that opens.
func BenchmarkIdleSession(b *testing.B) {
	for _, subs := range []int{0, 1, 10} {
		b.Run(fmt.Sprint("subscriptions=", subs), func(b *testing.B) {
			const sessions = 20_000
			var used uint64
			for b.Loop() {
				b.StopTimer()
				h, warm := benchHub(b, 1, nil)
				for i := range subs {
					benchJoin(b, warm[0], fmt.Sprint("room:", i))
				}
				before := heap()
				b.StartTimer()
				form := &frame{}
				all := make([]*hub.Session, sessions)
				for i := range all {
					s, err := h.Open(hub.SessionOptions{Conn: null{}, Form: form, Pongs: true})
					if err != nil {
						b.Fatal(err)
					}
					if err := s.Connect(&auth.Identity{Anonymous: true}); err != nil {
						b.Fatal(err)
					}
					for n := range subs {
						benchJoin(b, s, fmt.Sprint("room:", n))
					}
					all[i] = s
				}
				b.StopTimer()
				for h.Info(context.Background())[0].Subscriptions < sessions*subs {
					runtime.Gosched()
				}
				used = heap() - before
				runtime.KeepAlive(all)
				h.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/sessions, "B/session")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sessions), "ns/session")
		})
	}
}

// heap returns the bytes in use after collecting.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
