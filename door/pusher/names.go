package pusher

import (
	"strings"

	"myelin/channel"
)

// userPrefix is that of the channel by which a server speaks to one user.
const userPrefix = "#server-to-user-"

// encrypted is what stands behind private- in the name of a channel whose data
// the server cannot read. It is like any other to the server.
const encrypted = "encrypted-"

// name is a Pusher channel.
type name string

// check returns nil for a name that a channel may have.
func (n name) check() error {
	rest := strings.TrimPrefix(string(n), userPrefix)
	switch {
	case rest == "":
		return channel.ErrBadRequest.With("the name of the channel is empty")
	case len(n) > maxName:
		return channel.ErrBadRequest.With("the name of the channel has more than 200 bytes")
	case len(rest) < len(n):
		return channel.CheckName(rest) // the id of a user may be anything
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_-=@,.;", c) >= 0:
		default:
			return channel.ErrBadRequest.With("the name of a channel has letters, digits and _-=@,.; only")
		}
	}
	return nil
}

// user returns whose channel it is, "" where it is nobody's.
func (n name) user() string {
	if id, ok := strings.CutPrefix(string(n), userPrefix); ok {
		return id
	}
	return ""
}

func (n name) presence() bool { return strings.HasPrefix(string(n), "presence-") }

// private reports whether the channel needs a signature.
func (n name) private() bool {
	return strings.HasPrefix(string(n), "private-") || n.presence()
}

func (n name) encrypted() bool { return strings.HasPrefix(string(n), "private-"+encrypted) }

// cache reports whether a subscriber gets the last event to begin with.
func (n name) cache() bool {
	rest := strings.TrimPrefix(string(n), "presence-")
	if rest == string(n) {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "private-"), encrypted)
	}
	return strings.HasPrefix(rest, "cache-")
}

// spaces is the two namespaces of an application.
type spaces struct{ public, private string }

// of returns the namespace of a Pusher channel.
func (s spaces) of(n name) string {
	if n.private() || n.user() != "" {
		return s.private
	}
	return s.public
}

// channel returns the channel that a Pusher channel is.
func (s spaces) channel(n name) string { return s.of(n) + ":" + string(n) }

// name returns the Pusher channel that a channel is. ok is false for one that
// clients of Pusher do not see.
func (s spaces) name(of string) (n name, ok bool) {
	space, rest, _ := strings.Cut(of, ":")
	n = name(rest)
	if n.check() != nil || space != s.of(n) {
		return "", false
	}
	return n, true
}
