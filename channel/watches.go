package channel

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Watches is who watches what in an engine through which all publications of a
// namespace come. Every publish asks, so the map is never changed, but put in
// the place of another: where nobody watches that costs one load. The zero
// value is ready, and may be used from any goroutine.
type Watches struct {
	now atomic.Pointer[map[watched]Watcher]
	// changing is held by who changes it.
	changing sync.Mutex
}

// watched is what is watched together.
type watched struct {
	namespace string
	kind      Kind
}

// Of returns who watches a namespace, nil for nobody.
func (w *Watches) Of(namespace string, kind Kind) Watcher {
	all := w.now.Load()
	if all == nil {
		return nil
	}
	return (*all)[watched{namespace, kind}]
}

// Watch has a namespace delivered to a Watcher, in the place of the one before.
func (w *Watches) Watch(p *Policy, to Watcher) error {
	switch {
	case p == nil:
		return ErrBadRequest.With("the request has no policy; the engine needs that of the namespace")
	case to == nil:
		return ErrBadRequest.With("a namespace needs a watcher to be watched")
	}
	w.set(p, to)
	return nil
}

// Unwatch ends it.
func (w *Watches) Unwatch(p *Policy) {
	if p != nil {
		w.set(p, nil)
	}
}

func (w *Watches) set(p *Policy, to Watcher) {
	w.changing.Lock()
	defer w.changing.Unlock()
	fresh := make(map[watched]Watcher)
	if all := w.now.Load(); all != nil {
		maps.Copy(fresh, *all)
	}
	key := watched{p.Namespace, p.Kind}
	if fresh[key] = to; to == nil {
		delete(fresh, key)
	}
	if len(fresh) == 0 {
		w.now.Store(nil)
	} else {
		w.now.Store(&fresh)
	}
}

// Gap tells all who watch that something may be missing.
func (w *Watches) Gap() {
	if all := w.now.Load(); all != nil {
		for _, to := range *all {
			to.Gap()
		}
	}
}
