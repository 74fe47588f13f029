package hub

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/internal/rate"
	"myelin/observe"
)

// Rates are how much may be published to the channels of a namespace. Each may
// be off.
type Rates struct {
	// Channel is that of one channel, whoever publishes, the server included.
	Channel rate.Limit
	// User is that of one user on all channels of the namespace; who has no
	// user id is measured by connection.
	User rate.Limit
}

// UserLimits are what one user may use on all nodes, whatever its connections.
// Zero is no limit. Anonymous clients are no user.
type UserLimits struct {
	// Connections at once.
	Connections int
	// Publish is how many publications, Bytes how much data of them.
	Publish rate.Limit
	Bytes   rate.Limit
}

const (
	// maxMeters is how many busy users, tokens and channels are measured.
	maxMeters = 200_000
	// ratesDelay is how long what was published waits for more before the
	// other nodes are told.
	ratesDelay = 50 * time.Millisecond
	// maxRatesTold is how many sources one message tells of; the next one goes
	// on.
	maxRatesTold = 4096
	// maxRatesBytes is how long such a message may get.
	maxRatesBytes = channel.MaxBusMessage / 2
)

// scope is what a meter is of. The numbers are on the bus.
type scope byte

const (
	scopeChannel scope = iota + 1
	scopeUserIn
	scopeUser
	scopeUserBytes
	scopeToken
	scopeTokenBytes
)

// source is what a meter measures.
type source struct {
	scope scope
	// space is the namespace, of scopeUserIn.
	space string
	// name is that of the channel, the user or the token.
	name string
}

// quotas measures what users, tokens and channels use. What is admitted here is
// told to the other nodes, which charge it to their own meters: each node
// admits by what all have used, some milliseconds ago.
type quotas struct {
	hub    *Hub
	meters *rate.Table[source]
	counts counts
	// dirty wakes tell.
	dirty chan struct{}
}

func newQuotas(h *Hub) *quotas {
	q := &quotas{
		hub:    h,
		meters: rate.NewTable[source](maxMeters, h.opts.Bus != nil),
		dirty:  make(chan struct{}, 1),
	}
	q.counts.init()
	return q
}

// charge is what one publication took of one meter.
type charge struct {
	source source
	limit  rate.Limit
	n      int64
	// own is a meter of the session's, nil for one of the table.
	own *rate.Meter
}

// charges are those of one publication, so that they can be given back.
type charges struct {
	list [6]charge
	n    int
}

// take charges one meter, or refuses with what is said of it.
func (q *quotas) take(c *charges, x charge, limit string, say func() string) error {
	if !x.limit.On() {
		return nil
	}
	wait, ok := q.meters.Take(x.source, x.limit, x.n, q.hub.now())
	if ok {
		c.list[c.n] = x
		c.n++
		q.told()
		return nil
	}
	return q.refuse(limit, say(), wait)
}

// refuse counts a refusal and returns the error that says it.
func (q *quotas) refuse(limit, say string, wait time.Duration) error {
	q.hub.opts.Metrics.Limit(limit).Inc()
	wait = wait.Round(time.Millisecond) + time.Millisecond
	e := channel.ErrTooManyRequests.With(fmt.Sprintf("%s; try again in %v", say, wait))
	e.Retry = wait
	return e
}

// told has the other nodes told soon.
func (q *quotas) told() {
	if q.hub.cluster == nil {
		return
	}
	select {
	case q.dirty <- struct{}{}:
	default:
	}
}

// giveBack undoes charges of a publication that was refused after all.
func (q *quotas) giveBack(s *Session, c *charges) {
	for _, x := range c.list[:c.n] {
		if x.own == nil {
			q.meters.Give(x.source, x.limit, x.n)
			continue
		}
		s.mu.Lock()
		x.own.Give(x.limit, x.n)
		s.mu.Unlock()
	}
}

// says returns words for a rate.
func says(l rate.Limit, what string) string {
	per := cmp.Or(l.Per, time.Second)
	if per == time.Second {
		return fmt.Sprintf("%d %s a second", l.N, what)
	}
	return fmt.Sprintf("%d %s in %v", l.N, what, per)
}

// channel admits one publication to a channel, whoever publishes it.
func (q *quotas) channel(ns *Namespace, name string) error {
	if !ns.Rates.Channel.On() {
		return nil
	}
	var c charges
	return q.take(&c, charge{source: source{scope: scopeChannel, name: name}, limit: ns.Rates.Channel, n: 1}, observe.LimitChannelRate, func() string {
		return "the channel takes " + says(ns.Rates.Channel, "publications") + " (namespaces." + ns.Policy.Namespace + ".rate)"
	})
}

// session admits a publication of n bytes of a session's, by what its token,
// its user and its user's part in the namespace may. What it took is in c.
func (q *quotas) session(c *charges, s *Session, id *auth.Identity, ns *Namespace, n int) error {
	err := q.token(c, s, id, n)
	if err == nil && id.User != "" {
		err = q.user(c, id.User, n)
	}
	if err == nil {
		who := id.User
		if who == "" {
			who = "\x00" + s.id // no user is called so
		}
		err = q.take(c, charge{source: source{scopeUserIn, ns.Policy.Namespace, who}, limit: ns.Rates.User, n: 1}, observe.LimitUserRate, func() string {
			return "in this namespace you may send " + says(ns.Rates.User, "publications") + " (namespaces." + ns.Policy.Namespace + ".rate)"
		})
	}
	if err != nil {
		q.giveBack(s, c)
	}
	return err
}

