package jetstream_test

import (
	"context"
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

func network(tb testing.TB, dir string, synced bool) *mesh.Network {
	tb.Helper()
	o := meshtest.Options(tb, "one")
	o.StorePath, o.SyncAlways = dir, synced
	n, err := mesh.Open(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
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
			synced := d == channel.DurabilitySync
			e, err := jetstream.New(jetstream.Options{Network: network(tb, tb.TempDir(), synced), Synced: synced})
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			channeltest.Run(t, factory(d))
		})
	}
}
