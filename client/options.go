package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Defaults of the zero Options.
const (
	DefaultMinBackoff       = 500 * time.Millisecond
	DefaultMaxBackoff       = 20 * time.Second
	DefaultTimeout          = 5 * time.Second
	DefaultPingSlack        = 10 * time.Second
	DefaultMaxFrame         = 4 << 20
	DefaultMaxQueue         = 1 << 20
	DefaultMaxPending       = 1024
	DefaultMaxEvents        = 1024
	DefaultMaxSubscriptions = 1024
)

// Options configure a Client. The zero value of every field is usable.
type Options struct {
	// Token authenticates the connection. Without one and without GetToken the
	// client connects anonymously.
	Token string
	// GetToken returns a fresh token: before the first connect if Token is
	// empty, before the token expires, and when the server says it has. It is
	// called outside the callback goroutine, and must return when ctx ends, which
	// is when the client does. If it returns ErrUnauthorized the client ends.
	GetToken func(ctx context.Context) (string, error)

	// Protobuf selects the binary encoding. The default is JSON, where every
	// payload must be a JSON value.
	Protobuf bool
	// Name and Version of the application, for the server's logs.
	Name, Version string
	// Data is passed to the server with the connect command.
	Data []byte
	// Header is added to the WebSocket handshake request.
	Header http.Header

	// Dial opens the network connection to addr ("host:port"). The default
	// dials TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// TLS configures wss connections.
	TLS *tls.Config

	// MinBackoff and MaxBackoff bound the random delay before a reconnect: the
	// n-th is between 0 and MinBackoff*2^n, at most MaxBackoff.
	MinBackoff, MaxBackoff time.Duration
	// Timeout bounds dialing, the handshake, and the client's own commands:
	// connect, subscribe, refresh. Commands of the application are bounded by
	// their context.
	Timeout time.Duration
	// PingSlack is how late a server's ping may be before the connection counts
	// as lost.
	PingSlack time.Duration

	// MaxFrame is the largest frame accepted from the server, in bytes.
	MaxFrame int
	// MaxQueue is how many bytes may wait to be sent.
	MaxQueue int
	// MaxPending is how many commands may be under way. Further ones wait.
	MaxPending int
	// MaxEvents is how many events may wait for a callback.
	MaxEvents int
	// MaxSubscriptions is how many subscriptions there may be, of each of the
	// two sorts: the client's own and those the server makes.
	MaxSubscriptions int

	// Handlers are called from one goroutine. Each may be nil.
	Handlers
}

// Handlers receive what happens to the connection as a whole.
type Handlers struct {
	// OnConnecting is called when the client starts to connect for the first
	// time and whenever a connection is lost, with the reason.
	OnConnecting func(code uint32, reason string)
	// OnConnected is called after every successful connect.
	OnConnected func(ConnectedInfo)
	// OnDisconnected is called once, last, when the client has ended.
	OnDisconnected func(Disconnected)
	// OnError is called for failures from which the client recovers by itself.
	OnError func(error)
	// OnMessage is called for a message that belongs to no channel.
	OnMessage func(data []byte)
	// Server receives what happens to subscriptions that the server makes.
	Server ServerHandlers
}

// ServerHandlers receive what happens to the subscriptions that the server makes
// for this client. Each may be nil.
type ServerHandlers struct {
	OnSubscribed   func(channel string, info SubscribedInfo)
	OnPublication  func(channel string, p Publication)
	OnJoin         func(channel string, info ClientInfo)
	OnLeave        func(channel string, info ClientInfo)
	OnUnsubscribed func(channel string, code uint32, reason string)
}

// ConnectedInfo describes a connection.
type ConnectedInfo struct {
	// Client is the id that the server gave this connection.
	Client string
	// Version of the server.
	Version string
	// Data that the server passed with the connect reply.
	Data []byte
}

func (o Options) withDefaults() Options {
	o.MinBackoff = cmp.Or(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = max(cmp.Or(o.MaxBackoff, DefaultMaxBackoff), o.MinBackoff)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.PingSlack = cmp.Or(o.PingSlack, DefaultPingSlack)
	o.MaxFrame = cmp.Or(o.MaxFrame, DefaultMaxFrame)
	o.MaxQueue = cmp.Or(o.MaxQueue, DefaultMaxQueue)
	o.MaxPending = cmp.Or(o.MaxPending, DefaultMaxPending)
	o.MaxEvents = cmp.Or(o.MaxEvents, DefaultMaxEvents)
	o.MaxSubscriptions = cmp.Or(o.MaxSubscriptions, DefaultMaxSubscriptions)
	return o
}

func (o Options) check(rawURL string) error {
	var errs []error
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("url: %w", err))
	case u.Scheme != "ws" && u.Scheme != "wss":
		errs = append(errs, fmt.Errorf("url %q: the scheme must be ws or wss, as in ws://127.0.0.1:8000/connection/websocket", rawURL))
	case u.Host == "":
		errs = append(errs, fmt.Errorf("url %q: the host is missing", rawURL))
	}
	if o.MinBackoff < 0 || o.MaxBackoff < 0 || o.Timeout < 0 || o.PingSlack < 0 {
		errs = append(errs, errors.New("durations must not be negative"))
	}
	if o.MaxFrame < 0 || o.MaxQueue < 0 || o.MaxPending < 0 || o.MaxEvents < 0 || o.MaxSubscriptions < 0 {
		errs = append(errs, errors.New("limits must not be negative"))
	}
	if err := checkPayload(o.Protobuf, o.Data); err != nil {
		errs = append(errs, fmt.Errorf("connect data: %w", err))
	}
	return errors.Join(errs...)
}
