package conversation

import (
	"errors"
	"maps"
	"net/url"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// connectionTokenError returns what a refused connection token comes to: an
// expired one can be renewed, a bad one will never do.
func connectionTokenError(err error) error {
	switch {
	case errors.Is(err, auth.ErrTokenExpired):
		return channel.ErrTokenExpired.With(err.Error())
	case errors.Is(err, auth.ErrUnavailable):
		return channel.ErrUnavailable.With(err.Error())
	}
	return hub.Disconnect{Code: hub.DisconnectInvalidToken.Code, Reason: reason("invalid token: " + err.Error())}
}

// subscriptionTokenError is the same for a subscription, whose refusal leaves
// the connection alone.
func subscriptionTokenError(err error) error {
	switch {
	case errors.Is(err, auth.ErrTokenExpired):
		return channel.ErrTokenExpired.With(err.Error())
	case errors.Is(err, auth.ErrUnavailable):
		return channel.ErrUnavailable.With(err.Error())
	}
	return channel.ErrPermissionDenied.With(err.Error())
}

// maxReason is how long a disconnect reason may be: a WebSocket close frame
// holds 125 bytes, two of them the code (RFC 6455 section 5.5).
const maxReason = 123

// reason cuts a text to what a close frame holds, at a rune's edge.
func reason(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "")
}

// connect handles the connect command.
func (c *Conversation) connect(id uint32, r *protocol.ConnectRequest) error {
	res, subs, err := c.admit(r, nil)
	if err != nil {
		// There is no second try, and half connected is of no use: say what
		// was wrong, then close.
		if refused := c.refuse(id, err); refused != nil {
			return refused
		}
		return AsDisconnect(err)
	}
	c.send(&protocol.Reply{Id: id, Connect: res})
	for _, sn := range subs {
		sn.Live(nil)
	}
	c.session.Ready(c.host.ctx)
	return nil
}

// ConnectOneWay connects a client that only listens. lastID is the resume
// token it came with, empty for none. On error nothing has been sent: the door
// says it in its own way and closes.
func (c *Conversation) ConnectOneWay(r *protocol.ConnectRequest, lastID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connectOneWay(r, lastID)
}

// connectOneWay is ConnectOneWay under the lock.
func (c *Conversation) connectOneWay(r *protocol.ConnectRequest, lastID string) error {
	res, subs, err := c.admit(r, newStarts(lastID))
	if err != nil {
		return err
	}
	p := &protocol.Push{Connect: &protocol.Connect{
		Client: res.Client, Version: res.Version, Subs: res.Subs, Expires: res.Expires, Ttl: res.Ttl,
		Ping: res.Ping, Session: res.Session, Node: res.Node, Time: res.Time, Data: res.Data,
	}}
	c.session.Send(c.wire.push(nil, p))
	for _, sn := range subs {
		sn.Live(nil)
	}
	c.session.Ready(c.host.ctx)
	return nil
}

// ConnectFromMessage connects a one-way client whose connect request came as a
// message of its transport, on top of the query parameters of OneWayRequest.
// When it is refused the session is closed with the reason and the answer is
// false.
func (c *Conversation) ConnectFromMessage(b []byte, query url.Values) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := OneWayRequest(c.wire.format, b, query)
	if err == nil {
		err = c.connectOneWay(r, "")
	}
	if err != nil {
		return c.fail(AsDisconnect(err))
	}
	return true
}

// AsDisconnect returns the disconnect that says err to a client that cannot be
// answered otherwise.
func AsDisconnect(err error) hub.Disconnect {
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		return d
	}
	e := channel.Public(err)
	d := hub.DisconnectBadRequest
	switch e.Code {
	case channel.CodeTokenExpired, channel.CodeExpired:
		d = hub.DisconnectExpired
	case channel.CodePermissionDenied, channel.CodeUnauthorized, channel.CodeUnknownChannel:
		d = hub.DisconnectPermissionDenied
	case channel.CodeLimitExceeded:
		d = hub.DisconnectChannelLimit
	case channel.CodeTooManyRequests:
		d = hub.DisconnectTooManyRequests
	default:
		if e.Temporary {
			d = hub.DisconnectServerError
		}
	}
	d.Reason = reason(d.Reason + ": " + e.Message)
	return d
}

// starts is where a resuming client stands.
type starts struct {
	known map[nameHash]channel.Position
	// broken: the token could not be read, so nothing can be recovered, and
	// the client is told so.
	broken bool
}

func newStarts(lastID string) *starts {
	if lastID == "" {
		return nil
	}
	known, err := parseResume(lastID)
	return &starts{known: known, broken: err != nil}
}

// lostEpoch is an epoch that no channel has.
const lostEpoch = "?"

