package channeltest_test

import (
	"testing"

	"myelin/channel/channeltest"
)

// inMemory makes networks in memory.
func inMemory() channeltest.BusFactory {
	return channeltest.BusFactory{New: func(tb testing.TB) channeltest.BusWorld {
		n := channeltest.NewNetwork()
		tb.Cleanup(n.Close)
		others := map[string][]string{"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}
		return channeltest.BusWorld{
			Join: func(id string) channeltest.BusNode { return n.Join(id) },
			Kill: n.Kill, Pause: n.Pause, Resume: n.Resume,
			Isolate: func(id string) {
				for _, other := range others[id] {
					n.Cut(id, other)
				}
			},
			Rejoin: func(id string) {
				for _, other := range others[id] {
					n.Heal(id, other)
				}
			},
		}
	}}
}

func TestBusInMemory(t *testing.T) { channeltest.RunBus(t, inMemory()) }
