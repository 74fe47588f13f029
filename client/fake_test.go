package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"myelin/client"
	"myelin/protocol"
)

const testURL = "ws://server.test/connection/websocket"

// fake is a scripted server: each Dial of the client becomes a peer that the
// test drives.
type fake struct {
	t        *testing.T
	format   protocol.Format
	accepted chan *peer

	mu struct {
		sync.Mutex
		down  bool
		dials []time.Time
	}
}

func newFake(t *testing.T) *fake {
	t.Helper()
	return &fake{t: t, accepted: make(chan *peer, 64)}
}

func (f *fake) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.down = down
}

func (f *fake) dialTimes() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.dials
}

var errDown = errors.New("connection refused")

// dial is the client's Dial.
func (f *fake) dial(_ context.Context, _ string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.dials = append(f.mu.dials, time.Now())
	if f.mu.down {
		return nil, errDown
	}
	here, there := net.Pipe()
	p := &peer{t: f.t, f: f, conn: here, commands: make(chan *protocol.Command, 256)}
	go p.serve()
	return there, nil
}

// peer is the server's end of one connection.
type peer struct {
	t        *testing.T
	f        *fake
	conn     net.Conn
	commands chan *protocol.Command // closed when the client has gone
	closed   ws.StatusCode          // what the client said as goodbye; valid once commands is closed
}

// serve upgrades and then turns what the client sends into commands.
func (p *peer) serve() {
	defer close(p.commands)
	u := ws.Upgrader{Protocol: func(b []byte) bool { return string(b) == "centrifuge-protobuf" }}
	if _, err := u.Upgrade(p.conn); err != nil {
		return
	}
	p.f.accepted <- p
	r := bufio.NewReader(p.conn)
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return
		}
		if !h.Masked || h.Length > 1<<20 {
			p.t.Errorf("the client sent a frame with header %+v", h)
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpClose:
			p.closed, _ = ws.ParseCloseFrameData(payload)
			_, _ = io.Copy(io.Discard, r)
			return
		case ws.OpPong:
			continue
		}
		err = protocol.DecodeCommands(p.f.format, payload, func(c *protocol.Command) error {
			p.commands <- c
			return nil
		})
		if err != nil {
			p.t.Errorf("the client sent a malformed frame: %v", err)
		}
	}
}

// next returns the next command of the client.
func (p *peer) next() *protocol.Command {
	p.t.Helper()
	select {
	case c, ok := <-p.commands:
		if !ok {
			p.t.Fatal("the client closed the connection, want a command")
		}
		return c
	case <-time.After(time.Hour):
		p.t.Fatal("no command from the client for an hour")
		return nil
	}
}

// quiet fails the test if the client has sent anything that was not read.
func (p *peer) quiet() {
	p.t.Helper()
	synctest.Wait()
	select {
	case c, ok := <-p.commands:
		if ok {
			p.t.Fatalf("unexpected command %v", c)
		}
		p.t.Fatal("the client closed the connection")
	default:
	}
}

// gone waits until the client has closed the connection, and returns its code.
func (p *peer) gone() ws.StatusCode {
	p.t.Helper()
	for {
		select {
		case _, ok := <-p.commands:
			if !ok {
				_ = p.conn.Close()
				return p.closed
			}
		case <-time.After(time.Hour):
			p.t.Fatal("the client kept the connection for an hour")
		}
	}
}

func (p *peer) op() ws.OpCode {
	if p.f.format == protocol.Protobuf {
		return ws.OpBinary
	}
	return ws.OpText
}

// send sends replies in one frame.
func (p *peer) send(replies ...*protocol.Reply) {
	p.t.Helper()
	var b []byte
	for i, r := range replies {
		if i > 0 {
			b = protocol.AppendDelimiter(b, p.f.format)
		}
		b = protocol.AppendReply(b, p.f.format, r)
	}
	p.frame(p.op(), b)
}

func (p *peer) frame(op ws.OpCode, payload []byte) {
	p.t.Helper()
	if err := ws.WriteFrame(p.conn, ws.NewFrame(op, true, payload)); err != nil && p.t.Context().Err() == nil {
		p.t.Errorf("send: %v", err)
	}
}

