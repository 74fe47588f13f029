package auth

import (
	"slices"
	"strings"

	"myelin/filter"
)

// The two ways in which a capability's channels are read.
const (
	MatchExact    = ""         // each channel is a name
	MatchWildcard = "wildcard" // each channel is a pattern, see MatchChannel
)

// Identity is who a connection is, as its token says. It is read-only once
// made.
type Identity struct {
	// User is the user id, empty for an anonymous user.
	User string
	// Anonymous says that there is no user id.
	Anonymous bool
	// ExpiresAt is the Unix second at which the connection must have been
	// refreshed, 0 for never. It comes from the claim "expire_at", else from
	// "exp" plus the leeway.
	ExpiresAt int64
	// Info is shown to other clients: the claim "info" as raw JSON, or
	// "b64info" decoded.
	Info []byte
	// Channels are subscribed to on the server side, claim "channels".
	Channels []string
	// Subs are subscribed to on the server side with options, claim "subs".
	Subs map[string]SubOptions
	// Caps are the capabilities in their order, claim "caps".
	Caps []Capability
	// Meta is raw JSON that no client ever sees, claim "meta".
	Meta []byte
	// TokenID and IssuedAt are the claims "jti" and "iat" (Unix seconds).
	TokenID  string
	IssuedAt int64
	// Limits narrow what the server allows, claim "limits". Nil for none.
	Limits *Limits
}

// Limits are what the bearer of a token may use. Zero leaves a limit to the
// server; none can be wider than the server's own.
type Limits struct {
	// CommandsPerSecond and Subscriptions are those of one connection.
	CommandsPerSecond int64 `json:"commands_per_second,omitempty"`
	Subscriptions     int   `json:"subscriptions,omitempty"`
	// PublishPerSecond, BytesPerSecond and Connections are those of all
	// connections made with the token where it has a "jti". Otherwise the
	// first two are those of one connection, the last of the user.
	PublishPerSecond int64 `json:"publish_per_second,omitempty"`
	BytesPerSecond   int64 `json:"bytes_per_second,omitempty"`
	Connections      int   `json:"connections,omitempty"`
}

// Can says whether a capability allows the verb on the channel. The first
// capability that names the channel decides, as Centrifugo documents it, so
// that a narrow one may stand before a wide one.
func (id *Identity) Can(verb Verb, channel string) bool {
	if id == nil {
		return false
	}
	for i := range id.Caps {
		if id.Caps[i].names(channel) {
			return allows(id.Caps[i].Allow, verb)
		}
	}
	return false
}

// CanByName is Can for channels of the server itself, whose names begin with
// "$": a pattern counts only where it begins so, too.
func (id *Identity) CanByName(verb Verb, channel string) bool {
	if id == nil {
		return false
	}
	for i := range id.Caps {
		c := id.Caps[i]
		c.Channels = slices.DeleteFunc(slices.Clone(c.Channels), func(name string) bool { return !strings.HasPrefix(name, "$") })
		if c.names(channel) {
			return allows(c.Allow, verb)
		}
	}
	return false
}

// names says whether the token subscribes its bearer to the channel.
func (id *Identity) names(channel string) bool {
	if id == nil {
		return false
	}
	if _, ok := id.Subs[channel]; ok {
		return true
	}
	return slices.Contains(id.Channels, channel)
}

// Capability lets its bearer use some verbs on some channels.
type Capability struct {
	// Channels are names, or patterns when Match says so.
	Channels []string `json:"channels"`
	// Allow lists the verbs: "sub", "pub", "prs", "hst".
	Allow []string `json:"allow"`
	// Match is MatchExact or MatchWildcard.
	Match string `json:"match,omitempty"`
	// Filter is what the bearer may have of the channels' publications,
	// whatever right he reads them by; nil is all.
	Filter *filter.Filter `json:"filter,omitempty"`
}

// Filter returns what the bearer may have of a channel's publications: what
// both the entry of "subs" and the first capability that names the channel let
// through. Nil is all.
func (id *Identity) Filter(channel string) *filter.Filter {
	if id == nil {
		return nil
	}
	f := id.Subs[channel].Filter
	for i := range id.Caps {
		if id.Caps[i].names(channel) {
			return filter.And(f, id.Caps[i].Filter)
		}
	}
	return f
}

// Filters reports whether there is any channel that Filter is about.
func (id *Identity) Filters() bool {
	if id == nil {
		return false
	}
	for _, o := range id.Subs {
		if o.Filter != nil {
			return true
		}
	}
	return slices.ContainsFunc(id.Caps, func(c Capability) bool { return c.Filter != nil })
}

func (c *Capability) names(channel string) bool {
	if c.Match != MatchWildcard {
		return slices.Contains(c.Channels, channel)
	}
	return slices.ContainsFunc(c.Channels, func(pattern string) bool {
		return MatchChannel(pattern, channel)
	})
}

func allows(shorts []string, verb Verb) bool {
	short := verb.Short()
	return short != "" && slices.Contains(shorts, short)
}

// SubOptions are what a token says about one subscription.
type SubOptions struct {
	// Info replaces the connection's Info in this channel: claim "info" as raw
	// JSON, or "b64info" decoded.
	Info []byte
	// Data goes to the client when it is subscribed: claim "data" as raw JSON,
	// or "b64data" decoded.
	Data []byte
	// Filter is what the client may have of the channel's publications, claim
	// "filter"; nil is all.
	Filter *filter.Filter `json:",omitempty"`
	// Override replaces options of the namespace, claim "override".
	Override
}

// Override replaces options of a namespace for one subscription. Nil leaves
// the namespace's option alone.
type Override struct {
	Presence           *bool // "presence": show this client in presence
	JoinLeave          *bool // "join_leave": tell others when it joins and leaves
	ForcePushJoinLeave *bool // "force_push_join_leave": push joins and leaves to it
	ForcePositioning   *bool // "force_positioning": watch its position in the stream
	ForceRecovery      *bool // "force_recovery": recover what it missed
}

// Grant is the right to subscribe to one channel, as a subscription token says.
type Grant struct {
	// Channel is the channel it is good for.
	Channel string
	// ExpiresAt is the Unix second at which the subscription must have been
	// refreshed, 0 for never. It comes from the claim "expire_at", where 0
	// means never, else from "exp" plus the leeway.
	ExpiresAt int64
	SubOptions
	// Allow lists verbs that the token adds on this channel, claim "allow".
	Allow []string
	// TokenID and IssuedAt are the claims "jti" and "iat" (Unix seconds).
	TokenID  string
	IssuedAt int64
}

// Allows says whether the grant allows the verb on its channel: subscribing
// always, the others when the token says so.
func (g *Grant) Allows(verb Verb) bool {
	if g == nil {
		return false
	}
	return verb == VerbSubscribe || allows(g.Allow, verb)
}
