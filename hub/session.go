package hub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"myelin/auth"
	"myelin/channel"
	"myelin/internal/rate"
	"myelin/internal/wheel"
	"myelin/observe"
	"myelin/roster"
)

// Session is one client's connection as the hub sees it.
//
// What a write to it touches comes first, and the first cache line of that has
// what each needs: a fan-out to many sessions costs what it waits for memory.
type Session struct {
	conn Conn
	// out belongs to the shard, as do clock and what follows it.
	out output
	// tail is for who listens to it; nil for nobody.
	tail  atomic.Pointer[tail]
	gauge Gauge // nil where the connection is none

	hub     *Hub
	shard   *shard
	form    Form
	private bool
	pongs   bool
	address auth.Addr
	about   *About

	id string

	mu struct {
		sync.Mutex
		state    sessionState
		identity *auth.Identity
		subs     subSet
		// wanted is what the server wants it subscribed to once it is ready.
		wanted []SubscribeRequest
		// pagings are the snapshots it is reading, by channel.
		pagings map[string]*paging
		// commands is what it has used of its rate of commands.
		commands rate.Meter
		// published and sent are what it has used of its token's limits, where
		// the token has no id; seats are where it is counted.
		published, sent rate.Meter
		seats           []seat
	}
	// pinged: a ping waits for its answer.
	pinged atomic.Bool
	// entry is where the journal for other nodes keeps it; set before identity.
	entry     roster.Place
	expiresAt atomic.Int64
	// subExpiry is the earliest end of a subscription in Unix seconds; 0 is none.
	subExpiry atomic.Int64

	// next and prev link the sessions of one user, under the registry's lock.
	next, prev *Session

	// What follows belongs to the shard.
	clock clock
	trail *trail
	timer wheel.Timer[*Session]
	// verdicts is there for those with a pattern whose channels they may not
	// all have.
	verdicts *verdicts
}

type sessionState uint8

const (
	sessionNew        sessionState = iota
	sessionIdentified              // its client has not heard so yet
	sessionReady
	sessionClosed
)

// SessionOptions is what a door brings along for a session.
type SessionOptions struct {
	Conn Conn
	Form Form
	// Private says that Form belongs to this session alone: it is called from
	// one goroutine and may have state.
	Private bool
	// Pongs says that the client answers pings.
	Pongs bool
	// Address is where the client is, where that is known.
	Address auth.Addr
	// About is shown to hooks; nil for nothing.
	About *About
}

// Room returns nil while another session may be opened, else why not.
func (h *Hub) Room() error {
	if h.draining.Load() {
		return errDraining()
	}
	if h.connections.Load() >= int64(h.opts.Limits.Connections) {
		h.opts.Metrics.Limit("connections").Inc()
		return channel.ErrLimitExceeded.With("the server has all the connections it may have")
	}
	return nil
}

func errDraining() error {
	return channel.ErrUnavailable.With("the server is shutting down, connect again")
}

// Open begins a session. It is refused with ErrLimitExceeded when the node is
// full and with ErrUnavailable while it drains. Who opens a session closes it.
func (h *Hub) Open(o SessionOptions) (*Session, error) {
	if err := h.Room(); err != nil {
		return nil, err
	}
	if n := h.connections.Add(1); n > int64(h.opts.Limits.Connections) {
		h.connections.Add(-1)
		h.opts.Metrics.Limit("connections").Inc()
		return nil, channel.ErrLimitExceeded.With("the server has all the connections it may have")
	}
	s := &Session{
		hub: h, conn: o.Conn, form: o.Form, private: o.Private, pongs: o.Pongs, address: o.Address, about: o.About,
		id:    NewID(),
		shard: h.shards[int(h.nextShard.Add(1))%len(h.shards)],
	}
	s.timer.Owner = s
	s.gauge, _ = o.Conn.(Gauge)
	if !h.clients.add(s) {
		h.connections.Add(-1)
		return nil, errDraining()
	}
	h.metrics.Sessions.Add(1)
	s.shard.push(message{kind: msgOpen, session: s})
	return s, nil
}

// NewID returns 128 random bits as text.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ID returns the id of the connection, which others may see.
func (s *Session) ID() string { return s.id }

