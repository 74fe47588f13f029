package memory_test

import (
	"context"
	"sync"
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/memory"
)

// bentWatcher is a Watcher with Watched in other hands.
type bentWatcher struct {
	channel.Watcher
	watched func(p *channel.Publication)
}

func (w *bentWatcher) Watched(p *channel.Publication) { w.watched(p) }

// watched puts Watched into other hands.
func (b *bent) watched(hand func(next channel.Watcher, p *channel.Publication)) {
	b.watch = func(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
		if w == nil {
			return b.Engine.Watch(ctx, p, nil)
		}
		return b.Engine.Watch(ctx, p, &bentWatcher{w, func(p *channel.Publication) { hand(w, p) }})
	}
}

// everyWatcher has whoever ever watched get everything.
func everyWatcher(b *bent) {
	var mu sync.Mutex
	var all []channel.Watcher
	b.watch = func(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, w)
		return b.Engine.Watch(ctx, p, &bentWatcher{w, func(p *channel.Publication) {
			mu.Lock()
			defer mu.Unlock()
			for _, w := range all {
				w.Watched(p)
			}
		}})
	}
}

func watchFaults() []fault {
	skips := func(b *bent) {
		fifth := every(5)
		b.watched(func(next channel.Watcher, p *channel.Publication) {
			if !fifth() {
				next.Watched(p)
			}
		})
	}
	return []fault{
		{"a watched publication is skipped now and then", skips, []string{"watch/unsubscribed", "watch/ephemeral", "watch/beside-the-sink"}},
		{"a watched publication comes twice", func(b *bent) {
			b.watched(func(next channel.Watcher, p *channel.Publication) { next.Watched(p); next.Watched(p) })
		}, []string{"watch/unsubscribed", "watch/state", "watch/unwatch"}},
		{"watched publications run into each other", func(b *bent) {
			b.watched(func(next channel.Watcher, p *channel.Publication) { go next.Watched(p) })
		}, []string{"watch/unsubscribed"}},
		{"all namespaces are watched", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.Namespace = "one" })
			b.watch = func(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
				c := *p
				c.Namespace = "one"
				return b.Engine.Watch(ctx, &c, w)
			}
		}, []string{"watch/other-namespaces"}},
		{"watching never ends", func(b *bent) { b.unwatch = func(*channel.Policy) {} }, []string{"watch/unwatch"}},
		{"who watched before goes on", everyWatcher, []string{"watch/anew"}},
		{"a watch is accepted after the end", func(b *bent) {
			b.watch = func(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
				if p != nil && w != nil {
					_ = b.Engine.Watch(ctx, p, w)
				}
				return nil
			}
		}, []string{"watch/close", "watch/refused"}},
	}
}

func TestCutWatch(t *testing.T) {
	const check = "watch/feed-cut"
	cuttable := func(tells bool) channeltest.Factory {
		var mu sync.Mutex
		var cut bool
		var watcher channel.Watcher
		f := factory()
		f.New = func(testing.TB) channel.Engine {
			b := &bent{Engine: memory.New(memory.Options{})}
			b.watched(func(next channel.Watcher, p *channel.Publication) {
				mu.Lock()
				defer mu.Unlock()
				watcher = next
				if !cut {
					next.Watched(p)
				}
			})
			return b
		}
		f.Cut = func(testing.TB, channel.Engine) func() {
			mu.Lock()
			defer mu.Unlock()
			cut = true
			return func() {
				mu.Lock()
				defer mu.Unlock()
				cut = false
				if tells {
					watcher.Gap()
				}
			}
		}
		return f
	}
	if err := channeltest.Examine(t, cuttable(true), check); err != nil {
		t.Errorf("an engine that tells that something was lost: %v", err)
	}
	if err := channeltest.Examine(t, cuttable(false), check); err == nil {
		t.Error("an engine that tells nothing passes")
	}
}
