package hub

import (
	"context"
	"fmt"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/roster"
)

// subState is where a subscription is, as its shard sees it.
type subState uint8

const (
	subNew subState = iota
	subWaiting
	subLive
	subGone
)

// sub is one session's subscription to one topic. What a fan-out touches comes
// first and is together.
type sub struct {
	session *Session
	topic   *topic

	// What follows belongs to the shard.
	last  uint64 // offset of the newest publication handed over
	state subState
	lost  bool // something was missed while waiting
	// delta: it gets patches. based: its client has the publication at last.
	// numeric: its client knows the channel by an id.
	delta, based, numeric bool
	// judged: what it may have goes by the channel that its pattern matches.
	judged bool
	// shed: something was missed because the session is slow, and nothing is
	// sent any more but the word that the subscription has ended.
	shed   bool
	filter *filter.Filter // nil for all
	index  int            // place in its list
	// from and epoch are where it began. It ends when the epoch does.
	from  uint64
	epoch string
	held  []*delivery
	pace  *pacing  // nil for who gets everything
	late  *lateSub // nil while nothing is withheld because the session is slow
	// ended is the word that it is gone, while its reply has not gone out.
	ended *Event

	// What follows belongs to whom it says, or does not change.
	name        string // under session.mu, until settled
	place       int    // in the session's set; under session.mu
	info        *channel.ClientInfo
	user        string // for the lifecycle
	expiresAt   int64  // Unix seconds, 0 never; under session.mu
	grant       *auth.Grant
	as          string // who others see, "" for the session's user
	serverSide  bool
	recoverable bool
	// present: presence shows it. announced: others hear that it comes and
	// goes. watches: it hears of others, watchesUsers: of users only.
	present, announced, watches, watchesUsers bool
	// settled: it has joined its topic and whoever ends it makes it leave.
	// Before that its Subscribe call does. Under session.mu.
	settled bool
	// joined: presence knows of it. entry is where the journal for other nodes
	// keeps it. Under topic.mu.
	joined bool
	entry  roster.Place
	// pattern is nil but of a subscription to one.
	pattern *patternSub
	// choice is what it chose and may not choose; nil for nothing. Under
	// session.mu.
	choice *choice
	// entries is what its state channel held when it joined, until it begins.
	entries entries
}

// SubscribeRequest asks for a subscription.
type SubscribeRequest struct {
	Channel string
	// Grant is what the subscription token gives, nil without one.
	Grant *auth.Grant
	// Granted: the server decided on it, so rights are not asked.
	Granted bool
	// ServerSide: the client cannot ask for it again on its own. When it
	// misses something it is disconnected, to come back with its positions.
	ServerSide bool
	// Recover asks for what came after Since.
	Recover bool
	Since   channel.Position
	// Recoverable and JoinLeave are the client's wishes: to be able to recover
	// later, and to hear who comes and goes. They are granted where the
	// namespace can.
	Recoverable bool
	JoinLeave   bool
	// Rate, where it is not 0, asks for a conflated subscription: of what comes
	// only the newest of each key, each key at most so many times a second. The
	// last one always arrives. A log channel has one key. Nodes of an older
	// version know neither this nor Last, and are not told where they are not
	// used.
	Rate float64 `json:",omitzero"`
	// Last asks for the newest publication to begin with, unless Recover asks
	// for more.
	Last bool `json:",omitzero"`
	// Users: to hear of the first connection of a user that comes and of the
	// last one that goes. JoinLeave means that, too, where the namespace tells
	// of users rather than of connections.
	Users bool `json:",omitzero"`
	// Filter is the client's: it gets what this matches, of what it may have.
	Filter *filter.Filter `json:",omitzero"`
	// Delta and Numeric are wishes, too: to get patches where the namespace has
	// them, and to know the channel by an id.
	Delta   bool `json:",omitzero"`
	Numeric bool `json:",omitzero"`
	// As is the user whom others see in this channel, where that is not the
	// session's.
	As string `json:",omitzero"`
	// Data is what the client sent along; hooks are shown it.
	Data []byte `json:",omitzero"`
	// Options are what the server wants of it; a grant has its own.
	Options auth.SubOptions
	// Until is when an engine that does not answer is given up on, with
	// ErrUnavailable; zero is as late as the engine does so itself. Hooks are
	// asked for as long as they may take.
	Until time.Time `json:"-"`

	// paged: the client has read entries, see SubscribeState.
	paged bool
	// asked: a hook decided on it.
	asked bool
}

