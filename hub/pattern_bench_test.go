package hub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// BenchmarkPublishPatterns is a publish, the whole way, by how many patterns
// there are: none, in a namespace that has none; one; and very many, of which
// one matches.
func BenchmarkPublishPatterns(b *testing.B) {
	for _, n := range []int{0, 1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := memory.New(memory.Options{})
			spaces := namespaces()
			if n > 0 {
				spaces["log"].Patterns = auth.NewWhoSet(auth.WhoAnonymous)
			}
			h := hub.New(hub.Options{Engine: e, Namespaces: spaces, Limits: hub.Limits{
				ChannelsPerConnection: 1 << 20, PatternsPerConnection: 1 << 20, Patterns: 1 << 20,
			}})
			if err := e.Start(b.Context(), h); err != nil {
				b.Fatal(err)
			}
			defer func() {
				h.Close()
				_ = e.Close(context.Background())
			}()
			for left := n; left > 0; {
				s, err := h.Open(hub.SessionOptions{Conn: null{}, Form: &frame{}, Pongs: true})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Connect(&auth.Identity{Anonymous: true}); err != nil {
					b.Fatal(err)
				}
				// A few for each, as looking for what a session has is linear.
				for range min(left, 100) {
					left--
					benchJoin(b, s, fmt.Sprintf("log:room%d.*.temp", left))
				}
			}
			data := []byte(strings.Repeat("x", 128))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Publish(context.Background(), &channel.PublishRequest{Channel: "log:room0.a.temp", Data: data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
