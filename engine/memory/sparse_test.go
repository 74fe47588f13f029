package memory_test

import (
	"context"
	"errors"
	"testing"

	"myelin/channel"
	"myelin/channel/channeltest"
)

// stride is how far the offsets of a sparse engine are apart.
const stride = 3

// sparse makes the offsets of an engine go up in strides: what an engine is
// like that shares one sequence among channels. It must pass like any other.
func sparse(b *bent) {
	up := func(at channel.Position) channel.Position {
		at.Offset *= stride
		return at
	}
	far := func(p *channel.Publication) *channel.Publication {
		c := *p
		c.Position = up(p.Position)
		c.Prev *= stride
		return &c
	}
	all := func(pubs []*channel.Publication) []*channel.Publication {
		for i, p := range pubs {
			pubs[i] = far(p)
		}
		return pubs
	}
	b.caps = func() channel.Caps {
		c := b.Engine.Caps()
		c.Dense = false
		return c
	}
	b.deliveries(func(next channel.Sink, p *channel.Publication) { next.Deliver(far(p)) })
	b.watched(func(next channel.Watcher, p *channel.Publication) { next.Watched(far(p)) })
	b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
		top, err := b.Engine.Subscribe(ctx, name, p)
		return up(top), err
	}
	b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
		c := *r
		if r.Expect != nil {
			near := *r.Expect / stride
			if *r.Expect%stride != 0 {
				near = channel.MaxOffset
			}
			c.Expect = &near
		}
		ack, err := b.Engine.Publish(ctx, &c)
		if e, ok := errors.AsType[*channel.Error](err); ok && e.Current != 0 {
			wide := *e
			wide.Current *= stride
			err = &wide
		}
		ack.Position = up(ack.Position)
		return ack, err
	}
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		c := *r
		c.Since.Offset = r.Since.Offset / stride
		if r.Reverse && r.Since.Offset%stride != 0 {
			c.Since.Offset++
		}
		res, err := b.Engine.Read(ctx, &c)
		res.Top = up(res.Top)
		if !r.Reverse && r.Since.Offset > res.Top.Offset {
			res.Complete = false
		}
		res.Pubs = all(res.Pubs)
		return res, err
	}
	b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
		page, err := b.Engine.Snapshot(ctx, r)
		page.At = up(page.At)
		page.Items = all(page.Items)
		return page, err
	}
}

// The suite must not ask for more than the contract: offsets need not be
// dense.
func TestSparseEnginePasses(t *testing.T) {
	f := bend(sparse)
	f.Channels = 1000
	channeltest.Run(t, f)
}

// An engine that says it is dense has to be.
func TestFalseDensityIsFound(t *testing.T) {
	f := bend(func(b *bent) {
		sparse(b)
		b.caps = nil
	})
	if err := channeltest.Examine(t, f, "order/one-channel"); err == nil {
		t.Error("an engine with gaps passes as a dense one")
	}
}
