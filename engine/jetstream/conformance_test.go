package jetstream_test

import (
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/jetstream"
	"myelin/mesh"
)

func network(tb testing.TB, dir string) *mesh.Network {
	tb.Helper()
	n, err := mesh.Open(tb.Context(), mesh.Options{Node: "one", StorePath: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	return n
}

// factory makes engines on one embedded node each.
func factory(d channel.Durability) channeltest.Factory {
	return channeltest.Factory{
		Durability: d,
		RealTime:   true,
		MaxPayload: 512 << 10,
		Channels:   5000,
		New: func(tb testing.TB) channel.Engine {
			tb.Helper()
			e, err := jetstream.New(jetstream.Options{Network: network(tb, tb.TempDir()), Synced: d == channel.DurabilitySync})
			if err != nil {
				tb.Fatal(err)
			}
			return e
		},
	}
}

func TestConformance(t *testing.T) {
	for name, d := range map[string]channel.Durability{
		"sync": channel.DurabilitySync, "async": channel.DurabilityAsync, "memory": channel.DurabilityMemory,
	} {
		t.Run(name, func(t *testing.T) { channeltest.Run(t, factory(d)) })
	}
}