// Identify says who the session is. Only the first call does; another is
// refused with DisconnectBadRequest. Once the client has been answered the
// caller says Ready.
func (s *Session) Identify(id *auth.Identity) error {
	if err := s.hub.keptOut(s.address, id); err != nil {
		return err
	}
	s.mu.Lock()
	switch s.mu.state {
	case sessionIdentified, sessionReady:
		s.mu.Unlock()
		return DisconnectBadRequest
	case sessionClosed:
		s.mu.Unlock()
		return DisconnectConnectionClosed
	}
	seats, err := s.hub.quotas.sit(s, id)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.state, s.mu.seats = sessionIdentified, seats
	s.mu.identity = id
	s.hub.life.connected(s, id.User)
	s.mu.Unlock()
	s.expiresAt.Store(id.ExpiresAt)
	s.hub.clients.identify(s, id.User)
	// Once more: who is banned from here on is found among the others.
	if err := s.hub.keptOut(s.address, id); err != nil {
		return err
	}
	s.shard.push(message{kind: msgConnected, session: s})
	return nil
}

// Ready says that the client knows that it is connected. What the server
// wanted it subscribed to in the meantime is done now.
func (s *Session) Ready(ctx context.Context) {
	s.mu.Lock()
	if s.mu.state != sessionIdentified {
		s.mu.Unlock()
		return
	}
	s.mu.state = sessionReady
	wanted := s.mu.wanted
	s.mu.wanted = nil
	s.mu.Unlock()
	for _, r := range wanted {
		if err := s.enroll(ctx, r); err != nil && !errors.Is(err, channel.ErrAlreadySubscribed) {
			s.hub.opts.Logger.Warn("a connecting client was not subscribed as the server wanted",
				observe.KeyClient, s.id, observe.KeyErr, err)
		}
	}
}

// Connect is Identify and Ready in one, for clients that need no answer.
func (s *Session) Connect(id *auth.Identity) error {
	if err := s.Identify(id); err != nil {
		return err
	}
	s.Ready(s.hub.ctx)
	return nil
}

// Identity returns who the session is, nil before Identify.
func (s *Session) Identity() *auth.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.identity
}

// Refresh moves the end of the connection. The user must be the same.
func (s *Session) Refresh(id *auth.Identity) error {
	s.mu.Lock()
	if s.mu.state != sessionIdentified && s.mu.state != sessionReady {
		s.mu.Unlock()
		return DisconnectBadRequest
	}
	if id.User != s.mu.identity.User {
		s.mu.Unlock()
		return DisconnectInvalidToken
	}
	s.mu.identity = id
	patched := s.refilterAllLocked()
	s.mu.Unlock()
	if err := s.hub.keptOut(s.address, id); err != nil {
		return err
	}
	s.expiresAt.Store(id.ExpiresAt)
	s.shard.push(message{kind: msgRetime, session: s})
	for _, sb := range patched {
		s.leave(sb, UnsubscribeInsufficient)
	}
	s.regate()
	return nil
}

// Send queues bytes of the session's own wire format, which the hub does not
// read. They leave in the order of the calls. b must not be changed after.
func (s *Session) Send(b []byte) {
	if len(b) == 0 {
		return
	}
	s.shard.push(message{kind: msgSend, session: s, bytes: b})
}

// Pong notes the answer to a ping. It reports whether one was asked for.
func (s *Session) Pong() bool { return s.pinged.CompareAndSwap(true, false) }

// Admit reports whether the session may send one more command now:
// CommandsPerSecond sustained, CommandBurst at once. Its token may allow less.
func (s *Session) Admit() bool {
	l := rate.Limit{N: int64(s.hub.opts.Limits.CommandsPerSecond), Burst: int64(s.hub.opts.Limits.CommandBurst)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := s.mu.identity; id != nil && id.Limits != nil && id.Limits.CommandsPerSecond > 0 && id.Limits.CommandsPerSecond < l.N {
		l.N = id.Limits.CommandsPerSecond
		l.Burst = min(l.Burst, 2*l.N)
	}
	_, ok := s.mu.commands.Take(l, 1, s.hub.now())
	if !ok {
		s.hub.opts.Metrics.Limit("commands").Inc()
	}
	return ok
}

// Close ends the session: the client is told why, behind what is queued, and
// its subscriptions end. Further calls do nothing.
func (s *Session) Close(why Disconnect) { s.CloseSaying(why, nil) }

// CloseSaying is Close with a goodbye of the transport's own in the session's
// wire format, which its form finds in the event's Data: nothing is sent
// behind it, not even what was published while the session was closed.
func (s *Session) CloseSaying(why Disconnect, bye []byte) {
	s.mu.Lock()
	if s.mu.state == sessionClosed {
		s.mu.Unlock()
		return
	}
	s.mu.state = sessionClosed
	var subs []*sub
	for _, sb := range s.mu.subs.list {
		if sb.settled {
			subs = append(subs, sb)
		}
	}
	s.mu.subs, s.mu.wanted = subSet{}, nil
	s.hub.quotas.stand(s.mu.seats)
	s.mu.seats = nil
	who := s.mu.identity
	s.mu.Unlock()

	s.hub.opts.Metrics.Disconnect(why.Code).Inc()
	s.hub.clients.remove(s)
	s.hub.connections.Add(-1)
	s.hub.metrics.Sessions.Add(-1)
	for _, sb := range subs {
		sb.topic.detach(sb, unsubscribeClosed, nil)
	}
	if who != nil {
		s.hub.life.disconnected(s, who.User, why)
	}
	s.shard.push(message{kind: msgClose, session: s, event: &Event{Kind: EventDisconnected, Code: why.Code, Reason: why.Reason, Data: bye}})
	for _, sb := range subs {
		sb.exit()
		s.hub.release(sb.topic) // last, because it may wait for the engine
	}
	s.endPagings()
}

// tell queues an event of the session's own.
func (s *Session) tell(e *Event) { s.shard.push(message{kind: msgTell, session: s, event: e}) }

// tell queues an event about a subscription, among its publications.
func (sb *sub) tell(e *Event) {
	sb.session.shard.push(message{kind: msgTell, session: sb.session, sub: sb, event: e})
}

// info returns who the session is, as other members of a channel see it.
func (s *Session) info(chanInfo []byte) *channel.ClientInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &channel.ClientInfo{Client: s.id, ChanInfo: chanInfo}
	if s.mu.identity != nil {
		i.User, i.ConnInfo = s.mu.identity.User, s.mu.identity.Info
	}
	return i
}