// user admits by limits.per_user.
func (q *quotas) user(c *charges, user string, n int) error {
	l := &q.hub.opts.Limits.PerUser
	err := q.take(c, charge{source: source{scope: scopeUser, name: user}, limit: l.Publish, n: 1}, observe.LimitUserRate, func() string {
		return "a user may send " + says(l.Publish, "publications") + " (limits.per_user)"
	})
	if err != nil {
		return err
	}
	return q.take(c, charge{source: source{scope: scopeUserBytes, name: user}, limit: l.Bytes, n: int64(n)}, observe.LimitUserBytes, func() string {
		return "a user may send " + says(l.Bytes, "bytes") + " (limits.per_user)"
	})
}

// token admits by the limits in a token: over all connections made with it
// where it has an id, otherwise over this one.
func (q *quotas) token(c *charges, s *Session, id *auth.Identity, n int) error {
	l := id.Limits
	if l == nil {
		return nil
	}
	pubs, bytes := rate.PerSecond(l.PublishPerSecond), rate.PerSecond(l.BytesPerSecond)
	sayPubs := func() string { return "your token allows " + says(pubs, "publications") }
	sayBytes := func() string { return "your token allows " + says(bytes, "bytes") }
	if id.TokenID == "" {
		if err := q.own(c, s, &s.mu.published, pubs, 1, observe.LimitTokenRate, sayPubs); err != nil {
			return err
		}
		return q.own(c, s, &s.mu.sent, bytes, int64(n), observe.LimitTokenBytes, sayBytes)
	}
	err := q.take(c, charge{source: source{scope: scopeToken, name: id.TokenID}, limit: pubs, n: 1}, observe.LimitTokenRate, sayPubs)
	if err != nil {
		return err
	}
	return q.take(c, charge{source: source{scope: scopeTokenBytes, name: id.TokenID}, limit: bytes, n: int64(n)}, observe.LimitTokenBytes, sayBytes)
}

// own is take for a meter of the session's, under its lock.
func (q *quotas) own(c *charges, s *Session, m *rate.Meter, l rate.Limit, n int64, limit string, say func() string) error {
	if !l.On() {
		return nil
	}
	s.mu.Lock()
	wait, ok := m.Take(l, n, q.hub.now())
	s.mu.Unlock()
	if !ok {
		return q.refuse(limit, say(), wait)
	}
	c.list[c.n] = charge{limit: l, n: n, own: m}
	c.n++
	return nil
}

// publish publishes in a session's name, within what it may.
func (s *Session) publish(ctx context.Context, ns *Namespace, r *channel.PublishRequest) (channel.Ack, error) {
	id, user := s.Identity(), &s.hub.opts.Limits.PerUser
	if id == nil || (id.Limits == nil && !user.Publish.On() && !user.Bytes.On() && !ns.Rates.User.On()) {
		return s.hub.publish(ctx, ns, r)
	}
	var c charges
	if err := s.hub.quotas.session(&c, s, id, ns, len(r.Data)); err != nil {
		return channel.Ack{}, err
	}
	ack, err := s.hub.publish(ctx, ns, r)
	if errors.Is(err, channel.ErrTooManyRequests) {
		s.hub.quotas.giveBack(s, &c)
	}
	return ack, err
}

// ratesVersion is the first byte of what nodes tell each other of rates.
const ratesVersion = 1

// tell tells the other nodes what was admitted here, until the hub closes.
func (q *quotas) tell() {
	delay := time.NewTimer(time.Hour)
	defer delay.Stop()
	for {
		select {
		case <-q.dirty:
		case <-q.hub.ctx.Done():
			return
		}
		delay.Reset(ratesDelay)
		select {
		case <-delay.C:
		case <-q.hub.ctx.Done():
			return
		}
		used, more := q.meters.Used(maxRatesTold)
		if more {
			q.told()
		}
		for _, frame := range ratesFrames(used) {
			// What is lost was admitted here and is not charged elsewhere: the
			// other nodes are too generous for a moment.
			if err := q.hub.cluster.bus.Broadcast(topicRates, frame); err != nil {
				q.hub.opts.Metrics.Limit(observe.LimitRatesOutbox).Inc()
			}
		}
		q.hub.opts.Metrics.Limit(observe.LimitMeters).Add(q.meters.Forgotten())
	}
}

// ratesFrames returns messages that tell what was used: of each source its
// scope, namespace, name and how much, in nanoseconds of its pace, so that who
// hears it need not know the limit.
func ratesFrames(used map[source]time.Duration) [][]byte {
	var frames [][]byte
	var b []byte
	for src, n := range used {
		if n <= 0 {
			continue // more was given back than taken since
		}
		if len(b) == 0 {
			b = append(b, ratesVersion)
		}
		b = append(b, byte(src.scope))
		for _, text := range []string{src.space, src.name} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
		b = binary.AppendUvarint(b, uint64(n))
		if len(b) > maxRatesBytes {
			frames, b = append(frames, b), nil
		}
	}
	if len(b) > 0 {
		frames = append(frames, b)
	}
	return frames
}

// hear charges what another node has admitted. What cannot be read is left.
func (q *quotas) hear(_ channel.Node, b []byte) {
	if len(b) == 0 || b[0] != ratesVersion {
		return
	}
	b = b[1:]
	now := q.hub.now()
	for len(b) > 0 {
		src := source{scope: scope(b[0])}
		b = b[1:]
		for _, into := range []*string{&src.space, &src.name} {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return
			}
			*into, b = string(b[used:used+int(n)]), b[used+int(n):]
		}
		n, used := binary.Uvarint(b)
		if used <= 0 {
			return
		}
		b = b[used:]
		q.meters.Charge(src, time.Duration(min(n, math.MaxInt64)), now)
	}
}
