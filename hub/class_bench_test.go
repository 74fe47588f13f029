package hub_test

import (
	"fmt"
	"testing"

	"myelin/channel"
	"myelin/hub"
)

// BenchmarkFanoutClasses delivers 8 publications at a time to 500 subscribers
// that chose how. Each publication matches every filter. An operation is one
// delivery to one subscriber.
func BenchmarkFanoutClasses(b *testing.B) {
	const subscribers, outstanding = 500, 8
	tags := map[string]string{"site": "a", "level": "7"}
	for _, c := range []struct {
		name string
		req  func(i int) hub.SubscribeRequest
	}{
		{"plain", func(int) hub.SubscribeRequest { return hub.SubscribeRequest{} }},
		{"ids", func(int) hub.SubscribeRequest { return hub.SubscribeRequest{Numeric: true} }},
		{"patches", func(int) hub.SubscribeRequest { return hub.SubscribeRequest{Delta: true} }},
		{"filter=same", func(int) hub.SubscribeRequest { return hub.SubscribeRequest{Filter: is(b, "site", "a")} }},
		{"filter=own", func(i int) hub.SubscribeRequest {
			return hub.SubscribeRequest{Filter: keep(b, fmt.Sprintf(`{"key":"level","cmp":"gt","val":"0.%04d"}`, i))}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			to := &sum{done: make(chan struct{}, 1)}
			h, sessions := benchHub(b, subscribers, to)
			for i, s := range sessions {
				r := c.req(i)
				r.Channel = "live:x"
				sn, err := s.Subscribe(b.Context(), r)
				if err != nil {
					b.Fatal(err)
				}
				sn.Live(nil)
			}
			to.want.Store(subscribers * 190)
			ack, err := h.Publish(b.Context(), &channel.PublishRequest{Channel: "live:x", Data: []byte("x"), Tags: tags})
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
					p := &channel.Publication{Channel: "live:x", Position: at, Prev: at.Offset, Tags: tags}
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
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*subscribers*outstanding), "ns/delivery")
		})
	}
}
