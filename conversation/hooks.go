package conversation

import (
	"context"
	"net/http"
	"strings"

	"myelin/auth"
	"myelin/hub"
	"myelin/protocol"
)

// Hooks ask the user's backend what only it knows. Calls come from many
// goroutines, may take their time, and are bounded in number by who makes them:
// but for subscriptions, a conversation does nothing else meanwhile; others are not
// held up. Errors are *channel.Error, which the client gets, and hub.Disconnect.
type Hooks interface {
	hub.Hooks
	// Asks reports whether there is a hook of a name: connect, refresh,
	// sub_refresh or rpc.
	Asks(name string) bool
	// Headers picks those of a request that hooks hand on.
	Headers(h http.Header) map[string][]string
	// AskConnect returns who a client without a token is.
	AskConnect(ctx context.Context, s *hub.Session, r *protocol.ConnectRequest) (*auth.Admission, error)
	// AskRefresh says whether a connection may go on, AskSubRefresh the same of
	// a subscription.
	AskRefresh(ctx context.Context, s *hub.Session) (auth.Renewal, error)
	AskSubRefresh(ctx context.Context, s *hub.Session, name string) (auth.Renewal, error)
	// AskRPC answers an rpc that Myelin does not know.
	AskRPC(ctx context.Context, s *hub.Session, method string, data []byte) ([]byte, error)
}

// The names of the hooks of conversations.
const (
	hookConnect    = "connect"
	hookRefresh    = "refresh"
	hookSubRefresh = "sub_refresh"
	hookRPC        = "rpc"
)

// About returns what hooks are shown of a transport that a request began; nil
// where there are none.
func (h *Host) About(transport string, r *http.Request, w *Wire) *hub.About {
	if w.format == protocol.Protobuf {
		return h.AboutGuest(transport, "protobuf", r)
	}
	return h.AboutGuest(transport, "json", r)
}

// meet finds out who connects: by the token, else by the hook where there is
// one.
func (c *Conversation) meet(r *protocol.ConnectRequest) (*auth.Identity, *auth.Admission, error) {
	if hooks := c.host.opts.Hooks; r.Token == "" && hooks != nil && hooks.Asks(hookConnect) {
		a, err := hooks.AskConnect(c.host.ctx, c.session, r)
		if err != nil {
			return nil, nil, err
		}
		return a.Identity, a, nil
	}
	who, err := c.identify(r.Token)
	return who, nil, err
}

// asksRPC reports whether the backend answers a method. Those of Myelin's own
// names it never does.
func (h *Host) asksRPC(method string) bool {
	return h.opts.Hooks != nil && h.opts.Hooks.Asks(hookRPC) && !strings.HasPrefix(method, "myelin.")
}

func (c *Conversation) askRPC(id uint32, r *protocol.RPCRequest) error {
	data, err := c.host.opts.Hooks.AskRPC(c.host.ctx, c.session, r.Method, r.Data)
	if err != nil {
		return err
	}
	c.send(&protocol.Reply{Id: id, Rpc: &protocol.RPCResult{Data: c.wire.payload(data)}})
	return nil
}

// renew asks whether the connection, or the subscription to a channel, may go
// on, and ends it where not.
func (r *renewal) renew(name string) {
	hooks, ctx := r.host.opts.Hooks, r.host.ctx
	if name == "" {
		who := r.session.Identity()
		again, err := hooks.AskRefresh(ctx, r.session)
		switch {
		case err != nil || again.Expired:
			r.session.Close(asEnd(err, hub.DisconnectExpired))
			return
		case again.Info == nil:
			again.Info = who.Info
		}
		renewed := *who
		renewed.ExpiresAt, renewed.Info = again.ExpiresAt, again.Info
		if r.session.Refresh(&renewed) == nil {
			r.later(name, again.ExpiresAt)
		}
		return
	}
	again, err := hooks.AskSubRefresh(ctx, r.session, name)
	if err != nil || again.Expired {
		if d, ok := err.(hub.Disconnect); ok { //nolint:errorlint // the hook returns it as it is
			r.session.Close(d)
			return
		}
		r.session.EndSubscription(name, hub.UnsubscribeExpired)
		return
	}
	if r.session.ProlongSubscription(name, again.ExpiresAt) == nil {
		r.later(name, again.ExpiresAt)
	}
}

// asEnd returns the disconnect that a hook asked for, or the one to end with.
func asEnd(err error, otherwise hub.Disconnect) hub.Disconnect {
	if d, ok := err.(hub.Disconnect); ok { //nolint:errorlint // the hook returns it as it is
		return d
	}
	return otherwise
}