// Subscription is a granted request. Its owner encodes the reply from it and
// then calls Live, once.
type Subscription struct {
	// Position is where the client stands after Publications.
	Position    channel.Position
	Recoverable bool
	// WasRecovering: recovery was asked for; Recovered: nothing is missing.
	WasRecovering bool
	Recovered     bool
	Publications  []*channel.Publication
	// Whole: Publications are all the entries of a state channel at Position,
	// in the order in which they were put. What the client had before is void.
	Whole bool
	// Newest: of each key Publications hold only what came last.
	Newest bool
	// Data is the token's word to the client, raw JSON. Nil for none.
	Data []byte
	// Rate is how many times a second it gets what is newest, 0 for everything.
	Rate float64
	// Delta: publications may come as patches. ID is how the client knows the
	// channel in events, 0 where by its name.
	Delta bool
	ID    int64
	// ExpiresAt is when it ends unless refreshed, in Unix seconds; 0 is never.
	ExpiresAt int64
	// Asked: a hook decided on it.
	Asked bool

	sub *sub
	// at is the position that the subscription joined at.
	at channel.Position
}

// Subscribe joins a channel. From its return on, everything published is held
// back for the session until Live.
func (s *Session) Subscribe(ctx context.Context, r SubscribeRequest) (*Subscription, error) {
	ns, err := s.hub.Place(r.Channel)
	if err != nil {
		return nil, err
	}
	if err := s.mayJoin(ctx, ns, &r); err != nil {
		return nil, err
	}
	if err := r.check(ns); err != nil {
		return nil, err
	}
	sb := newSub(s, ns, &r)
	sb.name = s.hub.topics.intern(r.Channel)
	if err := s.claim(sb, ns, &r); err != nil {
		return nil, err
	}
	// Only now: whose token is revoked from here on is found among the others.
	if err := s.hub.grantRevoked(s, r.Grant); err != nil {
		s.leave(sb, Unsubscribe{})
		return nil, err
	}
	ctx, cancel := r.within(ctx)
	defer cancel()
	t, at, err := s.hub.join(ctx, ns, sb)
	if err != nil {
		s.leave(sb, Unsubscribe{})
		return nil, err
	}
	out := &Subscription{
		sub: sb, Asked: r.asked, Position: at, Recoverable: sb.recoverable, WasRecovering: r.Recover,
		ExpiresAt: sb.expiresAt, Data: r.Options.Data, Rate: r.Rate,
		Delta: sb.delta,
	}
	if sb.numeric {
		out.ID = t.id
	}
	if !s.settle(sb) {
		t.detach(sb, Unsubscribe{}, nil)
		s.hub.release(t)
		if s.closed() {
			return nil, DisconnectConnectionClosed
		}
		return nil, channel.ErrPermissionDenied.With("the subscription was ended while it was being made")
	}
	if err := s.hub.begin(ctx, &r, out); err != nil {
		s.leave(sb, Unsubscribe{})
		return nil, err
	}
	if !ns.Policy.Recoverable() {
		out.Position = channel.Position{}
	}
	s.noteExpiry(out.ExpiresAt)
	return out, nil
}

// within returns a context for what the engine is asked.
func (r *SubscribeRequest) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Until.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, r.Until)
}

