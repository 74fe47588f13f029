package mesh_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// BenchmarkRequest measures a question and its answer between two nodes, beside
// the same over bare NATS, in the same cluster and run: "ratio" is how much
// longer the bus takes.
func BenchmarkRequest(b *testing.B) {
	c := meshtest.Prepare(b, 2, func(_ int, o *mesh.Options) { o.Storage, o.StorePath, o.StorageNodes = false, "", 1 })
	here, there := c.Restart(0), c.Restart(1)
	came := make(chan struct{}, 2)
	for _, n := range []*mesh.Network{here, there} {
		n.Bus().Answer("ask", func(_ context.Context, _ channel.Node, b []byte) ([]byte, error) { return b, nil })
		n.Bus().Watch(func(channel.PeerEvent) { came <- struct{}{} })
		if err := n.Bus().Start(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	<-came
	<-came
	_, err := there.Conn().Subscribe("bare", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		b.Fatal(err)
	}
	if err := there.Conn().Flush(); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 256)
	var bus, bare time.Duration
	ask := func() {
		begin := time.Now()
		if _, err := here.Bus().Request(b.Context(), there.Node(), "ask", payload); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if _, err := here.Conn().Request("bare", payload, time.Minute); err != nil {
			b.Fatal(err)
		}
		bus += middle.Sub(begin)
		bare += time.Since(middle)
	}
	ask()
	bus, bare = 0, 0
	for b.Loop() {
		ask()
	}
	b.ReportMetric(float64(bus.Microseconds())/float64(b.N), "us/request")
	b.ReportMetric(float64(bus)/float64(bare), "ratio")
}
