package channeltest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"myelin/channel"
)

// quiet is a Sink that only counts.
type quiet struct{ n atomic.Int64 }

func (q *quiet) Deliver(*channel.Publication) { q.n.Add(1) }
func (q *quiet) Lost(string)                  {}
func (q *quiet) Cleared(string)               {}

// Benchmark measures the hot paths of an engine. "handoff" is what handing a
// publication from one goroutine to another costs on the same machine at the
// same time: the figure to hold the others against.
func Benchmark(b *testing.B, f Factory) {
	log := &channel.Policy{Namespace: "bench", Durability: f.Durability, HistorySize: 100}
	b.Run("handoff", benchHandoff)
	b.Run("publish/ephemeral", func(b *testing.B) { benchPublish(b, f, &channel.Policy{Namespace: "bench"}) })
	b.Run("publish/history-100", func(b *testing.B) { benchPublish(b, f, log) })
	b.Run("publish/parallel", func(b *testing.B) { benchParallel(b, f, log) })
	b.Run("publish/id", func(b *testing.B) { benchID(b, f, log) })
	b.Run("read/top", func(b *testing.B) { benchRead(b, f, log, 0) })
	b.Run("read/100", func(b *testing.B) { benchRead(b, f, log, 100) })
	b.Run("state/put", func(b *testing.B) { benchPut(b, f) })
	b.Run("state/snapshot-1000", func(b *testing.B) { benchSnapshot(b, f) })
}

const benchPayload = 256

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchEngine(b *testing.B, f Factory) channel.Engine {
	b.Helper()
	e := f.New(b)
	must(b, e.Start(b.Context(), &quiet{}))
	b.Cleanup(func() { must(b, e.Close(context.Background())) })
	return e
}

func benchHandoff(b *testing.B) {
	there, back := make(chan *channel.Publication), make(chan struct{})
	go func() {
		for range there {
			back <- struct{}{}
		}
		close(back)
	}()
	p := &channel.Publication{}
	b.ReportAllocs()
	for b.Loop() {
		there <- p
		<-back
	}
	close(there)
	<-back
}

func benchPublish(b *testing.B, f Factory, p *channel.Policy) {
	e := benchEngine(b, f)
	_, err := e.Subscribe(b.Context(), "bench:1", p)
	must(b, err)
	r := &channel.PublishRequest{Channel: "bench:1", Policy: p, Data: make([]byte, benchPayload)}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Publish(ctx, r); err != nil {
			b.Fatal(err)
		}
	}
}

func benchParallel(b *testing.B, f Factory, p *channel.Policy) {
	e := benchEngine(b, f)
	var serial atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprintf("bench:%d", serial.Add(1))
		if _, err := e.Subscribe(context.Background(), name, p); err != nil {
			b.Error(err)
			return
		}
		r := &channel.PublishRequest{Channel: name, Policy: p, Data: make([]byte, benchPayload)}
		for pb.Next() {
			if _, err := e.Publish(context.Background(), r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchID(b *testing.B, f Factory, p *channel.Policy) {
	e := benchEngine(b, f)
	r := &channel.PublishRequest{Channel: "bench:1", Policy: p, Data: make([]byte, benchPayload)}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		r.ID = fmt.Sprintf("message-%d", n)
		if _, err := e.Publish(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRead(b *testing.B, f Factory, p *channel.Policy, limit int) {
	e := benchEngine(b, f)
	for range 100 {
		_, err := e.Publish(b.Context(), &channel.PublishRequest{Channel: "bench:1", Policy: p, Data: make([]byte, benchPayload)})
		must(b, err)
	}
	r := &channel.ReadRequest{Channel: "bench:1", Policy: p, Limit: limit}
	b.ReportAllocs()
	for b.Loop() {
		res, err := e.Read(context.Background(), r)
		if err != nil || len(res.Pubs) != limit {
			b.Fatal(len(res.Pubs), err)
		}
	}
}

func statePolicy(f Factory) *channel.Policy {
	return &channel.Policy{Namespace: "bench", Kind: channel.KindState, Durability: f.Durability, HistorySize: 100}
}

func benchPut(b *testing.B, f Factory) {
	e := benchEngine(b, f)
	r := &channel.PublishRequest{Channel: "bench:1", Policy: statePolicy(f), Op: channel.OpPut, Data: make([]byte, benchPayload)}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		r.Key = keys[n%len(keys)]
		if _, err := e.Publish(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSnapshot(b *testing.B, f Factory) {
	e := benchEngine(b, f)
	p := statePolicy(f)
	for i := range 1000 {
		_, err := e.Publish(b.Context(), &channel.PublishRequest{
			Channel: "bench:1", Policy: p, Op: channel.OpPut, Key: fmt.Sprintf("key-%d", i), Data: make([]byte, benchPayload),
		})
		must(b, err)
	}
	r := &channel.SnapshotRequest{Channel: "bench:1", Policy: p, Limit: 1000}
	b.ReportAllocs()
	for b.Loop() {
		page, err := e.Snapshot(context.Background(), r)
		if err != nil || len(page.Items) != 1000 {
			b.Fatal(len(page.Items), err)
		}
	}
}