// check refuses what no subscription of the namespace can be.
func (r *SubscribeRequest) check(ns *Namespace) error {
	if r.Last && !ns.Policy.Recoverable() {
		return channel.ErrNotAvailable.With("there is no last publication: history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	return checkRate(r.Rate)
}

// newSub returns a subscription with what the namespace, the token and the
// client say of it, in the order of their weight.
func newSub(s *Session, ns *Namespace, r *SubscribeRequest) *sub {
	sb := &sub{session: s, serverSide: r.ServerSide, grant: r.Grant, as: r.As}
	sb.pace = newPacing(sb, r.Rate)
	if r.Grant != nil {
		r.Options = r.Grant.SubOptions
		sb.expiresAt = r.Grant.ExpiresAt
	}
	o := &r.Options
	or := func(v *bool, otherwise bool) bool {
		if v != nil {
			return *v
		}
		return otherwise
	}
	sb.present = or(o.Presence, ns.Presence)
	sb.announced = or(o.JoinLeave, ns.JoinLeave)
	watches := ns.JoinLeave && or(o.ForcePushJoinLeave, r.JoinLeave)
	sb.watches = watches && !ns.JoinLeaveByUser
	sb.watchesUsers = ns.JoinLeave && r.Users || watches && ns.JoinLeaveByUser
	sb.recoverable = ns.Policy.Recoverable() &&
		or(o.ForceRecovery, or(o.ForcePositioning, ns.Recover || r.Recoverable || r.Recover))
	if id := s.Identity(); id != nil {
		sb.user = id.User
	}
	if sb.as != "" {
		sb.user = sb.as
	}
	if sb.present || sb.announced {
		sb.info = s.info(o.Info)
		if sb.as != "" {
			sb.info.User = sb.as
		}
	}
	return sb
}

// claim enters sb as the session's subscription to its channel.
func (s *Session) claim(sb *sub, ns *Namespace, r *SubscribeRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state != sessionIdentified && s.mu.state != sessionReady {
		return channel.ErrUnauthorized.With("connect first")
	}
	if s.mu.subs.get(sb.name) != nil {
		return errSubscribed()
	}
	if err := s.claimPatternLocked(sb, ns, r); err != nil {
		return err
	}
	if most := s.maxSubsLocked(); len(s.mu.subs.list) >= most {
		s.hub.opts.Metrics.Limit("channels_per_connection").Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf("a connection may have %d subscriptions", most))
	}
	s.chooseLocked(sb, ns, r)
	if err := s.roomForFilterLocked(sb); err != nil {
		return err
	}
	s.mu.subs.add(sb)
	return nil
}

// maxSubsLocked is how many channels the session may have: what the server
// allows, or its token, if that is less.
func (s *Session) maxSubsLocked() int {
	most := s.hub.opts.Limits.ChannelsPerConnection
	if id := s.mu.identity; id != nil && id.Limits != nil && id.Limits.Subscriptions > 0 {
		most = min(most, id.Limits.Subscriptions)
	}
	return most
}

// settle notes that sb has joined its topic, unless it was ended meanwhile.
func (s *Session) settle(sb *sub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb.settled = s.mu.subs.get(sb.name) == sb
	if sb.settled {
		sb.name = sb.topic.name // the one copy of it
	}
	return sb.settled
}

// leave ends a subscription and tells the client why, nothing where why is
// zero. It reports whether there was anything to end.
func (s *Session) leave(sb *sub, why Unsubscribe) bool { return s.leaveSaying(sb, why, nil) }

// leaveSaying is leave with the reply to who wanted it, which goes out if there
// was anything to end.
func (s *Session) leaveSaying(sb *sub, why Unsubscribe, reply []byte) bool {
	s.mu.Lock()
	if s.mu.subs.get(sb.name) != sb {
		s.mu.Unlock()
		return false
	}
	s.mu.subs.remove(sb)
	// It is out of the topic before the session can come again, so that the
	// two do not overtake each other.
	settled := sb.settled
	if settled {
		sb.topic.detach(sb, why, reply)
	} else {
		s.sendBehind(sb.name, reply)
	}
	s.mu.Unlock()
	if settled {
		sb.exit()
		s.hub.release(sb.topic)
	}
	return true
}

// Live sends the reply and lets the subscription take part. reply may be
// empty, where it went out otherwise.
func (sn *Subscription) Live(reply []byte) {
	sb := sn.sub
	n := len(sn.Publications)
	sb.based = sb.delta && n > 0 && sn.Publications[n-1].Offset == sn.Position.Offset
	sb.session.shard.push(message{kind: msgLive, sub: sb, bytes: reply, offset: sn.Position.Offset})
	sb.topic.announce(sb)
	sb.enter()
}

// Cancel ends a subscription that is not to become live.
func (sn *Subscription) Cancel() { sn.sub.session.leave(sn.sub, Unsubscribe{}) }

// Unsubscribe ends a subscription at the client's wish. Ending what is not
// there is no error.
func (s *Session) Unsubscribe(name string) error {
	if err := channel.CheckName(name); err != nil {
		return err
	}
	s.UnsubscribeSaying(name, nil)
	return nil
}

// sendBehind queues bytes behind what a channel's subscription was sent.
func (s *Session) sendBehind(name string, b []byte) {
	m := message{kind: msgSend, session: s, bytes: b}
	if ns, err := s.hub.Namespace(name); err == nil {
		m.lane = ns.lane()
	}
	s.shard.push(m)
}

// UnsubscribeSaying is Unsubscribe with the reply to the client, which leaves
// behind the publications of the channel that went before. A name that no
// channel can have is not subscribed to.
func (s *Session) UnsubscribeSaying(name string, reply []byte) {
	if sb := s.subscription(name); sb == nil || !s.leaveSaying(sb, Unsubscribe{}, reply) {
		s.sendBehind(name, reply)
	}
}

// subscription returns the one to a channel, nil where there is none.
func (s *Session) subscription(name string) *sub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.subs.get(name)
}

