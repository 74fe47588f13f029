package hub

import (
	"context"
	"errors"

	"myelin/channel"
)

// Gate keeps the channels of a namespace that the server itself fills: nobody
// publishes there, each subscription is handed what is for it alone. Its calls
// come from any goroutine.
type Gate interface {
	// Enter is asked before a session subscribes; its error is the answer to
	// the client. granted says that the server wants the subscription, or that a
	// subscription token gives it, so that rights are not to be asked.
	Enter(ctx context.Context, s *Session, name string, granted bool) error
	// Entered says that a subscription takes part from now on, Left that it has
	// ended, once for each that entered, or more often. They must not block.
	Entered(at Seat)
	Left(at Seat)
}

// Seat is one subscription to a channel with a gate. Seats are compared with ==.
type Seat struct{ sub *sub }

// Session returns whose it is.
func (a Seat) Session() *Session { return a.sub.session }

// Channel returns the channel's name.
func (a Seat) Channel() string { return a.sub.topic.name }

// Hand sends a publication to this subscription alone, behind what it was sent
// before. It reports whether the subscription was still there. p is not
// changed any more.
func (a Seat) Hand(p *channel.Publication) bool {
	if !a.sub.session.holds(a.sub) {
		return false
	}
	a.sub.topic.ns.metrics.Delivered.Inc()
	a.sub.tell(&Event{Kind: EventPublication, Channel: a.sub.topic.name, Pub: p})
	return true
}

// holds reports whether sb is a subscription of the session still.
func (s *Session) holds(sb *sub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.subs.get(sb.topic.name) == sb
}

// enter tells the gate of a subscription that went live, and that it is gone
// where it has ended meanwhile.
func (sb *sub) enter() {
	g := sb.topic.ns.Gate
	if g == nil {
		return
	}
	g.Entered(Seat{sb})
	if !sb.session.holds(sb) {
		g.Left(Seat{sb})
	}
}

// exit tells the gate that a subscription has ended.
func (sb *sub) exit() {
	sb.session.hub.leave(sb)
	if g := sb.topic.ns.Gate; g != nil {
		g.Left(Seat{sb})
	}
}

// Tap has poke called whenever there is, or may be, something new on a channel,
// until stop is called, and keeps the channel's feed open meanwhile. poke is
// called under a lock of the hub's: it must not block and must call nothing of
// the hub.
func (h *Hub) Tap(ctx context.Context, name string, poke func()) (stop func(), err error) {
	ns, err := h.Namespace(name)
	if err != nil {
		return nil, err
	}
	t, err := h.acquire(ctx, name, ns)
	if err != nil {
		return nil, err
	}
	own := &tap{poke}
	t.mu.Lock()
	t.mu.taps = append(t.mu.taps, own)
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		for i, other := range t.mu.taps {
			if other == own {
				// A new slice: pokeLocked ranges over the old one under the same
				// lock, so nobody does now.
				t.mu.taps = append(t.mu.taps[:i:i], t.mu.taps[i+1:]...)
				break
			}
		}
		t.mu.Unlock()
		h.release(t)
	}, nil
}

// tap is one who wants to know when there is something new.
type tap struct{ poke func() }

func (t *topic) pokeLocked() {
	for _, p := range t.mu.taps {
		p.poke()
	}
}

// errGated refuses to publish where only the server does.
func errGated(ns *Namespace) error {
	return channel.ErrPermissionDenied.With("namespace \"" + ns.Policy.Namespace + "\" is filled by the server")
}

// errGateFilter refuses a filter where each subscription is handed what is for
// it: what a filter kept back nobody would answer for.
func errGateFilter(ns *Namespace) error {
	return channel.ErrPermissionDenied.With("what comes on channels of \"" + ns.Policy.Namespace +
		"\" is not filtered: leave the filter out of the subscription and its tokens, or publish what is for this client to a channel of its own")
}

// regate ends the subscriptions to channels with a gate that the session's
// identity does not let in any more. What the server or a subscription token
// gave does not depend on it.
func (s *Session) regate() {
	s.mu.Lock()
	var asked []*sub
	for _, sb := range s.mu.subs.list {
		if sb.settled && !sb.serverSide && sb.grant == nil && sb.topic.ns.Gate != nil {
			asked = append(asked, sb)
		}
	}
	s.mu.Unlock()
	for _, sb := range asked {
		if err := sb.topic.ns.Gate.Enter(s.hub.ctx, s, sb.name, false); errors.Is(err, channel.ErrPermissionDenied) {
			s.leave(sb, UnsubscribeInsufficient)
		}
	}
}
