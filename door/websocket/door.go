package websocket

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
	"myelin/socket"
)

// The subprotocols of the public client protocol. A client that names none
// speaks JSON.
const (
	subprotocolJSON     = "centrifuge-json"
	subprotocolProtobuf = "centrifuge-protobuf"
)

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
	sockets *socket.Server
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
	m := o.Metrics.Door(name)
	return &Door{
		opts: o, metrics: m, sockets: socket.NewServer(m.BytesIn, m.BytesOut),
		json: conversation.NewWire(protocol.JSON, framing(socket.Text), o.OneWay),
		pb:   conversation.NewWire(protocol.Protobuf, framing(socket.Binary), o.OneWay),
	}
}

// framing wraps each message in one frame.
func framing(op socket.Op) conversation.Framing {
	return conversation.Framing{
		Frame: func(dst, message []byte, _ string) []byte { return socket.AppendFrame(dst, op, message) },
		Close: func(dst []byte, code uint32, reason string) []byte {
			if code == hub.DisconnectConnectionClosed.Code {
				return dst
			}
			return socket.AppendClose(dst, code, reason)
		},
	}
}

// Wait returns when every connection has gone. The hub sends them away.
func (d *Door) Wait() { d.sockets.Wait() }

// ServeHTTP upgrades one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := d.serve(w, r)
	if err == nil {
		return
	}
	d.metrics.Refused.Inc()
	d.opts.Logger.Debug("websocket refused", observe.KeyErr, err)
	if !errors.Is(err, socket.ErrGone) {
		conversation.Refuse(w, err)
	}
}

// serve returns an error while the request can still be refused.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	if !d.opts.Origins.Allow(r) {
		return channel.ErrPermissionDenied.With("this origin is not in auth.allowed_origins")
	}
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	subprotocol := choose(r.Header)
	wire := d.json
	if subprotocol == subprotocolProtobuf || q.Get("format") == "protobuf" || q.Get("cf_protocol") == "protobuf" {
		wire = d.pb
	}
	name := "uni_websocket"
	if !d.opts.OneWay {
		q, name = nil, "websocket"
	}
	at, about := auth.AddressOf(r), d.opts.Host.About(name, r, wire)
	return d.sockets.Serve(w, r, &socket.Opening{
		Subprotocol: subprotocol, Limit: d.opts.Host.Limits().MessageBytes + frameSlack, Room: d.opts.Host.Room,
		Open: func(conn socket.Conn) (socket.Dialogue, bool) { return d.open(conn, wire, q, at, about) },
	})
}

// choose returns the first subprotocol of the client's that is known, "" for
// none.
func choose(h http.Header) string {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for offer := range strings.SplitSeq(line, ",") {
			switch offer = strings.Trim(offer, " \t"); offer {
			case subprotocolJSON, subprotocolProtobuf:
				return offer
			}
		}
	}
	return ""
}

// frameSlack is what a command may hold beside its payload.
const frameSlack = 4 << 10

// open begins a conversation over conn. query is that of a one-way client.
func (d *Door) open(conn socket.Conn, wire *conversation.Wire, query url.Values, at auth.Addr, about *hub.About) (socket.Dialogue, bool) {
	conv, err := d.opts.Host.Open(conversation.Transport{Conn: conn, Wire: wire, Address: at, About: about})
	if err != nil {
		// There was room when the handshake came, and it was the last.
		_, _ = conn.WriteNow(socket.AppendClose(nil, socket.StatusTryAgainLater, channel.Public(err).Message))
		conn.Close()
		return nil, false
	}
	c := &client{Conversation: conv, door: d, oneWay: d.opts.OneWay, query: query}
	d.metrics.Opened.Inc()
	d.metrics.Connections.Add(1)
	if c.oneWay {
		if request, connects := conversation.ConnectsByQuery(query); connects {
			return c, c.Message(request)
		}
	}
	return c, true
}

// client is one conversation as its socket sees it.
type client struct {
	*conversation.Conversation
	door *Door
	// oneWay: the first message is a connect request, what follows is ignored.
	oneWay    bool
	connected bool
	query     url.Values
}

// Message handles one message and reports whether to go on.
func (c *client) Message(payload []byte) bool {
	if !c.oneWay {
		return c.Handle(payload)
	}
	if c.connected {
		return true
	}
	q := c.query
	c.connected, c.query = true, nil
	return c.ConnectFromMessage(payload, q)
}

// Ping answers one. Pings count as commands, or a client could have the server
// do nothing but answer them.
func (c *client) Ping(pong []byte) bool {
	if !c.Admit() {
		c.Close(hub.DisconnectTooManyRequests)
		return false
	}
	c.Raw(pong)
	return true
}

// Bye ends the conversation with a close frame.
func (c *client) Bye(frame []byte) { c.CloseSaying(hub.DisconnectConnectionClosed, frame) }

// Gone ends the conversation of a connection that is gone.
func (c *client) Gone() {
	c.Close(hub.DisconnectConnectionClosed)
	c.door.metrics.Connections.Add(-1)
}