// Subscriptions returns the channels the session is subscribed to.
func (s *Session) Subscriptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.mu.subs.list))
	for _, sb := range s.mu.subs.list {
		out = append(out, sb.name)
	}
	return out
}

// RefreshSubscription moves the end of a subscription.
func (s *Session) RefreshSubscription(g *auth.Grant) error {
	s.mu.Lock()
	sb := s.mu.subs.get(g.Channel)
	if sb == nil {
		s.mu.Unlock()
		return channel.ErrPermissionDenied.With("not subscribed to the channel of the token")
	}
	sb.grant, sb.expiresAt = g, g.ExpiresAt
	sb.limitLocked(g.Filter)
	patched := s.refilterLocked(sb)
	s.mu.Unlock()
	if err := s.hub.grantRevoked(s, g); err != nil {
		s.leave(sb, UnsubscribeServer)
		return err
	}
	if patched {
		s.leave(sb, UnsubscribeInsufficient)
		return nil
	}
	s.noteExpiry(g.ExpiresAt)
	return nil
}

// noteExpiry makes sure that the timers look at the subscriptions in time.
func (s *Session) noteExpiry(at int64) {
	if at == 0 {
		return
	}
	for {
		old := s.subExpiry.Load()
		if old != 0 && old <= at {
			return
		}
		if s.subExpiry.CompareAndSwap(old, at) {
			s.shard.push(message{kind: msgRetime, session: s})
			return
		}
	}
}

// nextExpiry is when the session or one of its subscriptions ends, in Unix
// seconds; 0 is never.
func (s *Session) nextExpiry() int64 {
	a, b := s.expiresAt.Load(), s.subExpiry.Load()
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// dueSubs reports whether a subscription has ended by now.
func (s *Session) dueSubs(now int64) bool {
	at := s.subExpiry.Load()
	return at != 0 && at <= now
}

// expireSubs ends the subscriptions that were not refreshed in time. One that
// is being made notes its end when it is.
func (s *Session) expireSubs() {
	now := time.Now().Add(-s.hub.opts.ExpiredDelay).Unix()
	var due []*sub
	var next int64
	s.mu.Lock()
	for _, sb := range s.mu.subs.list {
		switch at := sb.expiresAt; {
		case at == 0 || !sb.settled:
		case at <= now:
			due = append(due, sb)
		case next == 0 || at < next:
			next = at
		}
	}
	s.subExpiry.Store(next)
	s.mu.Unlock()
	for _, sb := range due {
		if sb.serverSide {
			s.Close(DisconnectSubExpired)
			return
		}
		s.leave(sb, UnsubscribeExpired)
	}
	s.shard.push(message{kind: msgRetime, session: s})
}
