package memory_test

import (
	"context"
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/engine/memory"
)

// bent is a memory engine with one thing about it bent. A nil hook leaves its
// call as it is; e is the engine below.
type bent struct {
	channel.Engine
	sink        func(next channel.Sink) channel.Sink
	publish     func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error)
	subscribe   func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error)
	unsubscribe func(name string)
	read        func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error)
	snapshot    func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error)
	remove      func(ctx context.Context, name string, p *channel.Policy) error
	closing     func(ctx context.Context) error
	watch       func(ctx context.Context, p *channel.Policy, w channel.Watcher) error
	unwatch     func(p *channel.Policy)
	caps        func() channel.Caps
}

func (b *bent) Start(ctx context.Context, s channel.Sink) error {
	if b.sink != nil {
		s = b.sink(s)
	}
	return b.Engine.Start(ctx, s)
}

func (b *bent) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if b.publish != nil {
		return b.publish(ctx, r)
	}
	return b.Engine.Publish(ctx, r)
}

func (b *bent) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if b.subscribe != nil {
		return b.subscribe(ctx, name, p)
	}
	return b.Engine.Subscribe(ctx, name, p)
}

func (b *bent) Unsubscribe(name string) {
	if b.unsubscribe != nil {
		b.unsubscribe(name)
		return
	}
	b.Engine.Unsubscribe(name)
}

func (b *bent) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if b.read != nil {
		return b.read(ctx, r)
	}
	return b.Engine.Read(ctx, r)
}

func (b *bent) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if b.snapshot != nil {
		return b.snapshot(ctx, r)
	}
	return b.Engine.Snapshot(ctx, r)
}

func (b *bent) Watch(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
	if b.watch != nil {
		return b.watch(ctx, p, w)
	}
	return b.Engine.Watch(ctx, p, w)
}

func (b *bent) Unwatch(p *channel.Policy) {
	if b.unwatch != nil {
		b.unwatch(p)
		return
	}
	b.Engine.Unwatch(p)
}

func (b *bent) Remove(ctx context.Context, name string, p *channel.Policy) error {
	if b.remove != nil {
		return b.remove(ctx, name, p)
	}
	return b.Engine.Remove(ctx, name, p)
}

func (b *bent) Close(ctx context.Context) error {
	if b.closing != nil {
		return b.closing(ctx)
	}
	return b.Engine.Close(ctx)
}

func (b *bent) Caps() channel.Caps {
	if b.caps != nil {
		return b.caps()
	}
	return b.Engine.Caps()
}

// policies has every call see a policy that was tampered with.
func (b *bent) policies(tamper func(p *channel.Policy)) {
	other := func(p *channel.Policy) *channel.Policy {
		if p == nil {
			return nil
		}
		c := *p
		tamper(&c)
		return &c
	}
	b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
		c := *r
		c.Policy = other(r.Policy)
		return b.Engine.Publish(ctx, &c)
	}
	b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
		return b.Engine.Subscribe(ctx, name, other(p))
	}
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		c := *r
		c.Policy = other(r.Policy)
		return b.Engine.Read(ctx, &c)
	}
	b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
		c := *r
		c.Policy = other(r.Policy)
		return b.Engine.Snapshot(ctx, &c)
	}
}

// requests has Publish see requests that were tampered with.
func (b *bent) requests(tamper func(r *channel.PublishRequest)) {
	b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
		c := *r
		tamper(&c)
		return b.Engine.Publish(ctx, &c)
	}
}

// results has Read give results that were tampered with.
func (b *bent) results(tamper func(r *channel.ReadRequest, res *channel.ReadResult)) {
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		res, err := b.Engine.Read(ctx, r)
		tamper(r, &res)
		return res, err
	}
}

// pages has Snapshot give pages that were tampered with.
func (b *bent) pages(tamper func(r *channel.SnapshotRequest, page *channel.StatePage)) {
	b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
		page, err := b.Engine.Snapshot(ctx, r)
		if err == nil {
			tamper(r, &page)
		}
		return page, err
	}
}

// names has every call see another name.
func (b *bent) names(other func(name string) string) {
	b.requests(func(r *channel.PublishRequest) { r.Channel = other(r.Channel) })
	b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
		return b.Engine.Subscribe(ctx, other(name), p)
	}
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		c := *r
		c.Channel = other(r.Channel)
		return b.Engine.Read(ctx, &c)
	}
}

// bentSink is a Sink with Deliver in other hands.
type bentSink struct {
	channel.Sink
	deliver func(p *channel.Publication)
}

func (s *bentSink) Deliver(p *channel.Publication) { s.deliver(p) }

// deliveries puts Deliver into other hands.
func (b *bent) deliveries(deliver func(next channel.Sink, p *channel.Publication)) {
	b.sink = func(next channel.Sink) channel.Sink {
		return &bentSink{Sink: next, deliver: func(p *channel.Publication) { deliver(next, p) }}
	}
}

// bend returns a factory of bent engines.
func bend(how func(b *bent)) channeltest.Factory {
	f := factory()
	f.New = func(testing.TB) channel.Engine {
		b := &bent{Engine: memory.New(memory.Options{})}
		how(b)
		return b
	}
	f.Restart = func(tb testing.TB, e channel.Engine, _ bool) channel.Engine {
		if err := e.Close(context.Background()); err != nil {
			tb.Errorf("Close: %v", err)
		}
		return f.New(tb)
	}
	return f
}
