package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

// read takes frames apart, keeps the roster, and beats. It calls nobody. Signs
// of life come first: whoever sends one before a message is known when that is
// looked at.
func (b *Bus) read(frames, beats <-chan *nats.Msg, claimed chan<- struct{}) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	claim := time.NewTimer(claimTime)
	defer claim.Stop()
	b.greet(b.beats, helloClaim)
	for {
		select {
		case <-b.ctx.Done():
			return
		case msg := <-beats:
			b.parse(msg)
		case msg := <-frames:
			for len(beats) > 0 {
				b.parse(<-beats)
			}
			b.parse(msg)
		case <-ticker.C:
			for len(beats) > 0 {
				b.parse(<-beats)
			}
			b.tick()
		case <-claim.C:
			if b.arrive() {
				close(claimed)
			}
		}
	}
}

func (b *Bus) parse(msg *nats.Msg) {
	f, err := parseFrame(msg.Data)
	if err != nil {
		b.wonder(err)
		return
	}
	b.take(f)
}

// greet says that this node is alive.
func (b *Bus) greet(subject string, flags byte) {
	b.send(subject, &frame{kind: frameHello, flags: flags, addr: b.self.Addr, version: b.self.Version})
}

// arrive ends the claim: nobody objected.
func (b *Bus) arrive() bool {
	b.mu.Lock()
	ok := b.mu.state == busClaiming
	if ok {
		b.mu.state = busRunning
	}
	b.mu.Unlock()
	if ok {
		b.greet(b.beats, helloAnswer)
	}
	return ok
}

// tick beats, and looks who does not.
func (b *Bus) tick() {
	b.mu.Lock()
	if b.mu.state != busRunning {
		b.mu.roster.ticked = time.Now()
		b.mu.Unlock()
		return
	}
	b.announceLocked(b.mu.roster.tick(time.Now()))
	b.mu.Unlock()
	b.greet(b.beats, 0)
}

// announceLocked queues events for the watchers, in their place among what is
// heard.
func (b *Bus) announceLocked(events []channel.PeerEvent) {
	for _, e := range events {
		b.inbox.force(arrival{event: &e})
		if e.Up {
			continue
		}
		for key, cancel := range b.mu.served {
			if key.id == e.Node.ID && key.incarnation == e.Node.Incarnation {
				cancel()
			}
		}
	}
}

// wonder says what is strange about what was heard. Random bytes are not worth
// a word: where others share the servers anybody can send them.
func (b *Bus) wonder(err error) {
	other, ok := errors.AsType[*otherVersion](err)
	if !ok || other.id == b.self.ID {
		return
	}
	now := time.Now()
	b.mu.Lock()
	last, known := b.mu.complained[other.id]
	due := !known && len(b.mu.complained) < MaxPeers || known && now.Sub(last) >= sayAgain
	if due {
		b.mu.complained[other.id] = now
	}
	b.mu.Unlock()
	if due {
		b.log.Error("a node speaks another version of the bus and is left out; run the same version of Myelin on all nodes",
			observe.KeyNode, other.id, observe.KeyErr, fmt.Sprintf("its version is %d, ours is %d", other.version, wireVersion))
	}
}

// take handles one frame.
func (b *Bus) take(f *frame) {
	if f.id == b.self.ID {
		b.meetTwin(f)
		return
	}
	switch f.kind {
	case frameHello:
		b.takeHello(f)
	case frameBye:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.announceLocked(b.mu.roster.bye(f.id, f.incarnation))
	case frameBroadcast, frameRequest, frameReply, frameFailure, frameCancel:
		b.takeMessage(f)
	case frameTaken:
	}
}

// takeHello notes who is there. Who is new is greeted at once, so that it knows
// this node before it is asked something.
func (b *Bus) takeHello(f *frame) {
	if f.flags&helloClaim != 0 {
		return
	}
	n := channel.Node{ID: f.id, Incarnation: f.incarnation, Addr: f.addr, Version: f.version}
	b.mu.Lock()
	if b.mu.state != busRunning {
		b.mu.Unlock()
		return
	}
	events, full := b.mu.roster.hello(n, time.Now())
	// The greeting has its place before whatever the watchers say.
	if len(events) > 0 || f.flags&helloAnswer != 0 {
		b.greet(b.beat(f.id), 0)
	}
	b.announceLocked(events)
	b.mu.Unlock()
	if full {
		b.metrics.Limit(observe.LimitBusPeers).Add(1)
	}
}

// meetTwin handles what another process of the same id says. The one that was
// there first keeps the id from one that only claims it. A claim that went
// through, because the first one was paused or cut off, makes that one yield.
func (b *Bus) meetTwin(f *frame) {
	if f.incarnation == b.self.Incarnation {
		return
	}
	taken := channel.ErrConflict.With(fmt.Sprintf("another process is node %q already: give each node its own name, or stop the other", b.self.ID))
	if f.kind == frameTaken {
		if f.target == b.self.Incarnation && b.claiming() {
			b.yield(taken)
		}
		return
	}
	if f.kind != frameHello {
		return
	}
	claims := f.flags&helloClaim != 0
	switch {
	case b.claiming() && (!claims || f.incarnation < b.self.Incarnation):
		b.yield(taken)
	case claims:
		b.log.Error("another process wants to be this node and was refused; give each node its own name", observe.KeyNode, b.self.ID)
		b.send(b.beat(b.self.ID), &frame{kind: frameTaken, target: f.incarnation})
	case f.incarnation > b.self.Incarnation:
		b.yield(channel.ErrConflict.With(fmt.Sprintf(
			"a newer process is node %q and has taken the place of this one while it was not heard: stop this one", b.self.ID)))
	}
}

