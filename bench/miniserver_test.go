//go:build linux

package bench_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"myelin/bench/swarm"
	"myelin/protocol"
)

// miniServer speaks just enough of the client protocol to be measured, and
// does the wrong thing when told to.
type miniServer struct {
	listener net.Listener
	conduct  conduct
	handlers sync.WaitGroup
	mu       struct {
		sync.Mutex
		channels map[string]*miniChannel
		conns    []net.Conn
		accepted int
		pongs    int
	}
}

// conduct is how the server treats its clients; the zero value is well.
type conduct struct {
	copies    func(subscriber int, offset uint64) int // of a delivery; nil is one
	swap      uint64                                  // the offset delivered after the next one
	endAt     uint64                                  // the offset instead of which everybody is disconnected
	refuse    string                                  // the command answered with an error
	forgets   bool                                    // recovery fails
	volatile  bool                                    // subscriptions are not recoverable
	pings     bool                                    // every delivery comes with a ping
	fragments bool                                    // messages come in two frames with a control frame between
	throttles bool                                    // what is refused is refused as too many requests
	misroutes bool                                    // everybody gets the first channel's publications
	foreign   bool                                    // the channel has publications of others
}

type miniChannel struct {
	history     []*protocol.Publication
	subscribers []*miniConn
	held        *protocol.Publication
}

// miniConn is one client; its writes are guarded by the server's mutex.
type miniConn struct {
	conn   net.Conn
	format protocol.Format
	number int
}

// startMini serves until the test ends and returns the endpoint.
func startMini(t testing.TB, c conduct) (server *miniServer, url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &miniServer{listener: listener, conduct: c}
	s.mu.channels = map[string]*miniChannel{}
	s.handlers.Go(s.accept)
	t.Cleanup(func() {
		_ = s.listener.Close()
		s.mu.Lock()
		for _, conn := range s.mu.conns {
			_ = conn.Close()
		}
		s.mu.Unlock()
		s.handlers.Wait()
	})
	return s, "ws://" + listener.Addr().String() + "/connection/websocket"
}

func (s *miniServer) pongs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.pongs
}

func (s *miniServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.mu.conns = append(s.mu.conns, conn)
		c := &miniConn{conn: conn, number: s.mu.accepted}
		s.mu.accepted++
		s.mu.Unlock()
		s.handlers.Go(func() { s.serve(c) })
	}
}

