package pusher

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
	"myelin/socket"
)

// client is one connection: a dialogue to its socket, a form to the hub.
type client struct {
	door     *Door
	session  *hub.Session
	guest    *conversation.Guest
	socketID string

	mu struct {
		sync.Mutex
		// members is who is in the presence channels it is in, by channel.
		members map[string]members
		// taken is the channels that the backend gave when it connected.
		taken map[string]struct{}
		// user is who signed in, or whom the backend named; nil for nobody.
		user *user
		// allowance is when the next client event would be due, see admit.
		allowance time.Time
	}
}

// user is who a connection belongs to.
type user struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"user_info"`
	// Watchlist is whom the user wants to see come and go.
	Watchlist []string `json:"watchlist"`
}

func newClient(d *Door) *client {
	// Two numbers, as the signatures of all libraries expect; they are unique
	// for what they are used for, and no secret.
	return &client{door: d, socketID: strconv.FormatUint(uint64(rand.Uint32()), 10) + "." + strconv.FormatUint(rand.Uint64()>>12, 10)}
}

// Message handles one message.
func (c *client) Message(b []byte) bool {
	if !c.session.Admit() {
		c.session.Close(hub.DisconnectTooManyRequests)
		return false
	}
	m, err := parse(b)
	if err == nil {
		err = c.handle(m)
	}
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		c.session.Close(d)
		return false
	}
	if err != nil {
		c.session.Send(failure(codeOther, channel.Public(err).Message))
	}
	return true
}

func (c *client) handle(m *message) error {
	switch m.Event {
	case "pusher:ping":
		c.session.Send(compose("pusher:pong", "", []byte("{}"), ""))
		return nil
	case "pusher:pong":
		c.session.Pong()
		return nil
	case "pusher:subscribe":
		return c.subscribe(m)
	case "pusher:unsubscribe":
		return c.unsubscribe(m)
	case "pusher:signin":
		return c.signIn(m)
	}
	if strings.HasPrefix(m.Event, clientPrefix) {
		return c.trigger(m)
	}
	return channel.ErrBadRequest.With("this event is not for clients: theirs begin with " + clientPrefix)
}

// Ping answers one of the transport's.
func (c *client) Ping(pong []byte) bool {
	if !c.session.Admit() {
		c.session.Close(hub.DisconnectTooManyRequests)
		return false
	}
	c.session.Send(pong)
	return true
}

// Bye ends the session with a close frame.
func (c *client) Bye(frame []byte) { c.session.CloseSaying(hub.DisconnectConnectionClosed, frame) }

// Gone ends the session of a connection that is gone.
func (c *client) Gone() {
	c.guest.Gone()
	c.session.Close(hub.DisconnectConnectionClosed)
	c.door.metrics.Connections.Add(-1)
}

// unsubscribe ends a subscription. There is no answer.
func (c *client) unsubscribe(m *message) error {
	var r struct {
		Channel name `json:"channel"`
	}
	if err := m.into(&r); err != nil {
		return err
	}
	if err := r.Channel.check(); err != nil {
		return err
	}
	of := c.door.spaces.channel(r.Channel)
	err := c.session.Unsubscribe(of)
	c.mu.Lock()
	delete(c.mu.members, of)
	delete(c.mu.taken, of)
	c.mu.Unlock()
	return err
}

// signIn makes the connection a user's, by the word of the application.
func (c *client) signIn(m *message) error {
	var r struct {
		Auth string `json:"auth"`
		Data string `json:"user_data"`
	}
	if err := m.into(&r); err != nil {
		return err
	}
	u := new(user)
	if !c.door.creds.grants(r.Auth, c.socketID+"::user::"+r.Data) {
		return hub.Disconnect{Code: hub.DisconnectInvalidToken.Code, Reason: "the signature of the user is not the application's"}
	}
	if json.Unmarshal([]byte(r.Data), u) != nil || u.ID == "" || name(userPrefix+u.ID).check() != nil {
		return channel.ErrBadRequest.With(`user_data is JSON with an "id", a text`)
	}
	// What the backend said of the connection goes on, such as when it ends.
	who := *c.session.Identity()
	who.User, who.Anonymous = u.ID, false
	if err := c.session.SignIn(&who); err != nil {
		return err
	}
	c.mu.Lock()
	c.mu.user = u
	c.mu.Unlock()
	c.session.Send(system("pusher:signin_success", "", map[string]string{"user_data": r.Data}))
	return c.watch(u.ID, u.Watchlist)
}

// trigger publishes an event of the client's.
func (c *client) trigger(m *message) error {
	n := name(m.Channel)
	rejected := func(why string) error {
		c.session.Send(failure(codeClientRejected, why))
		return nil
	}
	switch err := n.check(); {
	case err != nil:
		return err
	case len(m.Event) > maxName:
		return rejected("the name of the event has more than 200 bytes")
	case !n.private() || n.encrypted():
		return rejected("client events are for private and presence channels, and not for encrypted ones")
	case !c.subscribed(c.door.spaces.channel(n)):
		return rejected("subscribe to the channel first")
	case !c.admit():
		c.door.opts.Metrics.Limit(observe.LimitClientEvents).Inc()
		return rejected("more than " + strconv.Itoa(c.door.opts.ClientEvents) + " client events in a second")
	}
	raw := m.Data
	if len(raw) == 0 {
		raw = json.RawMessage("null")
	}
	_, err := c.session.Publish(c.door.ctx, request(c.door.spaces.channel(n), m.Event, raw))
	if _, over := errors.AsType[hub.Disconnect](err); err != nil && !over {
		return rejected(channel.Public(err).Message)
	}
	return err
}

func (c *client) subscribed(of string) bool {
	return slices.Contains(c.session.Subscriptions(), of)
}

// admit reports whether one more client event is within the rate, a second's
// worth of which may come at once.
func (c *client) admit() bool {
	step := time.Second / time.Duration(c.door.opts.ClientEvents)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.mu.allowance
	if due.Before(now) {
		due = now
	}
	if due = due.Add(step); due.Sub(now) > time.Second {
		return false
	}
	c.mu.allowance = due
	return true
}

// AppendEvent makes the client a form of its own.
func (c *client) AppendEvent(dst []byte, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventPing:
		return append(dst, compose("pusher:ping", "", []byte("{}"), "")...)
	case hub.EventDisconnected:
		return c.goodbye(dst, e)
	}
	n, ok := c.door.spaces.name(e.Channel)
	if !ok {
		return dst
	}
	if id := n.user(); id != "" && c.watches(id) {
		return c.appendWatched(dst, id, e)
	}
	switch e.Kind {
	case hub.EventPublication:
		if c.excluded(e.Pub) {
			return dst
		}
		b := c.door.frames.of(n, e.Pub)
		if dst == nil {
			return b // which nobody changes, see hub.Form
		}
		return append(dst, b...)
	case hub.EventUserJoin:
		if c.membersOf(e.Channel).join(e.Info.User, maxMembers) {
			return append(dst, system("pusher_internal:member_added", n, map[string]any{
				"user_id": e.Info.User, "user_info": infoOf(e.Info),
			})...)
		}
	case hub.EventUserLeave:
		if c.membersOf(e.Channel).leave(e.Info.User) {
			return append(dst, system("pusher_internal:member_removed", n, map[string]any{"user_id": e.Info.User})...)
		}
	case hub.EventUnsubscribed:
		return append(dst, refusal(n, "Unsubscribed", e.Reason, int(e.Code))...)
	}
	return dst
}

// membersOf returns who is in a presence channel. Only the session's shard
// touches them once the subscription is live.
func (c *client) membersOf(of string) members {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.members[of]
}

// excluded reports whether a publication is not for this connection: it sent
// it, or the server left it out.
func (c *client) excluded(p *channel.Publication) bool {
	if p.Info != nil {
		return p.Info.Client == c.session.ID()
	}
	return p.Tags[tagExcept] == c.socketID
}

// goodbye appends the close frame for a disconnect.
func (c *client) goodbye(dst []byte, e *hub.Event) []byte {
	if e.Data != nil {
		return append(dst, e.Data...)
	}
	if e.Code == hub.DisconnectConnectionClosed.Code {
		return dst
	}
	return socket.AppendClose(dst, closeCode(e.Code), e.Reason)
}

// closeCode returns what a disconnect is to a client of Pusher. Whom the backend
// or an operator sends away with a code of their own is told what that code
// asks for: to come back, slowly, or not to.
func closeCode(code uint32) uint32 {
	switch code {
	case hub.DisconnectShutdown.Code, hub.DisconnectServerError.Code, hub.DisconnectConnectionLimit.Code, hub.DisconnectTooManyRequests.Code:
		return codeOverCapacity
	case hub.DisconnectNoPong.Code:
		return codeNoPong
	}
	switch {
	case code >= 4000 && code < 4500:
		return codeOverCapacity
	case code >= hub.DisconnectInvalidToken.Code:
		return codeUnauthorized
	}
	return codeReconnect
}
