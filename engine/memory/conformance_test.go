package memory_test

import (
	"context"
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/memory"
)

// factory makes memory engines without limits.
func factory() channeltest.Factory {
	return channeltest.Factory{
		New: func(testing.TB) channel.Engine { return memory.New(memory.Options{}) },
		// A restart of the process is a new engine: nothing is left behind.
		Restart: func(tb testing.TB, e channel.Engine, _ bool) channel.Engine {
			if err := e.Close(context.Background()); err != nil {
				tb.Errorf("Close: %v", err)
			}
			return memory.New(memory.Options{})
		},
	}
}

func TestConformance(t *testing.T) {
	channeltest.Run(t, factory())
}

func BenchmarkEngine(b *testing.B) {
	channeltest.Benchmark(b, factory())
}