// may returns nil if the session has the right, else ErrPermissionDenied with
// what would give it. A session that has been closed has no rights any more,
// although its door may still bring commands for a moment.
func (s *Session) may(verb auth.Verb, ns *Namespace, name string, viaToken bool) error {
	s.mu.Lock()
	id := s.mu.identity
	over := s.mu.state == sessionClosed
	sb := s.mu.subs.get(name)
	byGrant := sb != nil && sb.grant.Allows(verb)
	s.mu.Unlock()
	switch {
	case over:
		return DisconnectConnectionClosed
	case id == nil:
		return channel.ErrUnauthorized.With("connect first")
	case ns.System && (!byGrant || verb == auth.VerbPublish):
		return maySystem(verb, ns, name, id, viaToken)
	}
	if byGrant || ns.Rules.Allows(verb, name, id, sb != nil, viaToken) {
		return nil
	}
	return channel.ErrPermissionDenied.With(fmt.Sprintf(
		"%s in namespace %q is for %s, or for a token with capability %q", verb, ns.Policy.Namespace, ns.Rules.For(verb), verb.Short()))
}

// Publish publishes to a channel in the session's name. r.ID makes a retry of the
// same user safe; empty means none. r.Data must not be changed after.
func (s *Session) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	ns, err := s.hub.Namespace(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	if ns.Gate != nil {
		return channel.Ack{}, errGated(ns)
	}
	if err := s.mayPublish(ctx, ns, r); err != nil {
		return channel.Ack{}, err
	}
	if r.ID, err = s.ownID(r.ID); err != nil {
		return channel.Ack{}, err
	}
	r.Info = s.speaker(r.Channel)
	return s.publish(ctx, ns, r)
}

// Presence returns the members of a channel.
func (s *Session) Presence(name string) ([]*channel.ClientInfo, error) {
	ns, err := s.hub.Namespace(name)
	if err != nil {
		return nil, err
	}
	if err := s.may(auth.VerbPresence, ns, name, false); err != nil {
		return nil, err
	}
	return s.hub.Presence(name)
}

// PresenceStats returns how many connections and users are in a channel.
func (s *Session) PresenceStats(name string) (PresenceStats, error) {
	ns, err := s.hub.Namespace(name)
	if err != nil {
		return PresenceStats{}, err
	}
	if err := s.may(auth.VerbPresence, ns, name, false); err != nil {
		return PresenceStats{}, err
	}
	return s.hub.PresenceStats(name)
}

// History reads what is kept of a channel, of that what the session's tokens
// let it have. It is cut after 4 MiB: the client goes on from the last
// publication it got.
func (s *Session) History(ctx context.Context, r HistoryRequest) (channel.ReadResult, error) {
	ns, err := s.hub.Namespace(r.Channel)
	if err != nil {
		return channel.ReadResult{}, err
	}
	if err := s.may(auth.VerbHistory, ns, r.Channel, false); err != nil {
		return channel.ReadResult{}, err
	}
	r.MaxBytes = maxReply
	out, err := s.hub.filteredHistory(ctx, r, s.Filter(r.Channel))
	out.Pubs = fitting(out.Pubs)
	return out, err
}
