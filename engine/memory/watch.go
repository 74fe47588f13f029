package memory

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"myelin/channel"
)

// watches is who watches which namespace. Every publish asks, so the map is
// never changed, but put in the place of another; nil where nobody watches.
type watches struct {
	now atomic.Pointer[map[watchKey]channel.Watcher]
	// changing is held by who changes it.
	changing sync.Mutex
}

// watchKey is what is watched together.
type watchKey struct {
	namespace string
	kind      channel.Kind
}

func keyOfWatch(p *channel.Policy) watchKey { return watchKey{p.Namespace, p.Kind} }

// of returns who watches, nil for nobody.
func (w *watches) of(key watchKey) channel.Watcher {
	all := w.now.Load()
	if all == nil {
		return nil
	}
	return (*all)[key]
}

func (w *watches) set(key watchKey, to channel.Watcher) {
	w.changing.Lock()
	defer w.changing.Unlock()
	fresh := make(map[watchKey]channel.Watcher)
	if all := w.now.Load(); all != nil {
		maps.Copy(fresh, *all)
	}
	if to != nil {
		fresh[key] = to
	} else {
		delete(fresh, key)
	}
	if len(fresh) == 0 {
		w.now.Store(nil)
	} else {
		w.now.Store(&fresh)
	}
}

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
	switch {
	case p == nil:
		return errNoPolicy
	case w == nil:
		return channel.ErrBadRequest.With("a namespace needs a watcher to be watched")
	}
	e.watches.set(keyOfWatch(p), w)
	return nil
}

// Unwatch ends delivery of a namespace.
func (e *Engine) Unwatch(p *channel.Policy) {
	if p != nil {
		e.watches.set(keyOfWatch(p), nil)
	}
}
