package websocket

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// The subprotocols of the public client protocol. A client that names none
// speaks JSON.
const (
	subprotocolJSON     = "centrifuge-json"
	subprotocolProtobuf = "centrifuge-protobuf"
)

// lingerTimeout is how long a connection that was told to go may stay.
const lingerTimeout = 5 * time.Second

// Options is what a Door is made of. Host and Origins are required.
type Options struct {
	Host    *conversation.Host
	Origins *auth.Origins
	// OneWay makes it the door of clients that only listen.
	OneWay  bool
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Door upgrades requests to conversations.
type Door struct {
	opts    Options
	metrics *observe.Door
	json    *conversation.Wire
	pb      *conversation.Wire
	workers *workers
	conns   sync.WaitGroup
}

// New returns a door.
func New(o Options) *Door {
	name := "websocket"
	if o.OneWay {
		name = "uni_websocket"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{
		opts: o, metrics: o.Metrics.Door(name), workers: newWorkers(),
		json: conversation.NewWire(protocol.JSON, framing(ws.OpText), o.OneWay),
		pb:   conversation.NewWire(protocol.Protobuf, framing(ws.OpBinary), o.OneWay),
	}
}

// framing wraps each message in one frame.
func framing(op ws.OpCode) conversation.Framing {
	return conversation.Framing{
		Frame: func(dst, message []byte, _ string) []byte { return appendFrame(dst, op, message) },
		Close: func(dst []byte, code uint32, reason string) []byte {
			if code == hub.DisconnectConnectionClosed.Code {
				return dst
			}
			return appendClose(dst, ws.StatusCode(code), reason)
		},
	}
}

// Wait returns when every connection has gone. The hub sends them away.
func (d *Door) Wait() {
	d.conns.Wait()
	d.workers.close()
}

// ServeHTTP upgrades one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Counted from here on, where the server still waits for the handler: a
	// connection that has been taken over it knows no more.
	d.conns.Add(1)
	err := d.serve(w, r)
	if err == nil {
		return
	}
	d.conns.Done()
	d.metrics.Refused.Inc()
	d.opts.Logger.Debug("websocket refused", observe.KeyErr, err)
	if !errors.Is(err, errGone) {
		conversation.Refuse(w, err)
	}
}

// errGone says that there is nobody left to be told anything.
var errGone = errors.New("the client is gone")

// serve returns an error while the request can still be refused. Otherwise
// there is a connection, which counts itself out.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	if !d.opts.Origins.Allow(r) {
		return channel.ErrPermissionDenied.With("this origin is not in auth.allowed_origins")
	}
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	subprotocol := choose(r.Header)
	o := d.opening(subprotocol, q)
	if r.ProtoMajor >= 2 {
		return d.serveHTTP2(w, r, subprotocol, o)
	}
	if err := checkHandshake(w, r); err != nil {
		return err
	}
	if err := d.opts.Host.Room(); err != nil {
		return err
	}
	raw, early, err := upgrade(w, r, subprotocol)
	if err != nil {
		return err
	}
	o.early = early
	if c, ok := newSocket(d, raw, o); ok {
		go c.serve()
		return nil
	}
	go newStream(d, netStream{raw}).serve(o)
	return nil
}

// serveHTTP2 takes an extended CONNECT (RFC 8441). net/http offers it only to
// a process with GODEBUG=http2xconnect=1.
func (d *Door) serveHTTP2(w http.ResponseWriter, r *http.Request, subprotocol string, o *opening) error {
	if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
		return channel.ErrBadRequest.With("over HTTP/2 a WebSocket is opened with an extended CONNECT (RFC 8441)")
	}
	if err := checkVersion(w, r); err != nil {
		return err
	}
	if err := d.opts.Host.Room(); err != nil {
		return err
	}
	if subprotocol != "" {
		w.Header().Set("Sec-WebSocket-Protocol", subprotocol)
	}
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return errGone
	}
	// The server's deadlines are for requests.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	newStream(d, &http2Stream{body: r.Body, w: w, rc: rc}).serve(o)
	return nil
}

// opening is what a request brings along.
type opening struct {
	wire *conversation.Wire
	// query is that of a one-way client; connects says that it connects with
	// the request it brought, request.
	query    url.Values
	connects bool
	request  []byte
	// early is what came right behind the request.
	early []byte
}

func (d *Door) opening(subprotocol string, q url.Values) *opening {
	o := &opening{wire: d.json}
	if subprotocol == subprotocolProtobuf || q.Get("format") == "protobuf" || q.Get("cf_protocol") == "protobuf" {
		o.wire = d.pb
	}
	if d.opts.OneWay {
		o.query = q
		o.request, o.connects = conversation.ConnectsByQuery(q)
	}
	return o
}

// client is what sockets and streams have in common: one conversation and the
// frames that come in for it.
type client struct {
	door *Door
	conv *conversation.Conversation
	in   assembler
	// oneWay: the first message is a connect request, what follows is ignored.
	oneWay    bool
	connected bool
	query     url.Values
}

// open begins the conversation over conn.
func (c *client) open(conn hub.Conn, o *opening) error {
	conv, err := c.door.opts.Host.Open(conversation.Transport{Conn: conn, Wire: o.wire})
	if err != nil {
		// There was room when the handshake came, and it was the last.
		_, _ = conn.WriteNow(appendClose(nil, statusTryAgainLater, channel.Public(err).Message))
		conn.Close()
		return err
	}
	c.conv = conv
	c.in.limit = c.door.opts.Host.Limits().MessageBytes + frameSlack
	c.oneWay, c.query = c.door.opts.OneWay, o.query
	c.door.metrics.Opened.Inc()
	c.door.metrics.Connections.Add(1)
	if o.connects && !c.message(o.request) {
		return errRefused
	}
	return nil
}

// statusTryAgainLater is in the registry of RFC 6455 section 11.7.
const statusTryAgainLater ws.StatusCode = 1013

// errRefused says that the conversation has been closed with a reason.
var errRefused = errors.New("connect refused")

// frameSlack is what a command may hold beside its payload.
const frameSlack = 4 << 10

// message handles one message and reports whether to go on.
func (c *client) message(payload []byte) bool {
	if !c.oneWay {
		return c.conv.Handle(payload)
	}
	if c.connected {
		return true
	}
	q := c.query
	c.connected, c.query = true, nil
	return c.conv.ConnectFromMessage(payload, q)
}

// control answers a control frame. Pings count as commands, or a client could
// have the server do nothing but answer them.
func (c *client) control(op ws.OpCode, payload []byte) bool {
	switch op {
	case ws.OpPing:
		if !c.conv.Admit() {
			c.conv.Close(hub.DisconnectTooManyRequests)
			return false
		}
		c.conv.Raw(appendFrame(nil, ws.OpPong, payload))
		return true
	case ws.OpClose:
		c.conv.CloseSaying(hub.DisconnectConnectionClosed, answerClose(payload))
		return false
	default:
		return true
	}
}

// feed handles bytes that came in and reports whether to go on.
func (c *client) feed(b []byte) bool {
	c.door.metrics.BytesIn.Add(int64(len(b)))
	more, broken := c.in.feed(b, c)
	if broken != nil {
		c.conv.CloseSaying(hub.DisconnectConnectionClosed, appendClose(nil, broken.code, broken.reason))
		return false
	}
	return more
}

// done ends the conversation of a connection that is gone.
func (c *client) done() {
	if c.conv != nil {
		c.conv.Close(hub.DisconnectConnectionClosed)
		c.door.metrics.Connections.Add(-1)
	}
}
