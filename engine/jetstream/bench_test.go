package jetstream_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// stopwatch is a Sink that measures how long publications were under way.
type stopwatch struct {
	begun   time.Time
	arrived chan time.Duration
}

func (s *stopwatch) Deliver(p *channel.Publication) {
	s.arrived <- time.Since(s.begun) - time.Duration(binary.BigEndian.Uint64(p.Data))
}
func (s *stopwatch) Lost(string)    {}
func (s *stopwatch) Cleared(string) {}

const benchBytes = 256

// stamped returns a payload that says when it was made.
func stamped(begun time.Time) []byte {
	b := make([]byte, benchBytes)
	binary.BigEndian.PutUint64(b, uint64(time.Since(begun)))
	return b
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkEphemeralAcrossNodes compares a publication on one node and its
// delivery on another with a plain NATS message on the same way, in turns.
func BenchmarkEphemeralAcrossNodes(b *testing.B) {
	c := meshtest.New(b, 3, nil)
	p := &channel.Policy{Namespace: "bench"}
	watch := &stopwatch{begun: time.Now(), arrived: make(chan time.Duration, 1)}
	there := start(b, jetstream.Options{Network: c.Node(1), Replicas: 3}, watch)
	here := start(b, jetstream.Options{Network: c.Node(0), Replicas: 3}, nowhere{})
	subscribe(b, there, "bench", p)
	plain := make(chan time.Duration, 1)
	sub, err := c.Node(1).Conn().Subscribe("bench.plain", func(m *nats.Msg) {
		plain <- time.Since(watch.begun) - time.Duration(binary.BigEndian.Uint64(m.Data))
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.Node(1).Conn().Flush(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second) // the nodes tell each other what they listen to
	var ours, floor []time.Duration
	for b.Loop() {
		publish(b, here, "bench", p, string(stamped(watch.begun)))
		ours = append(ours, <-watch.arrived)
		if err := c.Node(0).Conn().Publish("bench.plain", stamped(watch.begun)); err != nil {
			b.Fatal(err)
		}
		floor = append(floor, <-plain)
	}
	report(b, ours, floor)
}

// report tells the medians and their ratio.
func report(b *testing.B, ours, floor []time.Duration) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(ours))/1e3, "p50-us")
	b.ReportMetric(float64(median(floor))/1e3, "nats-p50-us")
	b.ReportMetric(float64(median(ours))/float64(median(floor)), "ratio")
}

// BenchmarkDurableAcknowledgement compares a publish on a channel that three
// nodes keep, fsynced, with a message into a stream of that kind, in turns.
func BenchmarkDurableAcknowledgement(b *testing.B) {
	c := meshtest.New(b, 3, func(_ int, o *mesh.Options) { o.SyncAlways = true })
	p := logPolicy(100)
	p.Namespace = "bench"
	e := start(b, replicated(c, 0), nowhere{})
	publish(b, e, "bench", p, "first")
	js := c.Node(0).JetStream()
	st, err := js.CreateStream(b.Context(), natsjs.StreamConfig{
		Name: "bench", Subjects: []string{"plain.>"}, Replicas: 3, MaxMsgsPerSubject: 102, AllowDirect: true,
		RePublish: &natsjs.RePublish{Source: "plain.>", Destination: "again.>"},
	})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.Publish(b.Context(), "plain.1", nil); err != nil {
		b.Fatal(err)
	}
	b.Logf("leaders: ours %d, plain %s", leader(b, c, e, p), st.CachedInfo().Cluster.Leader)
	ctx := context.Background()
	r := &channel.PublishRequest{Channel: "bench", Policy: p, Data: make([]byte, benchBytes)}
	var ours, floor []time.Duration
	for b.Loop() {
		at := time.Now()
		if _, err := e.Publish(ctx, r); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(at))
		at = time.Now()
		if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: "plain.1", Data: r.Data}); err != nil {
			b.Fatal(err)
		}
		floor = append(floor, time.Since(at))
	}
	report(b, ours, floor)
}

// BenchmarkDurableThroughput is the same with 64 publishers at once, a round
// each.
func BenchmarkDurableThroughput(b *testing.B) {
	c := meshtest.New(b, 3, func(_ int, o *mesh.Options) { o.SyncAlways = true })
	p := logPolicy(100)
	p.Namespace = "bench"
	e := start(b, replicated(c, 0), nowhere{})
	publish(b, e, "bench", p, "first")
	js := c.Node(0).JetStream()
	if _, err := js.CreateStream(b.Context(), natsjs.StreamConfig{
		Name: "bench", Subjects: []string{"plain.>"}, Replicas: 3, MaxMsgsPerSubject: 102, AllowDirect: true,
		RePublish: &natsjs.RePublish{Source: "plain.>", Destination: "again.>"},
	}); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, benchBytes)
	ctx := context.Background()
	var ours, floor time.Duration
	const round = 640
	for b.Loop() {
		ours += together(b, round, func() error {
			_, err := e.Publish(ctx, &channel.PublishRequest{Channel: "bench", Policy: p, Data: data})
			return err
		})
		floor += together(b, round, func() error {
			_, err := js.PublishMsg(ctx, &nats.Msg{Subject: "plain.1", Data: data})
			return err
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(round*b.N)/ours.Seconds(), "per-second")
	b.ReportMetric(float64(round*b.N)/floor.Seconds(), "nats-per-second")
	b.ReportMetric(floor.Seconds()/ours.Seconds(), "ratio")
}

// together has 64 do something n times in all.
func together(b *testing.B, n int64, do func() error) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(n)
	at := time.Now()
	done := make(chan error)
	for range 64 {
		go func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(at)
}

// BenchmarkEngine measures the hot paths on one embedded node.
func BenchmarkEngine(b *testing.B) {
	f := factory(channel.DurabilityAsync)
	f.Restart, f.Cut = nil, nil
	channeltest.Benchmark(b, f)
}