// writeText sends one message of the peer's encoding.
func writeText(p *peer, b []byte) error {
	return ws.WriteFrame(p.conn, ws.NewFrame(p.op(), true, b))
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

func (p *peer) ping() { p.send(&protocol.Reply{}) }

// closeWith ends the connection with a code.
func (p *peer) closeWith(code ws.StatusCode, reason string) {
	p.t.Helper()
	p.frame(ws.OpClose, ws.NewCloseFrameBody(code, reason))
	p.gone()
}

// cut ends the connection without a word.
func (p *peer) cut() { _ = p.conn.Close() }

func (p *peer) fail(cmd *protocol.Command, code uint32, message string, temporary bool) {
	p.t.Helper()
	p.send(&protocol.Reply{Id: cmd.GetId(), Error: &protocol.Error{Code: code, Message: message, Temporary: temporary}})
}

// connect answers the connect command.
func (p *peer) connect(res *protocol.ConnectResult) *protocol.ConnectRequest {
	p.t.Helper()
	cmd := p.next()
	if cmd.GetConnect() == nil {
		p.t.Fatalf("first command %v, want connect", cmd)
	}
	if res.GetClient() == "" {
		res.Client = "c1"
	}
	p.send(&protocol.Reply{Id: cmd.GetId(), Connect: res})
	return cmd.GetConnect()
}

// subscribe answers a subscribe command.
func (p *peer) subscribe(res *protocol.SubscribeResult) *protocol.SubscribeRequest {
	p.t.Helper()
	cmd := p.next()
	if cmd.GetSubscribe() == nil {
		p.t.Fatalf("command %v, want subscribe", cmd)
	}
	p.send(&protocol.Reply{Id: cmd.GetId(), Subscribe: res})
	return cmd.GetSubscribe()
}

func (p *peer) publish(channel string, offset uint64, data string) {
	p.t.Helper()
	p.send(pubReply(channel, offset, data))
}

func pubReply(channel string, offset uint64, data string) *protocol.Reply {
	return &protocol.Reply{Push: &protocol.Push{Channel: channel, Pub: wirePub(offset, data)}}
}

func wirePub(offset uint64, data string) *protocol.Publication {
	return &protocol.Publication{Offset: offset, Data: protocol.Raw(data)}
}

// accept waits for the next connection of the client.
func (f *fake) accept() *peer {
	f.t.Helper()
	select {
	case p := <-f.accepted:
		return p
	case <-time.After(time.Hour):
		f.t.Fatal("no connection for an hour")
		return nil
	}
}

// journal records callbacks in the order in which they came.
type journal struct {
	mu struct {
		sync.Mutex
		lines []string
	}
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.lines = append(j.mu.lines, fmt.Sprintf(format, args...))
}

// take returns what was recorded since the last call, once nothing moves.
func (j *journal) take() []string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.mu.lines
	j.mu.lines = nil
	return lines
}

func (j *journal) handlers() client.Handlers {
	return client.Handlers{
		OnConnecting:   func(code uint32, reason string) { j.add("connecting %d %s", code, reason) },
		OnConnected:    func(i client.ConnectedInfo) { j.add("connected %s", i.Client) },
		OnDisconnected: func(d client.Disconnected) { j.add("disconnected %d %s", d.Code, d.Reason) },
		OnError:        func(err error) { j.add("error %v", err) },
		OnMessage:      func(data []byte) { j.add("message %s", data) },
	}
}

func (j *journal) sub(o client.SubOptions) client.SubOptions {
	o.OnSubscribed = func(i client.SubscribedInfo) {
		j.add("subscribed %s:%d recovered=%v/%v", i.Position.Epoch, i.Position.Offset, i.Recovered, i.WasRecovering)
	}
	o.OnPublication = func(p client.Publication) { j.add("%s %d %s", p.Channel, p.Position.Offset, p.Data) }
	o.OnJoin = func(i client.ClientInfo) { j.add("join %s", i.Client) }
	o.OnLeave = func(i client.ClientInfo) { j.add("leave %s", i.Client) }
	o.OnUnsubscribed = func(code uint32, reason string) { j.add("unsubscribed %d %s", code, reason) }
	return o
}

// start makes a client of f that is closed, and whose server ends are closed,
// at the end of the test.
func (f *fake) start(o client.Options) *client.Client {
	f.t.Helper()
	o.Dial = f.dial
	o.Protobuf = f.format == protocol.Protobuf
	c, err := client.New(testURL, o)
	if err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = c.Connect(context.Background()) }()
	f.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return c
}
