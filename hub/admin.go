package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

// Publish publishes in the server's name: rights are not asked, limits are.
func (h *Hub) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	return h.publish(ctx, ns, r)
}

// publish waits until the shards keep up, then has the engine publish.
func (h *Hub) publish(ctx context.Context, ns *Namespace, r *channel.PublishRequest) (channel.Ack, error) {
	if most := h.opts.Limits.MessageBytes; len(r.Data) > most {
		h.opts.Metrics.Limit("message").Inc()
		return channel.Ack{}, channel.ErrLimitExceeded.With(fmt.Sprintf("the data has %d bytes, at most %d are allowed", len(r.Data), most))
	}
	if len(r.Data) == 0 {
		return channel.Ack{}, channel.ErrBadRequest.With("a publication needs data")
	}
	for _, s := range h.shards {
		if err := h.waitFor(ctx, s); err != nil {
			return channel.Ack{}, err
		}
	}
	r.Channel = h.topics.intern(r.Channel)
	r.Policy = ns.Policy
	began := time.Now()
	ack, err := h.engine.Publish(ctx, r)
	if err != nil {
		return ack, err
	}
	ns.latency.Observe(time.Since(began).Seconds())
	if ack.Duplicate {
		ns.metrics.Duplicates.Inc()
	} else {
		ns.metrics.Published.Inc()
	}
	return ack, nil
}

// waitFor returns when a shard has room for more.
func (h *Hub) waitFor(ctx context.Context, s *shard) error {
	for {
		full := s.full()
		if full == nil {
			return nil
		}
		h.opts.Metrics.Limit("shard_inbox").Inc()
		select {
		case <-full:
		case <-ctx.Done():
			return channel.ErrTooManyRequests.With("the server is busy delivering, try again")
		case <-h.ctx.Done():
			return channel.ErrUnavailable.With("the server is shutting down")
		}
	}
}

// HistoryRequest asks for what is kept of a channel.
type HistoryRequest struct {
	Channel string
	// Since is the position to read from, nil for the beginning (the end,
	// where Reverse).
	Since *channel.Position
	// Limit is how many publications; 0 asks for the position only, a
	// negative one for as many as a call may have.
	Limit   int
	Reverse bool
}

// History reads what is kept of a channel. An epoch that is not the channel's
// is ErrUnrecoverable.
func (h *Hub) History(ctx context.Context, r HistoryRequest) (channel.ReadResult, error) {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return channel.ReadResult{}, err
	}
	if !ns.Policy.Recoverable() {
		return channel.ReadResult{}, channel.ErrNotAvailable.With("history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	most := h.opts.Limits.HistoryRead
	if r.Limit < 0 || r.Limit > most {
		r.Limit = most
	}
	read := &channel.ReadRequest{Channel: r.Channel, Policy: ns.Policy, Limit: r.Limit, Reverse: r.Reverse}
	if r.Since != nil {
		if r.Reverse && r.Since.Offset == 0 {
			return channel.ReadResult{}, channel.ErrBadRequest.With("nothing is before offset 0; leave since out to read from the end")
		}
		read.Since = *r.Since
	}
	out, err := h.engine.Read(ctx, read)
	if err != nil {
		return out, err
	}
	if r.Since != nil && r.Since.Epoch != "" && r.Since.Epoch != out.Top.Epoch {
		return out, channel.ErrUnrecoverable.With("the epoch is now \"" + out.Top.Epoch + "\"")
	}
	return out, nil
}

// HistoryRemove forgets what is kept of a channel.
func (h *Hub) HistoryRemove(ctx context.Context, name string) error {
	ns, err := h.Namespace(name)
	if err != nil {
		return err
	}
	if !ns.Policy.Recoverable() {
		return channel.ErrNotAvailable.With("history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	if err := h.engine.Remove(ctx, name, ns.Policy); err != nil {
		return err
	}
	h.Cleared(name)
	return nil
}

// Cleared takes word from the engine that what was kept of a channel is gone.
func (h *Hub) Cleared(name string) {
	if t := h.topics.get(name); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.mu.ring = ring{}
	}
}

// Target names sessions: those of a user, or one client, or that client only
// if it is the user's.
type Target struct {
	User   string
	Client string
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
func (h *Hub) Subscribe(ctx context.Context, to Target, r SubscribeRequest) (int, error) {
	if err := to.check(); err != nil {
		return 0, err
	}
	ns, err := h.Namespace(r.Channel)
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
	s.tell(&Event{
		Kind: EventSubscribed, Channel: sn.sub.name,
		Position: at, Recoverable: sn.Recoverable, Data: sn.Data,
	})
	for _, p := range sn.Publications {
		s.tell(&Event{Kind: EventPublication, Channel: sn.sub.name, Pub: p, Recoverable: true})
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
func (h *Hub) Unsubscribe(to Target, name string) (int, error) {
	if err := to.check(); err != nil {
		return 0, err
	}
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
	return n, nil
}

// Disconnect ends sessions and returns how many. Clients in except stay.
func (h *Hub) Disconnect(to Target, why Disconnect, except []string) (int, error) {
	if err := to.check(); err != nil {
		return 0, err
	}
	n := 0
	for _, s := range h.clients.of(to.User, to.Client) {
		if slices.Contains(except, s.id) {
			continue
		}
		s.Close(why)
		n++
	}
	return n, nil
}

// Refresh moves the end of sessions to expiresAt, in Unix seconds, 0 for
// never. expired ends them now.
func (h *Hub) Refresh(to Target, expiresAt int64, expired bool) (int, error) {
	if err := to.check(); err != nil {
		return 0, err
	}
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
	return n, nil
}

// Channels returns the channels with subscribers on this node and how many
// each has. pattern is a wildcard pattern as in capabilities; empty is all.
// At most most are returned.
func (h *Hub) Channels(pattern string, most int) map[string]int {
	out := make(map[string]int)
	for i := range h.topics.stripes {
		for _, t := range h.topics.stripes[i].all() {
			if pattern != "" && !auth.MatchChannel(pattern, t.name) {
				continue
			}
			n := t.subscribers()
			if n == 0 {
				continue // it is being opened or closed
			}
			if len(out) == most {
				return out
			}
			out[strings.Clone(t.name)] = n
		}
	}
	return out
}

// Info counts what is on this node.
type Info struct {
	Node          string
	Clients       int
	Users         int
	Channels      int
	Subscriptions int
}

// Info returns the counts of this node.
func (h *Hub) Info() Info {
	i := Info{Node: h.opts.Node, Clients: h.Connections(), Users: h.clients.users()}
	for at := range h.topics.stripes {
		for _, t := range h.topics.stripes[at].all() {
			if n := t.subscribers(); n > 0 {
				i.Channels++
				i.Subscriptions += n
			}
		}
	}
	return i
}

// Drain lets no more sessions in and disconnects those that are here, rate of
// them each second (0 for all at once), asking them to come back. It returns
// when all connections are closed, or with the error of ctx.
func (h *Hub) Drain(ctx context.Context, rate int) error {
	h.draining.Store(true)
	pause := time.Duration(0)
	if rate > 0 {
		pause = time.Second / time.Duration(rate)
	}
	next := time.Now()
	for _, s := range h.clients.close() {
		if pause > 0 {
			next = next.Add(pause)
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.Close(DisconnectShutdown)
	}
	select {
	case <-h.clients.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
