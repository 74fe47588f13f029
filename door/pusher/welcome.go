package pusher

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// arrival is what is known of a client from its request.
type arrival struct {
	address auth.Addr
	about   *hub.About
	// library and version are those of the client's, as it says.
	library, version string
}

func (d *Door) arrivalOf(r *http.Request, q url.Values) *arrival {
	return &arrival{
		address: auth.AddressOf(r), about: d.opts.Host.AboutGuest("websocket", "pusher", r),
		library: cut(q.Get("client")), version: cut(q.Get("version")),
	}
}

// cut returns as much of a text as a backend is told.
func cut(text string) string { return text[:min(len(text), maxName)] }

// enter finds out who the client is, tells it that it is connected, and makes
// the subscriptions that the backend wants for it.
func (c *client) enter(from *arrival) error {
	d := c.door
	var given map[string]auth.SubOptions
	if d.opts.Host.AsksConnect() {
		a, err := c.guest.Meet(&protocol.ConnectRequest{Name: from.library, Version: from.version})
		if err != nil {
			return err
		}
		given = c.given(a)
		if a.User != "" && name(userPrefix+a.User).check() == nil {
			u := &user{ID: a.User}
			if json.Valid(a.Info) {
				u.Info = a.Info
			}
			c.mu.Lock()
			c.mu.user = u
			c.mu.Unlock()
		}
	} else if err := c.session.Identify(&d.nobody); err != nil {
		return err
	}
	c.session.Send(system("pusher:connection_established", "", map[string]any{
		"socket_id": c.socketID, "activity_timeout": activityTimeout,
	}))
	for of, options := range given {
		if err := c.take(of, options); err != nil {
			return err
		}
	}
	c.session.Ready(d.ctx)
	return nil
}

// given returns the channels of an answer that a client of Pusher can have
// without having asked for them: it would not know who is in a presence channel.
func (c *client) given(a *auth.Admission) map[string]auth.SubOptions {
	all := make(map[string]auth.SubOptions, len(a.Channels)+len(a.Subs))
	for _, of := range a.Channels {
		all[of] = auth.SubOptions{}
	}
	maps.Copy(all, a.Subs)
	maps.DeleteFunc(all, func(of string, _ auth.SubOptions) bool {
		n, ok := c.door.spaces.name(of)
		return !ok || n.presence()
	})
	return all
}

// take subscribes to a channel that the backend gives.
func (c *client) take(of string, options auth.SubOptions) error {
	options.Override = hidden()
	sn, err := c.session.Subscribe(c.door.ctx, hub.SubscribeRequest{Channel: of, Granted: true, ServerSide: true, Options: options})
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.mu.taken == nil {
		c.mu.taken = make(map[string]struct{})
	}
	c.mu.taken[of] = struct{}{}
	c.mu.Unlock()
	var last []byte
	if n, _ := c.door.spaces.name(of); n.cache() {
		last = c.last(n, of, sn.Position)
	}
	sn.Live(last)
	return nil
}

// has reports whether a channel is one that the backend gave, and still there.
func (c *client) has(of string) bool {
	c.mu.Lock()
	_, taken := c.mu.taken[of]
	c.mu.Unlock()
	return taken && c.subscribed(of)
}

// welcome answers who asks for a channel that the backend gave.
func (c *client) welcome(n name, of string) {
	b := system("pusher_internal:subscription_succeeded", n, struct{}{})
	if n.cache() {
		b = append(b, c.last(n, of, channel.Position{Offset: channel.MaxOffset})...)
	}
	c.session.Send(b)
}

// turnAway ends a session that did not begin, with the reason.
func (c *client) turnAway(err error) {
	d := conversation.AsDisconnect(err)
	text := d.Reason
	if _, said := errors.AsType[hub.Disconnect](err); !said {
		text = channel.Public(err).Message
	}
	if channel.Public(err).Code == channel.CodeInternal && text != d.Reason {
		c.door.opts.Logger.Error("a client could not connect", observe.KeyClient, c.session.ID(), observe.KeyErr, err)
	}
	c.door.metrics.Refused.Inc()
	c.session.Send(failure(int(closeCode(d.Code)), text))
	c.session.Close(d)
}
