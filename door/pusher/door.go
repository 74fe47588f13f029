package pusher

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
	"myelin/socket"
)

// Options is what a Door is made of. All but Metrics, Logger and the numbers
// are required.
type Options struct {
	Hub     *hub.Hub
	Host    *conversation.Host
	Origins *auth.Origins
	// AppID, Key and Secret are the application's.
	AppID, Key, Secret string
	// Public is the namespace of public channels, Private that of those that
	// need a signature.
	Public, Private string
	// Members is how many connections a presence channel may have, 100 by
	// default.
	Members int
	// ClientEvents is how many events a client may send in a second, 10 by
	// default.
	ClientEvents int
	Metrics      *observe.Metrics
	Logger       *slog.Logger
}

// Door serves one application.
type Door struct {
	opts    Options
	creds   credentials
	spaces  spaces
	hub     *hub.Hub
	metrics *observe.Door
	sockets *socket.Server
	frames  frames
	nobody  auth.Identity
	ctx     context.Context //nolint:containedctx // what clients do ends with the door
}

// New returns a door. What its clients do ends with ctx.
func New(ctx context.Context, o Options) *Door {
	if o.Members <= 0 {
		o.Members = 100
	}
	if o.ClientEvents <= 0 {
		o.ClientEvents = 10
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := o.Metrics.Door("pusher")
	return &Door{
		opts: o, creds: credentials{o.Key, o.Secret}, spaces: spaces{o.Public, o.Private}, hub: o.Hub, metrics: m,
		sockets: socket.NewServer(m.BytesIn, m.BytesOut), nobody: auth.Identity{Anonymous: true}, ctx: ctx,
	}
}

// Wait returns when every connection has gone. The hub sends them away.
func (d *Door) Wait() { d.sockets.Wait() }

// ServeHTTP upgrades a request for /app/{key}.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := d.serve(w, r)
	if err == nil {
		return
	}
	d.metrics.Refused.Inc()
	d.opts.Logger.Debug("pusher refused", observe.KeyErr, err)
	if !errors.Is(err, socket.ErrGone) {
		conversation.Refuse(w, err)
	}
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	if !d.opts.Origins.Allow(r) {
		return channel.ErrPermissionDenied.With("this origin is not in auth.allowed_origins")
	}
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	// What is wrong with these is told by a close code, the only thing that
	// libraries understand.
	code, text := 0, ""
	version, err := strconv.Atoi(q.Get("protocol"))
	switch {
	case !auth.KeyMatch(r.PathValue("key"), d.opts.Key):
		code, text = codeNoApp, "there is no application with this key"
	case q.Get("protocol") == "":
		code, text = codeNoVersion, "no protocol version was given"
	case err != nil:
		code, text = codeBadVersion, "the protocol version is no number"
	case version < 5 || version > 7:
		code, text = codeUnsupported, "this server speaks version 7 of the protocol"
	}
	from := d.arrivalOf(r, q)
	return d.sockets.Serve(w, r, &socket.Opening{
		Limit: d.hub.Limits().MessageBytes + maxSlack, Room: d.hub.Room,
		Open: func(conn socket.Conn) (socket.Dialogue, bool) {
			if code != 0 {
				d.metrics.Refused.Inc()
				return refuse(conn, code, text)
			}
			return d.open(conn, from)
		},
	})
}

// refuse closes a connection with a code before there is a session.
func refuse(conn socket.Conn, code int, text string) (socket.Dialogue, bool) {
	_, _ = conn.WriteNow(append(failure(code, text), socket.AppendClose(nil, uint32(code), text)...))
	conn.Close()
	return nil, false
}

// open begins a session over conn.
func (d *Door) open(conn socket.Conn, from *arrival) (socket.Dialogue, bool) {
	c := newClient(d)
	s, err := d.hub.Open(hub.SessionOptions{Conn: conn, Form: c, Private: true, Pongs: true, Address: from.address, About: from.about})
	if err != nil {
		return refuse(conn, codeOverCapacity, channel.Public(err).Message)
	}
	c.session, c.guest = s, d.opts.Host.Guest(s)
	d.metrics.Opened.Inc()
	d.metrics.Connections.Add(1)
	if err := c.enter(from); err != nil {
		c.turnAway(err)
		return c, false
	}
	return c, true
}
