package hub

import (
	"context"

	"myelin/auth"
	"myelin/channel"
)

// Hooks ask somebody outside what a session may, in the namespaces that say so.
// Their calls come from any goroutine, without a lock of the hub's, and may
// take their time. They bound how many wait.
type Hooks interface {
	// AskSubscribe returns the grant of a subscription that no token grants, or
	// why there is none, which is the answer to the client. data is what the
	// client sent along.
	AskSubscribe(ctx context.Context, s *Session, r *SubscribeRequest) (*auth.Grant, error)
	// AskPublish returns nil where a publication may be made, in which it may
	// have changed what is published.
	AskPublish(ctx context.Context, s *Session, r *channel.PublishRequest) error
}

// About is what a door knows of where a session came from.
type About struct {
	// Transport and Protocol are named as in the public protocol: websocket,
	// sse, ...; json, protobuf.
	Transport, Protocol string
	// Headers are those of its request that hooks hand on.
	Headers map[string][]string
}

// About returns where the session came from; nothing is known of a session
// whose door did not say.
func (s *Session) About() About {
	if s.about == nil {
		return About{}
	}
	return *s.about
}

// askSubscribe has the hooks decide on a subscription.
func (s *Session) askSubscribe(ctx context.Context, r *SubscribeRequest) error {
	if err := s.identified(); err != nil {
		return err
	}
	g, err := s.hub.opts.Hooks.AskSubscribe(ctx, s, r)
	r.Grant = g
	return err
}

// askPublish has the hooks decide on a publication.
func (s *Session) askPublish(ctx context.Context, r *channel.PublishRequest) error {
	if err := s.identified(); err != nil {
		return err
	}
	return s.hub.opts.Hooks.AskPublish(ctx, s, r)
}

// mayPublish returns nil where the session may publish r, in which a hook may
// have changed what is published.
func (s *Session) mayPublish(ctx context.Context, ns *Namespace, r *channel.PublishRequest) error {
	if ns.AskPublish {
		return s.askPublish(ctx, r)
	}
	return s.may(auth.VerbPublish, ns, r.Channel, false)
}

// identified returns nil where it is known who the session is, and that it is.
func (s *Session) identified() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.state == sessionClosed:
		return DisconnectConnectionClosed
	case s.mu.identity == nil:
		return channel.ErrUnauthorized.With("connect first")
	}
	return nil
}

// EndSubscription ends a subscription that the server does not go on with. One
// that the client cannot ask for again takes the connection along.
func (s *Session) EndSubscription(name string, why Unsubscribe) {
	sb := s.subscription(name)
	switch {
	case sb == nil:
	case sb.serverSide:
		s.Close(DisconnectSubExpired)
	default:
		s.leave(sb, why)
	}
}

// ProlongSubscription moves the end of a subscription, in Unix seconds; 0 is
// never.
func (s *Session) ProlongSubscription(name string, expiresAt int64) error {
	s.mu.Lock()
	sb := s.mu.subs.get(name)
	if sb == nil {
		s.mu.Unlock()
		return channel.ErrNotSubscribed
	}
	sb.expiresAt = expiresAt
	s.mu.Unlock()
	s.noteExpiry(expiresAt)
	return nil
}
