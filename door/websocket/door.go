package websocket

import (
	"errors"
	"log/slog"
	"net/http"
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
			return appendClose(dst, ws.StatusCode(code), reason) //nolint:gosec // codes are below 5000
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
	if !d.opts.Origins.Allow(r) {
		d.refuse(w, channel.ErrPermissionDenied.With("this origin is not in auth.allowed_origins"))
		return
	}
	if err := d.opts.Host.Room(); err != nil {
		d.refuse(w, err)
		return
	}
	if r.ProtoMajor >= 2 {
		d.serveHTTP2(w, r)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		d.refuse(w, channel.ErrBadRequest.With("this is a WebSocket endpoint; open it with a WebSocket client"))
		return
	}
	up := ws.HTTPUpgrader{Timeout: lingerTimeout, Protocol: known}
	raw, buffered, hs, err := up.Upgrade(r, w)
	if err != nil {
		d.metrics.Refused.Inc()
		d.opts.Logger.Debug("websocket upgrade refused", observe.KeyErr, err)
		if raw != nil {
			_ = raw.Close()
		}
		return
	}
	_ = raw.SetDeadline(time.Time{})
	// Bytes that came right behind the request are in the server's buffer;
	// they are taken out and the buffer is let go.
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = buffered.Reader.Read(early)
	o := &opening{wire: d.wire(hs.Protocol, r), connect: r.URL.Query().Get(connectParam), early: early}
	d.conns.Add(1)
	if c, ok := newSocket(d, raw, o); ok {
		go c.serve()
		return
	}
	go newStream(d, netStream{raw}).serve(o)
}

// connectParam is the query parameter that may carry a connect request.
const connectParam = "cf_connect"

func known(subprotocol string) bool {
	return subprotocol == subprotocolJSON || subprotocol == subprotocolProtobuf
}

func (d *Door) wire(subprotocol string, r *http.Request) *conversation.Wire {
	if subprotocol == subprotocolProtobuf || r.URL.Query().Get("format") == "protobuf" {
		return d.pb
	}
	return d.json
}

// serveHTTP2 takes an extended CONNECT (RFC 8441). net/http offers it only to
// a process with GODEBUG=http2xconnect=1.
func (d *Door) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
		d.refuse(w, channel.ErrBadRequest.With("over HTTP/2 a WebSocket is opened with an extended CONNECT (RFC 8441)"))
		return
	}
	chosen := ""
	for _, offer := range subprotocols(r) {
		if known(offer) {
			chosen = offer
			w.Header().Set("Sec-WebSocket-Protocol", chosen)
			break
		}
	}
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		d.metrics.Refused.Inc()
		return
	}
	d.conns.Add(1)
	newStream(d, &http2Stream{body: r.Body, w: w, rc: rc}).serve(&opening{wire: d.wire(chosen, r), connect: r.URL.Query().Get(connectParam)})
}

// refuse answers a request that does not become a connection.
func (d *Door) refuse(w http.ResponseWriter, err error) {
	d.metrics.Refused.Inc()
	conversation.Refuse(w, err)
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
}

// open begins the conversation over conn.
func (c *client) open(conn hub.Conn, wire *conversation.Wire, connect string) error {
	conv, err := c.door.opts.Host.Open(conversation.Transport{Conn: conn, Wire: wire})
	if err != nil {
		return err
	}
	c.conv = conv
	c.in.limit = c.door.opts.Host.Limits().MessageBytes + frameSlack
	c.oneWay = c.door.opts.OneWay
	c.door.metrics.Opened.Inc()
	c.door.metrics.Connections.Add(1)
	if c.oneWay && connect != "" && !c.message([]byte(connect)) {
		return errRefused
	}
	return nil
}

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
	c.connected = true
	return c.conv.ConnectFromMessage(payload)
}

// control answers a control frame.
func (c *client) control(op ws.OpCode, payload []byte) bool {
	switch op {
	case ws.OpPing:
		c.conv.Raw(appendFrame(nil, ws.OpPong, payload))
		return true
	case ws.OpClose:
		c.conv.Raw(answerClose(payload))
		c.conv.Close(hub.DisconnectConnectionClosed)
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
		c.conv.Raw(appendClose(nil, broken.code, broken.reason))
		c.conv.Close(hub.DisconnectConnectionClosed)
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
	c.door.conns.Done()
}
