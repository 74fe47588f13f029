package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

const (
	// connectTimeout is how long one NATS server may take to let us in.
	connectTimeout = 5 * time.Second
	// ownTimeout is that of the embedded server for its own process, which only
	// a machine that has too much to do can keep waiting.
	ownTimeout = 30 * time.Second
	// reconnectWait is the pause between two attempts, and reconnectJitter what
	// is added at random, so that not all nodes come back at once.
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	// A server that does not answer is given up after so many pings.
	clientPing  = 2 * time.Second
	clientPings = 2
	// writeTimeout is how long a write to a server may take.
	writeTimeout = 5 * time.Second
	// busTimeout is how long Close waits for the listeners of the bus.
	busTimeout = 5 * time.Second
	// maxConnections is how many connections a Network has at a time.
	maxConnections = 64
)

// Network is one node's part of the network: a NATS server inside this process
// or connections to servers elsewhere.
type Network struct {
	options  Options
	embedded *embedded // nil where the servers are elsewhere
	conn     *nats.Conn
	js       jetstream.JetStream
	watch    *watch
	opened   time.Time

	closing sync.Once
	closed  atomic.Bool
	ready   atomic.Bool // it was, at some time
	mu      struct {
		sync.Mutex
		// conns are all connections, conn among them.
		conns []*nats.Conn
		bus   *Bus
	}
}

// Open starts the embedded server, or connects to those elsewhere. It returns
// when this node can talk; there may not be a quorum yet, see [Network.Ready].
func Open(ctx context.Context, o Options) (*Network, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	n := &Network{options: o, opened: time.Now()}
	if !o.external() {
		e, err := startEmbedded(&o)
		if err != nil {
			return nil, err
		}
		n.embedded = e
	}
	n.watch = newWatch(n)
	conn, err := n.Connect(ctx, o.Node)
	if err != nil {
		return nil, n.give(err)
	}
	n.conn = conn
	if n.js, err = jetstream.New(conn); err != nil {
		return nil, n.give(err)
	}
	n.watch.start()
	return n, nil
}

// give ends what Open began.
func (n *Network) give(err error) error {
	n.shut()
	return err
}

// Conn returns a connection of the node. It echoes what is published on it.
func (n *Network) Conn() *nats.Conn { return n.conn }

// JetStream returns the interface to the streams, over Conn.
func (n *Network) JetStream() jetstream.JetStream { return n.js }

// Prefix returns what all subjects of this network begin with.
func (n *Network) Prefix() string { return n.options.Prefix }

// Node returns the name of this node.
func (n *Network) Node() string { return n.options.Node }

// Connect makes another connection, so that one use of the network does not
// stand in the way of another. It reconnects for ever, does not keep what is
// published while it is down, and its troubles are those of the Network, see
// [Network.Watch]. Close closes it. More options come after those of the
// Network; handlers for troubles must not be among them.
func (n *Network) Connect(ctx context.Context, name string, more ...nats.Option) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, channel.ErrUnavailable.With("connecting was given up").Wrap(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed.Load() {
		return nil, channel.ErrUnavailable.With("the network is closed")
	}
	if len(n.mu.conns) >= maxConnections {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("the network has %d connections already", maxConnections))
	}
	options, urls := n.clientOptions(ctx, name)
	conn, err := nats.Connect(urls, append(options, more...)...)
	if err != nil {
		return nil, n.explain(err)
	}
	n.mu.conns = append(n.mu.conns, conn)
	return conn, nil
}

// clientOptions returns how this node connects, and where to.
func (n *Network) clientOptions(ctx context.Context, name string) (options []nats.Option, urls string) {
	o := &n.options
	timeout := connectTimeout
	if n.embedded != nil {
		timeout = ownTimeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	options = []nats.Option{
		nats.Name(name), nats.Timeout(timeout),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		// What was said while nobody could hear it is stale when they can.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(clientPing), nats.MaxPingsOutstanding(clientPings), nats.FlusherTimeout(writeTimeout),
		nats.IgnoreAuthErrorAbort(),
	}
	options = append(options, n.watch.handlers()...)
	if n.embedded != nil {
		c := n.embedded.user
		return append(options, nats.InProcessServer(n.embedded), nats.UserInfo(c.user, c.password)), ""
	}
	switch {
	case o.CredentialsFile != "":
		options = append(options, nats.UserCredentials(o.CredentialsFile))
	case o.Token != "":
		options = append(options, nats.Token(o.Token))
	case o.User != "":
		options = append(options, nats.UserInfo(o.User, o.Password))
	}
	if o.ExternalTLS != nil {
		options = append(options, nats.Secure(o.ExternalTLS.Clone()))
	}
	return options, strings.Join(o.URLs, ",")
}

// explain says what is wrong with a connection to servers elsewhere.
func (n *Network) explain(err error) error {
	if n.embedded != nil {
		return channel.ErrUnavailable.With("the embedded NATS server does not let its own process in").Wrap(err)
	}
	where := strings.Join(redacted(n.options.URLs), ", ")
	what := "cannot be reached; see that they run, and that their addresses are right"
	switch text := err.Error(); {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		strings.Contains(strings.ToLower(text), "authorization violation"):
		what = "refuse the credentials; give the user and password, the token or the credentials file that they know"
	case strings.Contains(text, "x509") || strings.Contains(text, "tls:"), errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		what = "and this node do not agree on TLS; see that both want it, and that this node knows the authority of their certificates"
	case strings.Contains(text, "no such file"), strings.Contains(text, "nkeys"):
		what = "need credentials, and those in the credentials file cannot be read"
	}
	return channel.ErrUnavailable.With(fmt.Sprintf("the NATS servers %s %s", where, what)).Wrap(err)
}

// redacted returns URLs without what is secret in them.
func redacted(urls []string) []string {
	var all []string
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			all = append(all, "(an address that is not a URL)")
			continue
		}
		all = append(all, u.Scheme+"://"+u.Host)
	}
	return all
}

// forget is called when a connection of this network was closed by its user.
func (n *Network) forget(conn *nats.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.conns = slices.DeleteFunc(n.mu.conns, func(c *nats.Conn) bool { return c == conn })
}

// Close ends the bus, the connections and the embedded server. It returns an error
// where ctx ends before all is done; the rest is then done later.
func (n *Network) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.shut()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return channel.ErrUnavailable.With("the network is still closing").Wrap(ctx.Err())
	}
}

// shut ends everything, once.
func (n *Network) shut() {
	n.closing.Do(func() {
		n.closed.Store(true)
		n.mu.Lock()
		bus := n.mu.bus
		n.mu.Unlock()
		if bus != nil {
			ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
			if err := bus.Close(ctx); err != nil {
				n.options.Logger.Error("the bus did not close as it should", observe.KeyErr, err)
			}
			cancel()
		}
		n.watch.stop()
		n.mu.Lock()
		conns := n.mu.conns
		n.mu.conns = nil
		n.mu.Unlock()
		for _, conn := range conns {
			conn.Close()
		}
		if n.embedded != nil {
			if err := n.embedded.stop(nil); err != nil {
				n.options.Logger.Error("the network did not close as it should", observe.KeyErr, err)
			}
		}
	})
}
