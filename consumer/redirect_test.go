package consumer_test

import (
	"context"
	"sync"

	"myelin/channel"
	"myelin/hub"
)

// outlet is a Sink that hands on to the hub of the moment: an engine outlives
// the nodes that tests take down.
type outlet struct {
	mu struct {
		sync.Mutex
		hub *hub.Hub
	}
}

func (o *outlet) get() *hub.Hub {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.hub
}

func (o *outlet) Deliver(p *channel.Publication) { o.get().Deliver(p) }
func (o *outlet) Lost(name string)               { o.get().Lost(name) }
func (o *outlet) Cleared(name string)            { o.get().Cleared(name) }

// lasting is an engine whose Sink can be exchanged.
type lasting struct {
	channel.Engine
	out *outlet
}

func (l *lasting) Start(ctx context.Context, s channel.Sink) error {
	h, _ := s.(*hub.Hub)
	l.out.mu.hub = h
	return l.Engine.Start(ctx, l.out)
}

// redirect has an engine deliver to another hub.
func redirect(e channel.Engine, h *hub.Hub) {
	if l, ok := e.(*lasting); ok {
		l.out.mu.Lock()
		defer l.out.mu.Unlock()
		l.out.mu.hub = h
	}
}