// apply makes a request one that recovers, where the client was there before.
func (s *starts) apply(r *protocol.SubscribeRequest) {
	if s == nil {
		return
	}
	if pos, ok := s.known[hashName(r.Channel)]; ok {
		r.Recover, r.Epoch, r.Offset = true, pos.Epoch, pos.Offset
	} else if s.broken {
		r.Recover, r.Epoch = true, lostEpoch
	}
}

// admit identifies the session and makes its first subscriptions. When it
// fails the session is of no more use.
func (c *Conversation) admit(r *protocol.ConnectRequest, from *starts) (*protocol.ConnectResult, []*hub.Subscription, error) {
	who, welcome, err := c.meet(r)
	if err != nil {
		return nil, nil, err
	}
	if err := c.session.Identify(who); err != nil {
		return nil, nil, err
	}
	c.mu.connected = true
	now := time.Now()
	opts := c.host.hub.Options()
	res := &protocol.ConnectResult{Client: c.session.ID(), Version: c.host.opts.Version, Time: now.UnixMilli()}
	if welcome == nil {
		res.Expires, res.Ttl = lifetime(who.ExpiresAt, now.Unix())
	} else {
		// Who was let in by a hook cannot renew that: the server asks again.
		res.Data = c.wire.payload(welcome.Data)
		c.due.later("", who.ExpiresAt)
	}
	if opts.PingInterval > 0 {
		res.Ping, res.Pong = uint32(max(opts.PingInterval/time.Second, 1)), !c.wire.oneWay
	}
	if c.secret != "" {
		res.Session, res.Node = c.secret, c.host.hub.Node()
	}
	subs, err := c.firstSubscriptions(who, r, from, res)
	if err != nil {
		return nil, nil, err
	}
	return res, subs, nil
}

// firstSubscriptions makes those the token names and, for a client that
// cannot ask later, those it asks for now.
func (c *Conversation) firstSubscriptions(who *auth.Identity, r *protocol.ConnectRequest, from *starts, res *protocol.ConnectResult) ([]*hub.Subscription, error) {
	granted := make(map[string]auth.SubOptions, len(who.Channels)+len(who.Subs))
	for _, name := range who.Channels {
		granted[name] = auth.SubOptions{}
	}
	maps.Copy(granted, who.Subs)
	wanted := make([]*protocol.SubscribeRequest, 0, len(granted))
	for name := range granted {
		wanted = append(wanted, position(name, r.Subs[name]))
	}
	if c.wire.oneWay {
		for name, req := range r.Subs {
			if _, ok := granted[name]; !ok {
				q := position(name, req)
				if req != nil {
					q.Token = req.Token
				}
				wanted = append(wanted, q)
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	subs := make([]*hub.Subscription, 0, len(wanted))
	res.Subs = make(map[string]*protocol.SubscribeResult, len(wanted))
	room := maxRecovered
	var until time.Time
	if !c.wire.oneWay {
		until = time.Now().Add(patience)
	}
	for _, q := range wanted {
		from.apply(q)
		// Resuming is the transport's promise: the client need not ask for it.
		q.Recoverable = q.Recoverable || c.wire.resume != nil
		options, server := granted[q.Channel]
		sn, err := c.join(q, origin{server: server, options: options, atConnect: true}, until)
		if err != nil {
			return nil, err
		}
		if room -= sizeOf(sn.Publications); room < 0 {
			// It stands at the top all the same, and is told of the hole.
			sn.Recovered, sn.Publications = false, nil
			c.host.opts.Metrics.Limit(observe.LimitRecovery).Inc()
		}
		if c.wire.resume != nil && sn.Recoverable {
			c.wire.resume.Move(q.Channel, sn.Position)
		}
		subs = append(subs, sn)
		res.Subs[q.Channel] = c.subscribeResult(sn)
	}
	return subs, nil
}

// maxRecovered is how many bytes of publications the answer to a connect may
// hold, over all its channels. What would not fit is not recovered, and said
// so: one small request must not cost many times its channels' limits.
const maxRecovered = 4 << 20

func sizeOf(pubs []*channel.Publication) int {
	n := 0
	for _, p := range pubs {
		n += len(p.Data)
	}
	return n
}

// position returns a request for a channel from where the client says it is.
func position(name string, r *protocol.SubscribeRequest) *protocol.SubscribeRequest {
	q := &protocol.SubscribeRequest{Channel: name}
	if r != nil {
		q.Recover, q.Epoch, q.Offset = r.Recover, r.Epoch, r.Offset
		q.Recoverable, q.Positioned, q.JoinLeave, q.Tf = r.Recoverable, r.Positioned, r.JoinLeave, r.Tf
		q.Data = r.Data
	}
	return q
}
