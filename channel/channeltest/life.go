package channeltest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"myelin/channel"
)

func lifeChecks() []check {
	return []check{
		{"life/given-up", checkGivenUp},
		{"life/close-under-load", checkCloseUnderLoad},
		{"life/after-close", checkAfterClose},
		{"life/close-unstarted", checkCloseUnstarted},
	}
}

// checkGivenUp holds that a request whose context is over does nothing, or
// says that it does not know.
func checkGivenUp(x *exam) {
	p := x.policy(10)
	top := x.subscribe("given", p)
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	over := []*channel.Error{channel.ErrUnavailable, channel.ErrUnknownOutcome}
	r := &channel.PublishRequest{Channel: "given", Policy: p, ID: "a", Data: []byte("1")}
	_, err := x.e.Publish(ctx, r)
	x.refused(err, "a publish that was given up", over...)
	if !errors.Is(err, context.Canceled) {
		x.failf("the error %v does not say that its cause is %v", err, context.Canceled)
	}
	if errors.Is(err, channel.ErrUnavailable) {
		x.pass(0.5)
		x.answer("after a publish that was not done", x.since("given", p, top), top, true)
	}
	// With the id a retry is safe either way.
	ack := x.send(r)
	x.answer("after the retry", x.since("given", p, top), ack.Position, true, "1")
	_, err = x.e.Subscribe(ctx, "given:2", p)
	x.refused(err, "a subscribe that was given up", over...)
	_, err = x.e.Read(ctx, &channel.ReadRequest{Channel: "given", Policy: p})
	x.refused(err, "a read that was given up", over...)
	if x.e.Caps().State {
		_, err = x.e.Snapshot(ctx, &channel.SnapshotRequest{Channel: "given:3", Policy: x.statePolicy(1)})
		x.refused(err, "a snapshot that was given up", over...)
	}
	x.refused(x.e.Remove(ctx, "given", p), "a remove that was given up", over...)
}

// checkCloseUnderLoad closes while eight publish. The recorder notices what is
// delivered too late.
func checkCloseUnderLoad(x *exam) {
	p := x.policy(100)
	const channels = 4
	var tops [channels]channel.Position
	for i := range tops {
		tops[i] = x.subscribe(fmt.Sprintf("closing:%d", i), p)
	}
	var published atomic.Int64
	x.parallel(9, func(i int) {
		if i == 8 {
			x.until(func() bool { return published.Load() >= 2000 })
			x.ok(x.e.Close(x.ctx), "Close")
			x.sink.closed.Store(true)
			return
		}
		for n := 0; ; n++ {
			_, err := x.e.Publish(x.ctx, &channel.PublishRequest{
				Channel: fmt.Sprintf("closing:%d", (i+n)%channels), Policy: p, Data: []byte("x"),
			})
			if err != nil {
				x.refused(err, "a publish while closing", channel.ErrUnavailable, channel.ErrUnknownOutcome)
				if published.Load() < 2000 {
					x.failf("a publish was refused before Close: %w", err)
				}
				return
			}
			published.Add(1)
		}
	})
	x.pass(1)
	for i, top := range tops {
		name := fmt.Sprintf("closing:%d", i)
		x.chain(name, x.sink.got(name), top)
	}
}

func checkAfterClose(x *exam) {
	p := x.policy(10)
	x.subscribe("closed", p)
	x.publish("closed", p, "1")
	x.ok(x.e.Close(x.ctx), "Close")
	x.sink.closed.Store(true)
	for _, p := range []*channel.Policy{p, x.ephemeral()} {
		for _, name := range []string{"closed", "closed:new"} {
			_, err := x.e.Publish(x.ctx, &channel.PublishRequest{Channel: name, Policy: p, ID: "a"})
			x.refused(err, "Publish after Close", channel.ErrUnavailable)
			_, err = x.e.Subscribe(x.ctx, name, p)
			x.refused(err, "Subscribe after Close", channel.ErrUnavailable)
			_, err = x.e.Read(x.ctx, &channel.ReadRequest{Channel: name, Policy: p})
			x.refused(err, "Read after Close", channel.ErrUnavailable)
			x.refused(x.e.Remove(x.ctx, name, p), "Remove after Close", channel.ErrUnavailable)
			x.e.Unsubscribe(name)
		}
	}
	if x.e.Caps().State {
		_, err := x.e.Snapshot(x.ctx, &channel.SnapshotRequest{Channel: "closed:state", Policy: x.statePolicy(1)})
		x.refused(err, "Snapshot after Close", channel.ErrUnavailable)
	}
	x.ok(x.e.Close(x.ctx), "Close again")
	x.pass(1)
}

func checkCloseUnstarted(x *exam) {
	e := x.f.New(x.tb)
	x.ok(e.Close(x.ctx), "Close of an engine that was not started")
}