func (b *Bus) claiming() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.state == busClaiming
}

// takeMessage handles what counts only from nodes that were announced.
func (b *Bus) takeMessage(f *frame) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.state != busRunning {
		return
	}
	p := b.mu.roster.sign(f.id, f.incarnation, time.Now())
	if p == nil {
		return
	}
	if f.kind != frameBroadcast && f.target != b.self.Incarnation {
		return
	}
	switch f.kind {
	case frameBroadcast:
		if len(b.mu.hearers[f.topic]) > 0 && !b.inbox.add(arrival{from: p, frame: f}, f.topic, len(f.payload)) {
			b.metrics.Limit(observe.LimitBusInbox).Add(1)
		}
	case frameRequest:
		b.admitLocked(p, f)
	case frameReply, frameFailure:
		if reply := b.mu.calls[f.number]; reply != nil {
			delete(b.mu.calls, f.number)
			reply <- f // it has room for the one answer
		}
	case frameCancel:
		if cancel := b.mu.served[keyOf(f)]; cancel != nil {
			cancel()
		}
	default:
	}
}

// admitLocked gives a request its place, or refuses it.
func (b *Bus) admitLocked(p *peer, f *frame) {
	if b.mu.served[keyOf(f)] != nil {
		return // numbers are used once
	}
	if b.mu.answers[f.topic] == nil {
		b.refuse(p, f, channel.ErrUnavailable.With(fmt.Sprintf("node %q has nobody for %q", b.self.ID, f.topic)))
		return
	}
	select {
	case b.places <- struct{}{}:
		ctx, cancel := context.WithCancel(b.ctx)
		if f.patience > 0 {
			cancel()
			ctx, cancel = context.WithTimeout(b.ctx, time.Duration(f.patience)*time.Millisecond)
		}
		b.mu.served[keyOf(f)] = cancel
		b.inbox.force(arrival{from: p, frame: f, ctx: ctx})
	default:
		b.metrics.Limit(observe.LimitBusRequests).Add(1)
		b.refuse(p, f, channel.ErrTooManyRequests.With(fmt.Sprintf("node %q answers %d requests already", b.self.ID, maxAnswers)))
	}
}

func keyOf(f *frame) servedKey { return servedKey{f.id, f.incarnation, f.number} }

func (b *Bus) refuse(p *peer, f *frame, err error) {
	b.send(b.subject(p.node.ID), &frame{kind: frameFailure, target: f.incarnation, number: f.number, failure: channel.Public(err)})
}

// dispatch is the one goroutine that calls watchers and listeners.
func (b *Bus) dispatch() {
	for {
		select {
		case <-b.inbox.more:
		case <-b.ctx.Done():
			b.farewell()
			return
		}
		for _, item := range b.inbox.take() {
			if b.ctx.Err() == nil || item.item.event != nil && b.Err() != nil {
				b.deliver(item.item)
			}
			b.inbox.done(item)
		}
	}
}

// farewell tells what a bus that gave up has still to tell: that all are gone.
func (b *Bus) farewell() {
	if b.Err() == nil {
		return
	}
	for _, item := range b.inbox.take() {
		if item.item.event != nil {
			b.deliver(item.item)
		}
	}
}

func (b *Bus) deliver(a arrival) {
	b.mu.Lock()
	var hearers []hearer
	watchers := b.mu.watchers
	if a.frame != nil {
		hearers = b.mu.hearers[a.frame.topic]
	}
	b.mu.Unlock()
	switch {
	case a.event != nil:
		n := a.event.Node
		if a.event.Up {
			b.log.Info("a node has come", observe.KeyNode, n.ID, observe.KeyAddr, n.Addr, observe.KeyVersion, n.Version)
		} else {
			b.log.Warn("a node has gone", observe.KeyNode, n.ID, observe.KeyAddr, n.Addr, observe.KeyVersion, n.Version)
		}
		for _, fn := range watchers {
			fn(*a.event)
		}
	case a.frame.kind == frameRequest:
		b.serving.Go(func() { b.serve(a) })
	default:
		for _, fn := range hearers {
			fn(a.from.node, a.frame.payload)
		}
	}
}

// serve answers one request.
func (b *Bus) serve(a arrival) {
	p, f := a.from, a.frame
	b.mu.Lock()
	fn := b.mu.answers[f.topic]
	b.mu.Unlock()
	defer b.served(f)
	if a.ctx.Err() != nil {
		// Nobody waits any more, or who does is gone.
		return
	}
	answer, err := fn(a.ctx, p.node, f.payload)
	if err == nil && len(answer) > channel.MaxBusMessage {
		err = channel.ErrTooLarge.With(fmt.Sprintf("the answer has %d bytes, at most %d are possible on the bus", len(answer), channel.MaxBusMessage))
	}
	if err != nil {
		b.refuse(p, f, err)
		return
	}
	reply := &frame{kind: frameReply, target: f.incarnation, number: f.number, payload: answer}
	if !b.send(b.subject(p.node.ID), reply) {
		b.log.Debug("an answer was not sent", observe.KeyNode, p.node.ID)
	}
}

// served gives the place of a request back.
func (b *Bus) served(f *frame) {
	b.mu.Lock()
	cancel := b.mu.served[keyOf(f)]
	delete(b.mu.served, keyOf(f))
	b.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	<-b.places
}
