package client

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// SubOptions configure a subscription.
type SubOptions struct {
	// Recover asks the server to send, after a reconnect, what was missed.
	Recover bool
	// Since is the position from which to recover at the first subscribe. Without
	// it the first subscribe starts with what comes next. It implies Recover.
	Since *Position
	// Positioned asks the server to watch that nothing is lost on the way.
	Positioned bool
	// JoinLeave asks for the coming and going of other subscribers.
	JoinLeave bool
	// Token authorises the subscription, where the channel needs one.
	Token string
	// GetToken returns a fresh subscription token, as Options.GetToken does for
	// the connection.
	GetToken func(ctx context.Context, channel string) (string, error)
	// Data is passed to the server with the subscribe command.
	Data []byte

	// OnSubscribed is called after each successful subscribe, before the
	// publications that were recovered.
	OnSubscribed func(SubscribedInfo)
	// OnPublication is called for each publication, in the channel's order.
	OnPublication func(Publication)
	// OnJoin and OnLeave are called when others come and go.
	OnJoin, OnLeave func(ClientInfo)
	// OnUnsubscribed is called once, last, when the subscription has ended: by
	// Unsubscribe (CodeCalled), by the server, or because the server refused it.
	// It is not called when the whole client ends.
	OnUnsubscribed func(code uint32, reason string)
}

// SubscribedInfo describes a successful subscribe.
type SubscribedInfo struct {
	// WasRecovering says that the server tried to recover, Recovered that it
	// could: nothing is missing. If it could not, publications may be lost and
	// the application reads its state anew.
	WasRecovering, Recovered bool
	// Recoverable and Positioned say what the server granted.
	Recoverable, Positioned bool
	// Position from which publications follow.
	Position Position
	// Data that the server passed.
	Data []byte
}

// Subscription is the wish to receive a channel. Make one with Client.Subscribe.
type Subscription struct {
	client  *Client
	channel string
	opts    SubOptions

	// The rest belongs to the loop.
	state    subState
	token    string
	pos      Position
	ordered  bool // publications have positions
	recover  bool // pos is worth recovering from
	attempts int
	due      time.Time // in subWaiting: when to subscribe, zero for at once
	since    time.Time // when it was last subscribed
	refresh  refresher
}

// subState is where a subscription is between wish and fulfilment.
type subState uint8

const (
	subWaiting    subState = iota // for a connection, a token, or until due
	subRequested                  // the subscribe command is under way
	subSubscribed                 // publications flow
)

// Channel returns the name of the channel.
func (s *Subscription) Channel() string { return s.channel }

// Unsubscribe ends the subscription. Publications that have been received may
// still be delivered before OnUnsubscribed.
func (s *Subscription) Unsubscribe() {
	s.client.subs.remove(s)
	s.client.nudge()
}

// Subscribe adds a subscription to a channel. It returns at once; what becomes
// of it is told to the callbacks.
func (c *Client) Subscribe(channel string, o SubOptions) (*Subscription, error) {
	if channel == "" {
		return nil, fmt.Errorf("client: subscribe: the channel's name is empty")
	}
	if err := checkPayload(c.opts.Protobuf, o.Data); err != nil {
		return nil, fmt.Errorf("client: subscribe %q: %w", channel, err)
	}
	s := &Subscription{client: c, channel: channel, opts: o, token: o.Token}
	if o.Since != nil {
		s.pos, s.recover, s.opts.Recover = *o.Since, true, true
	}
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("client: subscribe %q: %w", channel, err)
	}
	if err := c.subs.add(s); err != nil {
		return nil, fmt.Errorf("client: subscribe %q: %w", channel, err)
	}
	c.nudge()
	return s, nil
}

// nudge tells the loop that the registry changed.
func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// registry holds the subscriptions that the application wants. The loop makes
// it so.
type registry struct {
	limit int
	mu    struct {
		sync.Mutex
		wanted map[string]*Subscription
	}
}

func newRegistry(limit int) *registry {
	r := &registry{limit: limit}
	r.mu.wanted = make(map[string]*Subscription)
	return r
}

func (r *registry) add(s *Subscription) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.wanted[s.channel] != nil {
		return ErrSubscribed
	}
	if len(r.mu.wanted) >= r.limit {
		return fmt.Errorf("%w (%d)", ErrTooManySubscriptions, r.limit)
	}
	r.mu.wanted[s.channel] = s
	return nil
}

func (r *registry) remove(s *Subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.wanted[s.channel] == s {
		delete(r.mu.wanted, s.channel)
	}
}

// all returns a copy of what is wanted.
func (r *registry) all() map[string]*Subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.mu.wanted)
}
