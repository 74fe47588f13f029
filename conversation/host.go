package conversation

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// maxRefusals is how many commands in a row may be refused for their rate
// before the session ends.
const maxRefusals = 100

// Options is what a Host is made of. Hub and Verifier are required.
type Options struct {
	Hub      *hub.Hub
	Verifier *auth.Verifier
	// Anonymous lets clients without a token connect.
	Anonymous bool
	// Introspect lets clients list channels with rpc("myelin.channels").
	Introspect bool
	// Methods are rpc methods of other rooms, by name.
	Methods map[string]func(context.Context, *hub.Session, []byte) (any, error)
	// Hooks ask the user's backend; nil for nobody.
	Hooks Hooks
	// Version is what clients are told.
	Version string
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Host holds what all conversations of a node share.
type Host struct {
	opts Options
	hub  *hub.Hub
	ctx  context.Context
	// nobody is the identity of every client without a token.
	nobody auth.Identity
	rpcs   map[string]func(*Conversation, []byte) (any, error)
	// renewals are what the backend is to be asked again about.
	renewals renewals
	// asides are the commands that others need not wait for.
	asides sync.WaitGroup

	mu struct {
		sync.RWMutex
		// emulated finds conversations whose commands come by other requests.
		emulated map[string]*Conversation
	}
}

// NewHost returns a host. Its operations end when ctx does. It is made before
// the bus of its hub starts, where there is one.
func NewHost(ctx context.Context, o Options) *Host {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Host{opts: o, hub: o.Hub, ctx: ctx, nobody: auth.Identity{Anonymous: true}, rpcs: rpcs()}
	for name, method := range o.Methods {
		h.rpcs[name] = func(c *Conversation, b []byte) (any, error) { return method(h.ctx, c.session, b) }
	}
	h.mu.emulated = make(map[string]*Conversation)
	if o.Hooks != nil {
		h.renewals.begin(h)
	}
	if bus := o.Hub.Options().Bus; bus != nil {
		bus.Answer(topicEmulate, h.answerEmulate)
	}
	return h
}

// Limits returns the limits in force, for doors.
func (h *Host) Limits() hub.Limits { return h.hub.Limits() }

// Room returns nil while another conversation may begin, else why not. A door
// asks before it takes on a transport, so that it can refuse in its own words.
func (h *Host) Room() error { return h.hub.Room() }

// Transport is what a door brings along for one client.
type Transport struct {
	Conn hub.Conn
	Wire *Wire
	// Emulated: commands come by requests of their own, see Host.Emulate.
	Emulated bool
	// Address is where the client is.
	Address auth.Addr
	// Resumable: each message carries a resume token (one-way wires only).
	Resumable bool
	// About is what hooks are shown of where it came from, see Host.About.
	About *hub.About
}

// Conversation is one client's dialogue.
type Conversation struct {
	host    *Host
	session *hub.Session
	wire    *Wire
	// secret is known to the client alone: who has it speaks for the session.
	// Empty where commands come by the transport itself.
	secret string

	// due is what the backend is to be asked again about.
	due renewal

	mu struct {
		sync.Mutex
		connected bool
		// over: a command ended it, and what is behind that command, or comes
		// by another request, is not looked at.
		over     bool
		refusals int
		// asides is how many commands are finished beside those behind them.
		asides int
	}
}

// Open begins a conversation. The door closes it when its transport ends.
func (h *Host) Open(t Transport) (*Conversation, error) {
	wire := t.Wire
	if t.Resumable {
		wire = wire.resumable()
	}
	s, err := h.hub.Open(hub.SessionOptions{
		Conn: t.Conn, Form: wire, Private: t.Resumable, Pongs: !wire.oneWay, Address: t.Address,
		About: t.About,
	})
	if err != nil {
		return nil, err
	}
	c := &Conversation{host: h, session: s, wire: wire, due: renewal{host: h, session: s}}
	if t.Emulated {
		c.secret = hub.NewID()
		h.mu.Lock()
		h.mu.emulated[c.secret] = c
		h.mu.Unlock()
	}
	return c, nil
}

// ID returns the client id.
func (c *Conversation) ID() string { return c.session.ID() }

// Close ends the conversation because its transport did.
func (c *Conversation) Close(why hub.Disconnect) {
	if c.secret != "" {
		c.host.mu.Lock()
		delete(c.host.mu.emulated, c.secret)
		c.host.mu.Unlock()
	}
	c.due.forget()
	c.session.Close(why)
}

// CloseSaying is Close with a goodbye of the transport's own, behind which
// nothing is sent.
func (c *Conversation) CloseSaying(why hub.Disconnect, bye []byte) {
	c.due.forget()
	c.session.CloseSaying(why, bye)
}

// Handle handles the commands of one frame. It reports whether the
// conversation goes on; when not, its session has been closed with a reason.
// frame is not kept.
func (c *Conversation) Handle(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.over {
		return false
	}
	if len(frame) == 0 {
		return c.fail(hub.DisconnectBadRequest)
	}
	err := protocol.DecodeCommands(c.wire.format, frame, c.command)
	if err == nil {
		return true
	}
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		return c.fail(d)
	}
	return c.fail(hub.DisconnectBadRequest)
}

// fail ends the conversation. The lock is held.
func (c *Conversation) fail(d hub.Disconnect) bool {
	c.host.opts.Logger.Debug("conversation ended", observe.KeyClient, c.session.ID(), observe.KeyCode, d.Code, observe.KeyReason, d.Reason)
	c.mu.over = true
	c.session.Close(d)
	return false
}

// Admit reports whether the client may make the server do one more thing now,
// such as answer a ping of the transport's.
func (c *Conversation) Admit() bool { return c.session.Admit() }

// Raw queues bytes of the transport's own, such as the answer to its ping.
func (c *Conversation) Raw(b []byte) { c.session.Send(b) }

// send queues a reply.
func (c *Conversation) send(r *protocol.Reply) { c.session.Send(c.wire.reply(nil, r)) }

// refuse answers a command with an error. Where the error is a Disconnect the
// session ends instead.
func (c *Conversation) refuse(id uint32, err error) error {
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		return d
	}
	e := protocol.FromError(err)
	if e.Code == uint32(channel.CodeInternal) {
		c.host.opts.Logger.Error("command failed", observe.KeyClient, c.session.ID(), observe.KeyErr, err)
	}
	c.host.opts.Metrics.Reply(e.Code).Inc()
	c.send(&protocol.Reply{Id: id, Error: e})
	return nil
}
