package conversation

import (
	"net/http"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// Guest is a client that speaks another protocol, so that it has no
// conversation: what the user's backend decides about it. Its door says of the
// answers what its protocol can.
type Guest struct{ due renewal }

// Guest returns the guest that has a session.
func (h *Host) Guest(s *hub.Session) *Guest {
	return &Guest{renewal{host: h, session: s}}
}

// AsksConnect reports whether the backend says who a client without a token
// is, rather than the configuration.
func (h *Host) AsksConnect() bool {
	return h.opts.Hooks != nil && h.opts.Hooks.Asks(hookConnect)
}

// AboutGuest returns what hooks are shown of a guest whom a request brought; nil
// where there are none.
func (h *Host) AboutGuest(transport, protocol string, r *http.Request) *hub.About {
	if h.opts.Hooks == nil {
		return nil
	}
	return &hub.About{Transport: transport, Protocol: protocol, Headers: h.opts.Hooks.Headers(r.Header)}
}

// Meet asks who the guest is, and identifies its session with the answer. It is
// for where [Host.AsksConnect] says so. Errors are *channel.Error and
// hub.Disconnect; the session is then of no more use.
func (g *Guest) Meet(r *protocol.ConnectRequest) (*auth.Admission, error) {
	host, s := g.due.host, g.due.session
	a, err := host.opts.Hooks.AskConnect(host.ctx, s, r)
	if err != nil {
		return nil, err
	}
	if err := s.Identify(a.Identity); err != nil {
		return nil, err
	}
	g.due.later("", a.ExpiresAt)
	return a, nil
}

// Joined notes a subscription: where a hook granted it until some time, it asks
// again before that.
func (g *Guest) Joined(name string, sn *hub.Subscription) {
	if sn.Asked {
		g.due.later(name, sn.ExpiresAt)
	}
}

// Gone says that the guest's session has ended.
func (g *Guest) Gone() { g.due.forget() }

// OfBackend reports whether an error is the backend's own word, by its code: it
// may use 400 to 1999, of which some are Myelin's.
func OfBackend(e *channel.Error) bool {
	return e.Code >= 400 && (e.Code < channel.CodeUnavailable || e.Code >= channel.CodeUnavailable+100)
}
