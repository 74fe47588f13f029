package pusher

import (
	"errors"
	"slices"
	"strconv"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

// A user is online while one of his connections is in the channel by which the
// server speaks to him, which libraries subscribe to when he signs in. Who
// watches him is in that channel, too, hidden, and hears of users only.

// online makes a request for a user's own channel one that those who watch him
// see.
func (c *client) online(req *hub.SubscribeRequest, id string) {
	ns, err := c.door.hub.Namespace(req.Channel)
	if err != nil || !ns.Presence || !ns.JoinLeave {
		return
	}
	yes := true
	req.As, req.Grant.Presence, req.Grant.JoinLeave = id, &yes, &yes
}

// watch tells who of a watchlist is online, and from then on who comes and goes.
func (c *client) watch(who string, list []string) error {
	if len(list) == 0 {
		return nil
	}
	if len(list) > maxWatched {
		c.door.opts.Metrics.Limit(observe.LimitWatchlist).Inc()
		return channel.ErrBadRequest.With("a watchlist has at most " + strconv.Itoa(maxWatched) + " users")
	}
	of := c.door.spaces.private + ":" + userPrefix
	ns, err := c.door.hub.Namespace(of)
	if err != nil {
		return err
	}
	if !ns.Presence || !ns.JoinLeave {
		return channel.ErrNotAvailable.With("watchlists need presence and join_leave in namespace \"" + ns.Policy.Namespace + "\"")
	}
	var there []string
	var subs []*hub.Subscription
	defer func() {
		// Who was online is told before who comes and goes.
		if len(there) > 0 {
			c.session.Send(watched("online", there...))
		}
		for _, sn := range subs {
			sn.Live(nil)
		}
	}()
	for _, id := range list {
		if id == who {
			continue // his own channel is for what he is told
		}
		if name(userPrefix+id).check() != nil {
			return channel.ErrBadRequest.With("a watchlist is of ids of users, each a text")
		}
		sn, err := c.session.Subscribe(c.door.ctx, hub.SubscribeRequest{
			Channel: of + id, Granted: true, ServerSide: true, Users: true, Options: auth.SubOptions{Override: hidden()},
		})
		if errors.Is(err, channel.ErrAlreadySubscribed) {
			continue // named before
		}
		if err != nil {
			return err
		}
		subs = append(subs, sn)
		present, err := c.door.hub.PresenceUsers(of + id)
		if err != nil {
			return err
		}
		present = slices.DeleteFunc(present, func(u hub.PresentUser) bool { return u.User != id })
		if len(present) > 0 {
			there = append(there, id)
		}
		c.mu.Lock()
		if c.mu.members == nil {
			c.mu.members = make(map[string]members)
		}
		c.mu.members[of+id] = newMembers(present)
		c.mu.Unlock()
	}
	return nil
}

// watched returns the frame of users who came or went.
func watched(what string, ids ...string) []byte {
	type event struct {
		Name string   `json:"name"`
		IDs  []string `json:"user_ids"`
	}
	return system("pusher_internal:watchlist_events", "", map[string]any{"events": []event{{what, ids}}})
}

// appendWatched appends what a watchlist tells of a user's channel: who watches
// gets none of what the server says there.
func (c *client) appendWatched(dst []byte, id string, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventUserJoin:
		if e.Info.User == id && c.membersOf(e.Channel).join(id, 1) {
			return append(dst, watched("online", id)...)
		}
	case hub.EventUserLeave:
		if e.Info.User == id && c.membersOf(e.Channel).leave(id) {
			return append(dst, watched("offline", id)...)
		}
	}
	return dst
}

// watches reports whether a user's channel is another's, whom the client only
// watches.
func (c *client) watches(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.user == nil || c.mu.user.ID != id
}
