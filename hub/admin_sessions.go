package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"myelin/channel"
)

// Target names sessions: those of a user, or one client, or that client only
// if it is the user's.
type Target struct {
	User   string `json:"user,omitempty"`
	Client string `json:"client,omitempty"`
}

func (t Target) check() error {
	if t.User == "" && t.Client == "" {
		return channel.ErrBadRequest.With("name a user or a client")
	}
	return nil
}

// Subscribe subscribes sessions to a channel in the server's name and returns
// how many. Sessions that are subscribed already do not count. Where some
// could not be, the others are, and the error is that of the first. One that
// is still connecting counts, and is subscribed when it is ready.
//
// Like the others of its kind it acts on all nodes. Where one of them does not
// answer it is done on the others, and the error names that node.
func (h *Hub) Subscribe(ctx context.Context, to Target, r SubscribeRequest) (int, error) {
	return h.everywhere(ctx, &operation{Do: doSubscribe, To: to, Subscribe: &r})
}

// subscribeHere is Subscribe for the sessions of this node.
func (h *Hub) subscribeHere(ctx context.Context, to Target, r SubscribeRequest) (int, error) {
	ns, err := h.Place(r.Channel)
	if err != nil {
		return 0, err
	}
	if r.Recover && !ns.Policy.Recoverable() {
		return 0, channel.ErrNotAvailable.With("history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	r.Granted, r.ServerSide = true, true
	n := 0
	var first error
	for _, s := range h.clients.of(to.User, to.Client) {
		later, err := s.want(r)
		if !later && err == nil {
			err = s.enroll(ctx, r)
		}
		switch {
		case err == nil:
			n++
		case errors.Is(err, channel.ErrAlreadySubscribed) || s.closed():
		case first == nil:
			first = err
		}
	}
	return n, first
}

// want notes a request for a session that is not ready, and reports whether it
// did. A client that hears of a subscription before it hears that it is
// connected forgets it again.
func (s *Session) want(r SubscribeRequest) (noted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state != sessionIdentified {
		return false, nil
	}
	if most := s.hub.opts.Limits.ChannelsPerConnection; len(s.mu.wanted) >= most {
		return false, channel.ErrLimitExceeded.With(fmt.Sprintf("a connection may have %d subscriptions", most))
	}
	s.mu.wanted = append(s.mu.wanted, r)
	return true, nil
}

// enroll subscribes the session and tells its client from where on, and what
// came since. Where not all of that is there it is not subscribed: the client
// could not be told of a gap.
func (s *Session) enroll(ctx context.Context, r SubscribeRequest) error {
	sn, err := s.Subscribe(ctx, r)
	if err != nil {
		return err
	}
	at := sn.Position
	if r.Recover {
		most := s.hub.opts.Limits.HistoryRead
		switch {
		case !sn.Recovered:
			sn.Cancel()
			return channel.ErrUnrecoverable.With(fmt.Sprintf("what came after offset %d is not all kept, the channel is at %d", r.Since.Offset, at.Offset))
		case len(sn.Publications) > most:
			sn.Cancel()
			return channel.ErrUnrecoverable.With(fmt.Sprintf("%d publications came after offset %d, at most %d are sent", len(sn.Publications), r.Since.Offset, most))
		}
		at.Offset = r.Since.Offset
	}
	if sn.Whole && len(sn.Publications) > 0 {
		// They come one by one. Who is cut off among them comes back for the rest.
		at.Offset = sn.Publications[0].Offset - 1
	}
	sn.sub.tell(&Event{
		Kind: EventSubscribed, Channel: sn.sub.name,
		Position: at, Recoverable: sn.Recoverable, Data: sn.Data,
	})
	for _, p := range sn.Publications {
		sn.sub.tell(&Event{Kind: EventPublication, Channel: sn.sub.name, Pub: p, Recoverable: true, Whole: sn.Whole || sn.Newest})
	}
	sn.Live(nil)
	return nil
}

func (s *Session) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.state == sessionClosed
}

// Unsubscribe ends the subscriptions of sessions to a channel, to all their
// channels where name is empty, and returns how many ended.
func (h *Hub) Unsubscribe(ctx context.Context, to Target, name string) (int, error) {
	return h.everywhere(ctx, &operation{Do: doUnsubscribe, To: to, Channel: name})
}

func (h *Hub) unsubscribeHere(to Target, name string) int {
	n := 0
	for _, s := range h.clients.of(to.User, to.Client) {
		names := []string{name}
		if name == "" {
			names = s.Subscriptions()
		}
		for _, name := range names {
			if sb := s.subscription(name); sb != nil && s.leave(sb, UnsubscribeServer) {
				n++
			}
		}
	}
	return n
}

// Disconnect ends sessions and returns how many. Clients in except stay.
func (h *Hub) Disconnect(ctx context.Context, to Target, why Disconnect, except []string) (int, error) {
	return h.everywhere(ctx, &operation{Do: doDisconnect, To: to, Code: why.Code, Reason: why.Reason, Except: except})
}

func (h *Hub) disconnectHere(to Target, why Disconnect, except []string) int {
	n := 0
	for _, s := range h.clients.of(to.User, to.Client) {
		if slices.Contains(except, s.id) {
			continue
		}
		s.Close(why)
		n++
	}
	return n
}

// Refresh moves the end of sessions to expiresAt, in Unix seconds, 0 for
// never. expired ends them now.
func (h *Hub) Refresh(ctx context.Context, to Target, expiresAt int64, expired bool) (int, error) {
	return h.everywhere(ctx, &operation{Do: doRefresh, To: to, ExpiresAt: expiresAt, Expired: expired})
}

func (h *Hub) refreshHere(to Target, expiresAt int64, expired bool) int {
	n := 0
	for _, s := range h.clients.of(to.User, to.Client) {
		n++
		if expired {
			s.Close(DisconnectExpired)
			continue
		}
		s.expiresAt.Store(expiresAt)
		s.shard.push(message{kind: msgRetime, session: s})
		s.tell(&Event{Kind: EventRefreshed, ExpiresAt: expiresAt, Now: time.Now().Unix()})
	}
	return n
}
