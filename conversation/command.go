package conversation

import (
	"context"
	"errors"
	"slices"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// command handles one command. An error ends the session.
func (c *Conversation) command(cmd *protocol.Command) error {
	method := methodOf(cmd)
	if cmd.Id == 0 && method != methodSend {
		if method != "" || !c.session.Pong() {
			return hub.DisconnectBadRequest
		}
		return nil
	}
	if method == "" || c.mu.connected == (method == methodConnect) {
		return hub.DisconnectBadRequest
	}
	c.host.opts.Metrics.Command(method).Inc()
	if c.session.Tailed() {
		c.session.Heard(describe(method, cmd), cmd.SizeCF())
	}
	if !c.session.Admit() {
		return c.tooMany(cmd.Id)
	}
	c.mu.refusals = 0
	err := c.dispatch(method, cmd)
	if err == nil || cmd.Id == 0 {
		return err
	}
	return c.refuse(cmd.Id, err)
}

func (c *Conversation) tooMany(id uint32) error {
	if c.mu.refusals++; c.mu.refusals > maxRefusals || id == 0 {
		return hub.DisconnectTooManyRequests
	}
	return c.refuse(id, channel.ErrTooManyRequests.With("slow down and try again"))
}

// The requests with rules of their own.
const (
	methodConnect = "connect"
	methodSend    = "send"
)

// methodOf returns the name of the request a command carries, "" for none. One
// request of a command is handled; which, when there are several, is decided
// here and nowhere else: by the order of the public protocol, in which connect
// is first, so that no other request can pass for it.
func methodOf(cmd *protocol.Command) string {
	switch {
	case cmd.Connect != nil:
		return methodConnect
	case cmd.Subscribe != nil:
		return "subscribe"
	case cmd.Unsubscribe != nil:
		return "unsubscribe"
	case cmd.Publish != nil:
		return "publish"
	case cmd.Presence != nil:
		return "presence"
	case cmd.PresenceStats != nil:
		return "presence_stats"
	case cmd.History != nil:
		return "history"
	case cmd.Rpc != nil:
		return "rpc"
	case cmd.Send != nil:
		return methodSend
	case cmd.Refresh != nil:
		return "refresh"
	case cmd.SubRefresh != nil:
		return "sub_refresh"
	}
	return ""
}

func (c *Conversation) dispatch(method string, cmd *protocol.Command) error {
	switch method {
	case methodConnect:
		return c.connect(cmd.Id, cmd.Connect)
	case "subscribe":
		return c.subscribe(cmd.Id, cmd.Subscribe)
	case "unsubscribe":
		return c.unsubscribe(cmd.Id, cmd.Unsubscribe)
	case "publish":
		return c.publish(cmd.Id, cmd.Publish)
	case "presence":
		return c.presence(cmd.Id, cmd.Presence)
	case "presence_stats":
		return c.presenceStats(cmd.Id, cmd.PresenceStats)
	case "history":
		return c.history(cmd.Id, cmd.History)
	case "rpc":
		return c.rpc(cmd.Id, cmd.Rpc)
	case "refresh":
		return c.refresh(cmd.Id, cmd.Refresh)
	case "sub_refresh":
		return c.subRefresh(cmd.Id, cmd.SubRefresh)
	default:
		// send: there is no application behind this server to take it.
		return hub.DisconnectNotAvailable
	}
}

func (c *Conversation) publish(id uint32, r *protocol.PublishRequest) error {
	if r.Type != 0 || r.Key != "" || r.Removed {
		return c.publishEntry(id, r)
	}
	_, err := c.session.Publish(c.host.ctx, &channel.PublishRequest{
		Channel: r.Channel, Data: r.Data, ContentType: protocol.ContentType(c.wire.format, r.Data),
	})
	if err != nil {
		return err
	}
	c.send(&protocol.Reply{Id: id, Publish: &protocol.PublishResult{}})
	return nil
}

func (c *Conversation) subscribe(id uint32, r *protocol.SubscribeRequest) error {
	if r.Type != typeStream {
		return c.subscribeMap(id, r)
	}
	req, wants, err := c.requestOf(r, origin{})
	if err != nil {
		return err
	}
	return c.enter(id, req, func(sn *hub.Subscription) error {
		if err := c.joined(r, sn, wants); err != nil {
			return err
		}
		sn.Live(c.wire.reply(nil, &protocol.Reply{Id: id, Subscribe: c.subscribeResult(sn)}))
		return nil
	})
}

// rejectUnrecovered is the bit of SubscribeRequest.flag by which a client
// wants an error rather than a subscription with a hole.
const rejectUnrecovered = 1 << 1

// origin is who wanted a subscription.
type origin struct {
	// server: the connection token did, with these options.
	server  bool
	options auth.SubOptions
	// atConnect: it was made with the connection, so the client has no way to
	// ask for it again on its own.
	atConnect bool
}

// join subscribes as a request says, until then. The caller sends the result and
// makes the subscription live.
func (c *Conversation) join(r *protocol.SubscribeRequest, by origin, until time.Time) (*hub.Subscription, error) {
	req, wants, err := c.requestOf(r, by)
	if err != nil {
		return nil, err
	}
	req.Until = until
	sn, err := c.session.Subscribe(c.host.ctx, req)
	if err != nil {
		return nil, err
	}
	return sn, c.joined(r, sn, wants)
}

// joined completes a subscription that was made as r says, or gives it up.
func (c *Conversation) joined(r *protocol.SubscribeRequest, sn *hub.Subscription, wants *wishes) error {
	if sn.Asked {
		c.due.later(r.Channel, sn.ExpiresAt)
	}
	if r.Flag&rejectUnrecovered != 0 && sn.WasRecovering && !sn.Recovered {
		sn.Cancel()
		return errUnrecovered("")
	}
	sn.Data = wants.granted(sn)
	return nil
}

// requestOf returns what a request asks the hub for, which may outlive the frame.
func (c *Conversation) requestOf(r *protocol.SubscribeRequest, by origin) (req hub.SubscribeRequest, wants *wishes, err error) {
	req = hub.SubscribeRequest{
		Channel: r.Channel, Data: slices.Clone(r.Data), Granted: by.server, ServerSide: by.atConnect, Options: by.options, Recover: r.Recover,
		Since:       channel.Position{Epoch: r.Epoch, Offset: r.Offset},
		Recoverable: r.Recoverable || r.Positioned, JoinLeave: r.JoinLeave,
	}
	if wants, err = wishesOf(r.Data); err != nil {
		return req, wants, err
	}
	wants.apply(&req)
	if err := c.selects(r, &req); err != nil {
		return req, wants, err
	}
	if r.Token != "" && !by.server {
		grant, err := c.host.opts.Verifier.Subscription(r.Token, c.session.Identity().User, c.session.ID(), r.Channel)
		if err != nil {
			return req, wants, subscriptionTokenError(err)
		}
		req.Grant = grant
	}
	return req, wants, nil
}

func (c *Conversation) subscribeResult(sn *hub.Subscription) *protocol.SubscribeResult {
	expires, ttl := lifetime(sn.ExpiresAt, time.Now().Unix())
	if sn.Asked {
		expires, ttl = false, 0 // the server asks again, not the client
	}
	r := &protocol.SubscribeResult{
		Expires: expires, Ttl: ttl, Recoverable: sn.Recoverable, Positioned: sn.Recoverable,
		WasRecovering: sn.WasRecovering, Recovered: sn.Recovered,
		Publications: c.wire.backlog(sn), Data: c.wire.payload(sn.Data),
		Delta: sn.Delta, Id: sn.ID,
	}
	if sn.Recoverable {
		r.Epoch, r.Offset = sn.Position.Epoch, sn.Position.Offset
	}
	return r
}

func (c *Conversation) unsubscribe(id uint32, r *protocol.UnsubscribeRequest) error {
	if err := channel.CheckName(r.Channel); err != nil {
		return err
	}
	reply := &protocol.Reply{Id: id, Unsubscribe: &protocol.UnsubscribeResult{}}
	c.session.UnsubscribeSaying(r.Channel, c.wire.reply(nil, reply))
	return nil
}

func (c *Conversation) presence(id uint32, r *protocol.PresenceRequest) error {
	members, err := c.session.Presence(r.Channel)
	if err != nil {
		return err
	}
	out := make(map[string]*protocol.ClientInfo, len(members))
	for _, m := range members {
		out[m.Client] = c.wire.info(m)
	}
	c.send(&protocol.Reply{Id: id, Presence: &protocol.PresenceResult{Presence: out}})
	return nil
}

func (c *Conversation) presenceStats(id uint32, r *protocol.PresenceStatsRequest) error {
	st, err := c.session.PresenceStats(r.Channel)
	if err != nil {
		return err
	}
	c.send(&protocol.Reply{Id: id, PresenceStats: &protocol.PresenceStatsResult{
		NumClients: uint32(st.Clients), NumUsers: uint32(st.Users),
	}})
	return nil
}

func (c *Conversation) history(id uint32, r *protocol.HistoryRequest) error {
	req := hub.HistoryRequest{Channel: r.Channel, Limit: int(r.Limit), Reverse: r.Reverse}
	if r.Since != nil {
		req.Since = &channel.Position{Epoch: r.Since.Epoch, Offset: r.Since.Offset}
	}
	return aside(c, id, func() (channel.ReadResult, error) {
		ctx, cancel := context.WithTimeout(c.host.ctx, patience)
		defer cancel()
		return c.session.History(ctx, req)
	}, func(res channel.ReadResult) error {
		c.send(&protocol.Reply{Id: id, History: &protocol.HistoryResult{
			Publications: c.wire.publications(res.Pubs), Epoch: res.Top.Epoch, Offset: res.Top.Offset,
		}})
		return nil
	})
}

// refresh renews the connection's identity. Without a token there is none: a
// client that has one may not shed its end by becoming anonymous. Whose token
// is expired is asked to come back with another, because clients take an error
// in answer to a refresh as final.
func (c *Conversation) refresh(id uint32, r *protocol.RefreshRequest) error {
	if r.Token == "" {
		return hub.DisconnectBadRequest
	}
	who, err := c.identify(r.Token)
	if errors.Is(err, channel.ErrTokenExpired) {
		return hub.DisconnectExpired
	}
	if err != nil {
		return err
	}
	if err := c.session.Refresh(who); err != nil {
		return err
	}
	expires, ttl := lifetime(who.ExpiresAt, time.Now().Unix())
	c.send(&protocol.Reply{Id: id, Refresh: &protocol.RefreshResult{Expires: expires, Ttl: ttl}})
	return nil
}

// subRefresh renews a subscription's grant, in the ways of refresh.
func (c *Conversation) subRefresh(id uint32, r *protocol.SubRefreshRequest) error {
	switch {
	case r.Type != 0:
		return channel.ErrNotAvailable.With("only subscriptions of type 0 are supported")
	case r.Token == "":
		return channel.ErrBadRequest.With("sub_refresh needs a subscription token")
	}
	grant, err := c.host.opts.Verifier.Subscription(r.Token, c.session.Identity().User, c.session.ID(), r.Channel)
	if errors.Is(err, auth.ErrTokenExpired) {
		return hub.DisconnectSubExpired
	}
	if err != nil {
		return subscriptionTokenError(err)
	}
	if err := c.session.RefreshSubscription(grant); err != nil {
		return err
	}
	expires, ttl := lifetime(grant.ExpiresAt, time.Now().Unix())
	c.send(&protocol.Reply{Id: id, SubRefresh: &protocol.SubRefreshResult{Expires: expires, Ttl: ttl}})
	return nil
}

// identify checks a connection token.
func (c *Conversation) identify(token string) (*auth.Identity, error) {
	if token == "" {
		if c.host.opts.Anonymous {
			return &c.host.nobody, nil
		}
		return nil, channel.ErrUnauthorized.With("this server wants a connection token")
	}
	who, err := c.host.opts.Verifier.Connection(token)
	if err != nil {
		return nil, connectionTokenError(err)
	}
	return who, nil
}
