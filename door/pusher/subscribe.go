package pusher

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/filter"
	"myelin/hub"
	"myelin/observe"
)

// subscribing is what a client sends to subscribe.
type subscribing struct {
	Channel name   `json:"channel"`
	Auth    string `json:"auth"`
	// Data says who the client is in a presence channel, and is signed.
	Data *string `json:"channel_data"`
}

// member is who a client is in a presence channel.
type member struct {
	ID   json.RawMessage `json:"user_id"`
	Info json.RawMessage `json:"user_info"`
}

// refusal returns the frame that says that there is no subscription.
func refusal(n name, kind, text string, status int) []byte {
	b, _ := json.Marshal(map[string]any{"type": kind, "error": text, "status": status}) // cannot fail
	return compose("pusher:subscription_error", n, b, "")
}

// subscribe answers with a subscription or its refusal.
func (c *client) subscribe(m *message) error {
	var r subscribing
	if err := m.into(&r); err != nil {
		return err
	}
	if err := r.Channel.check(); err != nil {
		return err
	}
	err := c.join(&r)
	if err == nil {
		return nil
	}
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		return d
	}
	kind, status := "SubscriptionError", 400
	e := channel.Public(err)
	switch {
	case e.Code == channel.CodeUnauthorized, e.Code == channel.CodePermissionDenied:
		kind, status = "AuthError", 401
	case e.Code == channel.CodeLimitExceeded:
		kind, status = "LimitReached", 4004
	case e.Code == channel.CodeInternal:
		c.door.opts.Logger.Error("a subscription failed", observe.KeyClient, c.session.ID(), observe.KeyErr, err)
		status = 500
	case e.Temporary:
		status = 503
	case conversation.OfBackend(e):
		kind, status = "AuthError", 403
	}
	c.session.Send(refusal(r.Channel, kind, e.Message, status))
	return nil
}

// join subscribes as the application's signature allows.
func (c *client) join(r *subscribing) error {
	req := hub.SubscribeRequest{
		Channel: c.door.spaces.channel(r.Channel),
		// The client cannot be told of a gap otherwise than by being sent away.
		ServerSide: true,
	}
	if c.has(req.Channel) {
		c.welcome(r.Channel, req.Channel)
		return nil
	}
	if err := c.grant(r, &req); err != nil {
		return err
	}
	sn, err := c.session.Subscribe(c.door.ctx, req)
	if err != nil {
		return err
	}
	reply, err := c.reply(r.Channel, &req, sn)
	if err != nil {
		sn.Cancel()
		return err
	}
	c.guest.Joined(req.Channel, sn)
	sn.Live(reply)
	return nil
}

// hidden is what is said of who is in a channel that is no presence channel:
// nothing.
func hidden() auth.Override {
	no := false
	return auth.Override{Presence: &no, JoinLeave: &no, ForcePushJoinLeave: &no}
}

// grant fills in what the client may have. Public channels are for whom the
// namespace's rules let in, or the backend where it is asked, which is also asked
// about a private one without a signature.
func (c *client) grant(r *subscribing, req *hub.SubscribeRequest) error {
	c.mu.Lock()
	user := c.mu.user
	c.mu.Unlock()
	if r.Data != nil {
		req.Data = []byte(*r.Data)
	}
	if id := r.Channel.user(); id != "" {
		if user == nil || user.ID != id {
			return channel.ErrPermissionDenied.With("the channel is for the user who signed in")
		}
		req.Grant = &auth.Grant{Channel: req.Channel, SubOptions: auth.SubOptions{Override: hidden()}}
		c.online(req, id)
		return nil
	}
	if !r.Channel.private() {
		return nil
	}
	ns, err := c.door.hub.Namespace(req.Channel)
	if err != nil {
		return err
	}
	if r.Auth == "" && ns.AskSubscribe && !r.Channel.presence() {
		return nil
	}
	text := c.socketID + ":" + string(r.Channel)
	if r.Data != nil {
		text += ":" + *r.Data
	}
	if !c.door.creds.grants(r.Auth, text) {
		return channel.ErrUnauthorized.With("the signature is not that of " + text[:strings.IndexByte(text, ':')] + ", this channel and its channel_data")
	}
	req.Grant = &auth.Grant{Channel: req.Channel, SubOptions: auth.SubOptions{Override: hidden()}}
	if !r.Channel.presence() {
		return nil
	}
	if !ns.Presence || !ns.JoinLeave {
		return channel.ErrNotAvailable.With("presence channels need presence and join_leave in namespace \"" + ns.Policy.Namespace + "\"")
	}
	id, info, err := who(r.Data, user)
	if err != nil {
		return err
	}
	yes, no := true, false
	req.As, req.Users = id, true
	req.Grant.SubOptions = auth.SubOptions{Info: info, Override: auth.Override{Presence: &yes, JoinLeave: &yes, ForcePushJoinLeave: &no}}
	return nil
}

