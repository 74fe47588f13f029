package memory

import (
	"context"

	"myelin/channel"
)

// Watch begins delivery of all channels of a namespace. A publisher who began
// before may miss it. An ephemeral channel without a subscriber has a book for
// as long as a publish takes, so that its publications come in order.
func (e *Engine) Watch(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if err := e.running(); err != nil {
		return err
	}
	return e.watches.Watch(p, w)
}

// Unwatch ends delivery of a namespace.
func (e *Engine) Unwatch(p *channel.Policy) { e.watches.Unwatch(p) }
