package memory_test

import (
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/memory"
)

// cable is a feed that can be cut.
type cable struct {
	channel.Sink
	mu struct {
		sync.Mutex
		cut    bool
		missed []string
	}
}

func (c *cable) Deliver(p *channel.Publication) {
	c.mu.Lock()
	cut := c.mu.cut
	if cut {
		c.mu.missed = append(c.mu.missed, p.Channel)
	}
	c.mu.Unlock()
	if !cut {
		c.Sink.Deliver(p)
	}
}

// cuttable returns a factory of engines whose feed can be cut. What it tells
// when the feed is healed is up to the test.
func cuttable(tell func(next channel.Sink, missed []string)) channeltest.Factory {
	var c *cable
	f := factory()
	f.New = func(testing.TB) channel.Engine {
		b := &bent{Engine: memory.New(memory.Options{})}
		b.sink = func(next channel.Sink) channel.Sink {
			c = &cable{Sink: next}
			return c
		}
		return b
	}
	f.Cut = func(testing.TB, channel.Engine) func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.cut = true
		return func() {
			c.mu.Lock()
			c.mu.cut = false
			missed := c.mu.missed
			c.mu.Unlock()
			tell(c.Sink, missed)
		}
	}
	return f
}

func TestCutFeed(t *testing.T) {
	const check = "lost/feed-cut"
	if err := channeltest.Examine(t, cuttable(func(next channel.Sink, missed []string) {
		for _, name := range missed {
			next.Lost(name)
		}
	}), check); err != nil {
		t.Errorf("an engine that tells what was lost: %v", err)
	}
	for what, tell := range map[string]func(next channel.Sink, missed []string){
		"tells nothing": func(channel.Sink, []string) {},
		"tells of the busy channel only": func(next channel.Sink, _ []string) {
			next.Lost("cut:busy")
		},
	} {
		if err := channeltest.Examine(t, cuttable(tell), check); err == nil {
			t.Errorf("an engine that %s when its feed was cut passes", what)
		} else {
			t.Log(err)
		}
	}
}

// Real time is for engines that cannot live in a bubble. This one can, but the
// checks that do not wait must work there too.
func TestSuiteInRealTime(t *testing.T) {
	f := factory()
	f.RealTime = true
	for _, check := range []string{
		"order/one-channel", "subscribe/race", "read/pages", "read/while-publishing", "dedupe/in-parallel",
		"cas/contention", "snapshot/while-writing", "model/state", "names/good",
	} {
		if err := channeltest.Examine(t, f, check); err != nil {
			t.Errorf("%s: %v", check, err)
		}
	}
	f = bend(skipsDeliveries)
	f.RealTime, f.Patience = true, 100*time.Millisecond
	if err := channeltest.Examine(t, f, "order/one-channel"); err == nil {
		t.Error("an engine that skips deliveries passes in real time")
	}
}
