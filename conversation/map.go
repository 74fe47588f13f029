package conversation

import (
	"time"
	"unicode/utf8"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// What a subscription is to, in SubscribeRequest.type. A result is of type
// stream or map.
const (
	typeStream     = 0
	typeMap        = 1
	typeMapClients = 2
	typeMapUsers   = 3
)

// The phases of a map subscription. A client asks for pages of the entries in
// phase state. In phase stream it asks for the changes after a position, when it
// comes back. An answer of phase live says that it is subscribed. This server
// answers the last page of entries with phase live, and all changes at once: its
// pages are of one moment and the changes since are held with them, so nothing
// is left to catch up with.
const (
	phaseLive   = 0
	phaseStream = 1
	phaseState  = 2
)

// subscribeMap answers a request of a map subscription.
func (c *Conversation) subscribeMap(id uint32, r *protocol.SubscribeRequest) error {
	req, wants, err := c.requestOf(r, origin{})
	if err != nil {
		return err
	}
	req.Recoverable = true
	switch r.Type {
	case typeMap:
	case typeMapClients, typeMapUsers:
		return c.subscribePresence(id, r, req)
	default:
		return channel.ErrNotAvailable.With("subscriptions are of type 0 (stream), 1 (map), 2 (map of clients) or 3 (map of users)")
	}
	if err := c.session.IsState(req.Channel); err != nil {
		return err
	}
	switch {
	case r.Phase == phaseState:
		return c.statePage(id, r, req, wants)
	case r.Phase != phaseStream && r.Phase != phaseLive:
		return channel.ErrBadRequest.With("the phase of a map subscription is 2 for pages of the entries or 1 for the changes after a position")
	case r.Epoch == "":
		return channel.ErrBadRequest.With("a map subscription begins with phase 2; phase 1 needs a position, epoch and offset")
	}
	req.Recover = true
	return c.enter(id, req, func(sn *hub.Subscription) error {
		if !sn.Recovered {
			sn.Cancel()
			return errUnrecovered("; read the entries anew")
		}
		c.goLive(id, r.Channel, sn, wants, nil)
		return nil
	})
}

// subscribePresence answers a request to follow who is in a channel. That is read
// anew after a reconnect, so there is one phase.
func (c *Conversation) subscribePresence(id uint32, r *protocol.SubscribeRequest, req hub.SubscribeRequest) error {
	want := hub.ClientsNamespace
	if r.Type == typeMapUsers {
		want = hub.UsersNamespace
	}
	if channel.Namespace(r.Channel) != want {
		return channel.ErrBadRequest.With("a map of this type is to " + want + ":<channel>")
	}
	req.Numeric, req.Recoverable = false, false
	return aside(c, id, func() (*hub.StatePage, error) {
		req.Until = time.Now().Add(patience)
		return c.session.SubscribePresence(c.host.ctx, req)
	}, func(page *hub.StatePage) error {
		c.goLive(id, r.Channel, page.Live, nil, page.Entries)
		return nil
	})
}

// statePage answers with a page of entries, or with the last one and the
// subscription.
func (c *Conversation) statePage(id uint32, r *protocol.SubscribeRequest, req hub.SubscribeRequest, wants *wishes) error {
	req.Recover = false
	return aside(c, id, func() (*hub.StatePage, error) {
		req.Until = time.Now().Add(patience)
		return c.session.SubscribeState(c.host.ctx, hub.StateRequest{
			Subscribe: req, Cursor: r.Cursor, Limit: int(r.Limit), Ascending: r.Asc,
		})
	}, func(page *hub.StatePage) error {
		if page.Live != nil {
			c.goLive(id, r.Channel, page.Live, wants, page.Entries)
			return nil
		}
		c.send(&protocol.Reply{Id: id, Subscribe: &protocol.SubscribeResult{
			Type: typeMap, Phase: phaseState, Cursor: page.Next, State: c.wire.entries(page.Entries),
			Epoch: page.Position.Epoch, Offset: page.Position.Offset, Recoverable: true, Positioned: true,
		}})
		return nil
	})
}

// goLive answers that a map subscription has begun.
func (c *Conversation) goLive(id uint32, name string, sn *hub.Subscription, wants *wishes, entries []*channel.Publication) {
	if sn.Asked {
		c.due.later(name, sn.ExpiresAt)
	}
	sn.Data = wants.granted(sn)
	res := c.subscribeResult(sn)
	res.Type, res.Phase, res.State = typeMap, phaseLive, c.wire.entries(entries)
	sn.Live(c.wire.reply(nil, &protocol.Reply{Id: id, Subscribe: res}))
}

// publishEntry puts or removes an entry, as a map subscription does.
func (c *Conversation) publishEntry(id uint32, r *protocol.PublishRequest) error {
	if r.Type != typeMap {
		return channel.ErrBadRequest.With("a publication with a key is of type 1")
	}
	e := hub.EntryRequest{Channel: r.Channel, Key: r.Key, Remove: r.Removed}
	if !r.Removed {
		e.Data, e.ContentType = r.Data, protocol.ContentType(c.wire.format, r.Data)
	}
	if !utf8.ValidString(r.Key) {
		return channel.ErrBadRequest.With("the key is not valid UTF-8")
	}
	if _, err := c.session.SetEntry(c.host.ctx, e); err != nil {
		return err
	}
	c.send(&protocol.Reply{Id: id, Publish: &protocol.PublishResult{}})
	return nil
}