// serve ends with the connection, or with anything the client does wrong.
func (s *miniServer) serve(c *miniConn) {
	defer func() { _ = c.conn.Close() }()
	upgrader := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "centrifuge-protobuf" }}
	shook, err := upgrader.Upgrade(c.conn)
	if err != nil {
		return
	}
	if shook.Protocol != "" {
		c.format = protocol.Protobuf
	}
	for {
		frame, err := ws.ReadFrame(c.conn) //nolint:staticcheck // the peer is the test itself
		if err != nil || !frame.Header.Masked || frame.Header.OpCode == ws.OpClose {
			break
		}
		if frame.Header.OpCode.IsControl() {
			continue
		}
		ws.Cipher(frame.Payload, frame.Header.Mask, 0)
		if s.handle(c, frame.Payload) != nil {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, channel := range s.mu.channels {
		channel.subscribers = slices.DeleteFunc(channel.subscribers, func(other *miniConn) bool { return other == c })
	}
}

func (s *miniServer) handle(c *miniConn, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return protocol.DecodeCommands(c.format, payload, func(command *protocol.Command) error {
		r := &protocol.Reply{Id: command.Id}
		refusal := &protocol.Error{Code: 103, Message: "permission denied"}
		if s.conduct.throttles {
			refusal = &protocol.Error{Code: 111, Message: "too many requests", Temporary: true}
		}
		switch {
		case command.Connect != nil:
			r.Connect = &protocol.ConnectResult{Client: "c", Ping: 25, Pong: true}
			if s.conduct.refuse == "connect" {
				r.Connect, r.Error = nil, refusal
			}
			return s.send(c, r)
		case command.Subscribe != nil:
			r.Subscribe = s.subscribe(c, command.Subscribe)
			if s.conduct.refuse == "subscribe" {
				r.Subscribe, r.Error = nil, refusal
			}
			return s.send(c, r)
		case command.Publish != nil:
			if s.conduct.refuse == "publish" {
				r.Error = refusal
				return s.send(c, r)
			}
			r.Publish = &protocol.PublishResult{}
			return errors.Join(s.send(c, r), s.publish(command.Publish))
		case command.Id == 0:
			s.mu.pongs++
			return nil
		}
		return errors.New("unexpected command")
	})
}

func (s *miniServer) channel(name string) *miniChannel {
	if s.mu.channels[name] == nil {
		s.mu.channels[name] = &miniChannel{}
	}
	return s.mu.channels[name]
}

func (s *miniServer) subscribe(c *miniConn, request *protocol.SubscribeRequest) *protocol.SubscribeResult {
	name := request.Channel
	if s.conduct.misroutes {
		name = name[:strings.LastIndexByte(name, '.')] + ".0"
	}
	channel := s.channel(name)
	channel.subscribers = append(channel.subscribers, c)
	r := &protocol.SubscribeResult{
		Recoverable: !s.conduct.volatile, Positioned: true, Epoch: "e",
		Offset: uint64(len(channel.history)), WasRecovering: request.Recover,
	}
	if request.Recover && request.Epoch == "e" && !s.conduct.forgets {
		r.Recovered = true
		r.Publications = channel.history[request.Offset:]
	}
	return r
}

func (s *miniServer) publish(request *protocol.PublishRequest) error {
	channel := s.channel(request.Channel)
	if s.conduct.foreign && len(channel.history) == 0 {
		for i, data := range [][]byte{[]byte(`{"somebody":"else"}`), swarm.AppendPayload(nil, 64, 0, 1<<30, 0)} {
			foreign := &protocol.Publication{Data: data, Offset: uint64(i + 1)}
			channel.history = append(channel.history, foreign)
			if err := s.deliver(request.Channel, channel, foreign); err != nil {
				return err
			}
		}
	}
	p := &protocol.Publication{Data: request.Data, Offset: uint64(len(channel.history) + 1)}
	channel.history = append(channel.history, p)
	if p.Offset == s.conduct.swap {
		channel.held = p
		return nil
	}
	if err := s.deliver(request.Channel, channel, p); err != nil || channel.held == nil {
		return err
	}
	late := channel.held
	channel.held = nil
	return s.deliver(request.Channel, channel, late)
}

// deliver keeps the order of the subscribers; one that is gone is no error.
func (s *miniServer) deliver(name string, channel *miniChannel, p *protocol.Publication) error {
	for i, c := range channel.subscribers {
		if p.Offset == s.conduct.endAt {
			_ = ws.WriteFrame(c.conn, ws.NewCloseFrame(ws.NewCloseFrameBody(3012, "no reason")))
			continue
		}
		copies := 1
		if s.conduct.copies != nil {
			copies = s.conduct.copies(i, p.Offset)
		}
		for range copies {
			if s.conduct.pings {
				_ = s.send(c, &protocol.Reply{})
			}
			_ = s.send(c, &protocol.Reply{Push: &protocol.Push{Channel: name, Pub: p}})
		}
	}
	return nil
}

// send writes one message.
func (s *miniServer) send(c *miniConn, r *protocol.Reply) error {
	payload := protocol.AppendReply(nil, c.format, r)
	opcode := ws.OpText
	if c.format == protocol.Protobuf {
		opcode = ws.OpBinary
	}
	if !s.conduct.fragments {
		return ws.WriteFrame(c.conn, ws.NewFrame(opcode, true, payload))
	}
	half := len(payload) / 2
	return errors.Join(
		ws.WriteFrame(c.conn, ws.NewFrame(opcode, false, payload[:half])),
		ws.WriteFrame(c.conn, ws.NewPingFrame([]byte("still there?"))),
		writeSlowly(c.conn, ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, payload[half:]))),
	)
}

// writeSlowly makes frames arrive in pieces.
func writeSlowly(w io.Writer, b []byte) error {
	for _, piece := range [][]byte{b[:1], b[1:]} {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