// who returns who somebody is in a presence channel: by its data, or by the
// user who signed in.
func who(data *string, user *user) (id string, info json.RawMessage, err error) {
	if data == nil {
		if user == nil {
			return "", nil, channel.ErrBadRequest.With("a presence channel needs channel_data, or a user who signed in")
		}
		return user.ID, user.Info, nil
	}
	var m member
	if err := json.Unmarshal([]byte(*data), &m); err != nil {
		return "", nil, channel.ErrBadRequest.With(`channel_data is JSON with a "user_id"`)
	}
	// Libraries send numbers as they have them.
	id, isText := textOf(m.ID)
	if !isText {
		var n json.Number
		if json.Unmarshal(m.ID, &n) == nil {
			id = n.String()
		}
	}
	if id == "" || len(id) > maxName {
		return "", nil, channel.ErrBadRequest.With(`channel_data has a "user_id", a text or a number`)
	}
	return id, m.Info, nil
}

// reply returns what begins a subscription: that it is there, who else is, and
// the last event of a cache channel.
func (c *client) reply(n name, req *hub.SubscribeRequest, sn *hub.Subscription) ([]byte, error) {
	var data any = struct{}{}
	if n.presence() {
		there, err := c.door.hub.PresenceUsers(req.Channel)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(there, func(u hub.PresentUser) bool { return u.User == req.As }) {
			if len(there) >= c.door.opts.Members {
				c.door.opts.Metrics.Limit(observe.LimitPresenceMembers).Inc()
				return nil, channel.ErrLimitExceeded.With("the channel has all the members it may have (pusher.presence_members)")
			}
			there = append(there, hub.PresentUser{User: req.As, Info: &channel.ClientInfo{ChanInfo: req.Grant.Info}})
		}
		c.mu.Lock()
		if c.mu.members == nil {
			c.mu.members = make(map[string]members)
		}
		c.mu.members[req.Channel] = newMembers(there)
		c.mu.Unlock()
		data = newPresence(there)
	}
	b := system("pusher_internal:subscription_succeeded", n, data)
	if n.cache() {
		return append(b, c.last(n, req.Channel, sn.Position)...), nil
	}
	return b, nil
}

// last returns the frame of the newest event up to a position, or the word that
// there is none.
func (c *client) last(n name, of string, at channel.Position) []byte {
	if p := c.door.newest(c.door.ctx, of, at, c.session.Filter(of)); p != nil {
		return frameOf(n, p)
	}
	return compose("pusher:cache_miss", n, []byte("{}"), "")
}

// newest returns the newest event of a channel up to a position that somebody
// may have, nil where there is none or none is kept. Those of clients do not
// count.
func (d *Door) newest(ctx context.Context, of string, at channel.Position, may *filter.Filter) *channel.Publication {
	out, err := d.hub.History(ctx, hub.HistoryRequest{Channel: of, Limit: cacheScan, Reverse: true})
	if err != nil {
		return nil
	}
	for _, p := range out.Pubs {
		if p.Offset <= at.Offset && may.Match(p.Tags) && !strings.HasPrefix(eventOf(p), clientPrefix) {
			return p
		}
	}
	return nil
}
