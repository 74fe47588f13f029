package memory_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
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
	b.Run("hub-subscribed", func(b *testing.B) {
		for b.Loop() {
			e := memory.New(memory.Options{})
			benchHub(b, e, channels, log)
			if err := e.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
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

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
