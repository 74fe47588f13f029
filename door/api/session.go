package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/hub"
	"myelin/protocol"
)

// targetOf returns the sessions a request is about.
func targetOf(user, client, session string) (hub.Target, error) {
	if session != "" {
		return hub.Target{}, unsupported("session", "it is a secret between a client and its node; name the client by the id it got when it connected")
	}
	if user == "" && client == "" {
		return hub.Target{}, channel.ErrBadRequest.With("name a user or a client")
	}
	return hub.Target{User: user, Client: client}, nil
}

// subscribe subscribes sessions in the server's name.
func (c *call) subscribe(ctx context.Context, r *subscribeRequest) (any, error) {
	to, err := targetOf(r.User, r.Client, r.Session)
	if err != nil {
		return nil, err
	}
	ns, err := c.door.opts.Hub.Place(r.Channel)
	if err != nil {
		return nil, err
	}
	want := hub.SubscribeRequest{Channel: r.Channel}
	if want.Grant, err = grantOf(r, ns); err != nil {
		return nil, err
	}
	if since := r.RecoverSince; since != nil {
		want.Recover, want.Since = true, channel.Position{Epoch: since.Epoch, Offset: since.Offset}
	}
	_, err = c.door.opts.Hub.Subscribe(ctx, to, want)
	return &empty{}, err
}

// grantOf returns what a request says of the subscription it asks for.
func grantOf(r *subscribeRequest, ns *hub.Namespace) (*auth.Grant, error) {
	if err := checkSeconds(r.ExpireAt); err != nil {
		return nil, err
	}
	if r.ExpireAt != 0 && r.ExpireAt <= time.Now().Unix() {
		return nil, channel.ErrExpired.With("expire_at has passed")
	}
	g := &auth.Grant{Channel: r.Channel, ExpiresAt: r.ExpireAt}
	var err error
	if g.Info, err = shown("info", r.Info, r.B64Info); err != nil {
		return nil, err
	}
	if g.Data, err = shown("data", r.Data, r.B64Data); err != nil {
		return nil, err
	}
	if given(r.Filter) {
		if g.Filter, err = filter.Parse(r.Filter, filter.Limits{}); err != nil {
			return nil, channel.ErrBadRequest.With("the filter " + err.Error())
		}
	}
	if r.Override != nil {
		g.Override, err = overrideOf(r.Override, ns)
	}
	return g, err
}

// shown returns JSON that clients are shown, as it stands or in base64.
func shown(name string, raw json.RawMessage, b64 string) ([]byte, error) {
	b, err := oneOf(name, raw, b64)
	if err != nil || !given(b) {
		return nil, err
	}
	if protocol.ContentType(protocol.Protobuf, b) != channel.ContentJSON {
		return nil, channel.ErrBadRequest.With("b64" + name + " must hold JSON, as clients in JSON are shown it")
	}
	return b, nil
}

// overrideOf returns the options of a subscription that differ from those of
// its namespace. None can give what the namespace does not have.
func overrideOf(o *override, ns *hub.Namespace) (auth.Override, error) {
	var err error
	option := func(name string, f *flag, has bool, lacks string) *bool {
		if f == nil {
			return nil
		}
		if f.Value && !has && err == nil {
			err = channel.ErrNotAvailable.With("override." + name + ": " + lacks + " off in namespace \"" + ns.Policy.Namespace + "\"")
		}
		return &f.Value
	}
	history := ns.Policy.Recoverable()
	out := auth.Override{
		Presence:           option("presence", o.Presence, ns.Presence, "presence is"),
		JoinLeave:          option("join_leave", o.JoinLeave, ns.JoinLeave, "join_leave is"),
		ForcePushJoinLeave: option("force_push_join_leave", o.ForcePushJoinLeave, ns.JoinLeave, "join_leave is"),
		ForcePositioning:   option("force_positioning", o.ForcePositioning, history, "history is"),
		ForceRecovery:      option("force_recovery", o.ForceRecovery, history, "history is"),
	}
	return out, err
}

// checkSeconds returns nil for a time in Unix seconds, or none.
func checkSeconds(at int64) error {
	switch {
	case at < 0:
		return channel.ErrBadRequest.With("expire_at is negative; it is a time in Unix seconds, 0 for never")
	case at > maxUnixSeconds:
		return channel.ErrBadRequest.With("expire_at is after the year 9999; it is in seconds, not milliseconds")
	}
	return nil
}

// unsubscribe ends subscriptions of sessions, all of them where no channel is
// named.
func (c *call) unsubscribe(ctx context.Context, r *unsubscribeRequest) (any, error) {
	to, err := targetOf(r.User, r.Client, r.Session)
	if err != nil {
		return nil, err
	}
	if r.Channel != "" {
		if _, err := c.door.opts.Hub.Place(r.Channel); err != nil {
			return nil, err
		}
	}
	_, err = c.door.opts.Hub.Unsubscribe(ctx, to, r.Channel)
	return &empty{}, err
}

func (r *disconnectRequest) check() error {
	if n := len(r.Whitelist); n > MaxWhitelist {
		return channel.ErrLimitExceeded.With(fmt.Sprintf("whitelist has %d clients, it may have %d", n, MaxWhitelist))
	}
	return nil
}

// disconnect ends sessions.
func (c *call) disconnect(ctx context.Context, r *disconnectRequest) (any, error) {
	why := hub.DisconnectForceNoReconnect
	if d := r.Disconnect; d != nil {
		if d.Code < minDisconnectCode || d.Code > maxDisconnectCode {
			return nil, channel.ErrBadRequest.With(fmt.Sprintf(
				"disconnect.code is %d, it may be %d to %d: from 3000 and 4000 clients come back, from 3500 and 4500 they do not", d.Code, minDisconnectCode, maxDisconnectCode))
		}
		if len(d.Reason) > maxReason {
			return nil, channel.ErrBadRequest.With(fmt.Sprintf("disconnect.reason has %d bytes, a WebSocket close frame holds %d", len(d.Reason), maxReason))
		}
		why = hub.Disconnect{Code: d.Code, Reason: d.Reason}
	}
	to, err := targetOf(r.User, r.Client, r.Session)
	if err != nil {
		return nil, err
	}
	_, err = c.door.opts.Hub.Disconnect(ctx, to, why, r.Whitelist)
	return &empty{}, err
}

// refresh moves the end of sessions.
func (c *call) refresh(ctx context.Context, r *refreshRequest) (any, error) {
	if given(r.Info) {
		return nil, unsupported("info", "the info of a connection is that of its token; refresh it by a token")
	}
	if err := checkSeconds(r.ExpireAt); err != nil {
		return nil, err
	}
	to, err := targetOf(r.User, r.Client, r.Session)
	if err != nil {
		return nil, err
	}
	passed := r.ExpireAt != 0 && r.ExpireAt <= time.Now().Unix()
	_, err = c.door.opts.Hub.Refresh(ctx, to, r.ExpireAt, r.Expired || passed)
	return &empty{}, err
}
