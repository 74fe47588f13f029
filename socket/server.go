package socket

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"myelin/internal/gauge"
)

// lingerTimeout is how long a connection that was told to go may stay.
const lingerTimeout = 5 * time.Second

// Conn is the way out to one client. WriteNow takes what it can without
// blocking; after a short write it is not called before NotifyWritable has
// called ready. Close lets the client take what was written.
type Conn interface {
	WriteNow(p []byte) (int, error)
	NotifyWritable(ready func())
	Close()
}

// The two kinds of connection.
var (
	_ Conn = (*socket)(nil)
	_ Conn = (*stream)(nil)
)

// Dialogue is what a client says and is told. Its methods are called one at a
// time; those with an answer tell whether to go on.
type Dialogue interface {
	// Message handles one message, text or binary. The bytes are not kept.
	Message(payload []byte) bool
	// Ping sends pong, a frame, unless the client asks too often.
	Ping(pong []byte) bool
	// Bye ends the dialogue with a close frame, behind which nothing is sent:
	// the client said that it goes, or broke the protocol.
	Bye(frame []byte)
	// Gone says that the connection is no more.
	Gone()
}

// Opening is what a request brings along.
type Opening struct {
	// Subprotocol is the one that was chosen, "" for none.
	Subprotocol string
	// Limit is how many bytes a message may have.
	Limit int
	// Room, where it is set, is asked before the request is taken on.
	Room func() error
	// Open begins the dialogue. going is false where it is over already; it
	// may be nil then, and conn has been closed.
	Open func(conn Conn) (d Dialogue, going bool)
	// early is what came right behind the request.
	early []byte
}

// Counter counts bytes.
type Counter interface{ Add(n int64) }

// Server makes connections of requests.
type Server struct {
	in, out Counter
	workers *workers
	conns   sync.WaitGroup
}

// NewServer returns a server that counts what comes in and goes out.
func NewServer(in, out Counter) *Server {
	return &Server{in: in, out: out, workers: newWorkers()}
}

// Wait returns when every connection has gone. Their dialogues close them.
func (s *Server) Wait() {
	s.conns.Wait()
	s.workers.close()
}

// ErrGone says that there is nobody left to be told anything.
var ErrGone = errors.New("the client is gone")

// Serve upgrades one request. An error means that it can still be refused,
// unless it is ErrGone: a [*Refusal], or what Room returned.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, o *Opening) error {
	// Counted from here on, where the HTTP server still waits for the handler:
	// a connection that has been taken over it knows no more.
	s.conns.Add(1)
	err := s.serve(w, r, o)
	if err != nil {
		s.conns.Done()
	}
	return err
}

// serve returns an error while the request can still be refused. Otherwise
// there is a connection, which counts itself out.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, o *Opening) error {
	if r.ProtoMajor >= 2 {
		return s.serveHTTP2(w, r, o)
	}
	if err := checkHandshake(w, r); err != nil {
		return err
	}
	if err := o.room(); err != nil {
		return err
	}
	raw, early, err := upgrade(w, r, o.Subprotocol)
	if err != nil {
		return err
	}
	o.early = early
	if c, ok := newSocket(s, raw, o); ok {
		go c.serve()
		return nil
	}
	go newStream(s, netStream{raw}, gauge.Below(raw)).serve(o)
	return nil
}

func (o *Opening) room() error {
	if o.Room == nil {
		return nil
	}
	return o.Room()
}

// serveHTTP2 takes an extended CONNECT (RFC 8441). net/http offers it only to
// a process with GODEBUG=http2xconnect=1.
func (s *Server) serveHTTP2(w http.ResponseWriter, r *http.Request, o *Opening) error {
	if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
		return refused("over HTTP/2 a WebSocket is opened with an extended CONNECT (RFC 8441)")
	}
	if err := checkVersion(w, r); err != nil {
		return err
	}
	if err := o.room(); err != nil {
		return err
	}
	if o.Subprotocol != "" {
		w.Header().Set("Sec-WebSocket-Protocol", o.Subprotocol)
	}
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return ErrGone
	}
	// The server's deadlines are for requests.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	newStream(s, &http2Stream{body: r.Body, w: w, rc: rc}, gauge.Of(r.Context())).serve(o)
	return nil
}

// client is what sockets and streams have in common: one dialogue and the
// frames that come in for it.
type client struct {
	server   *Server
	dialogue Dialogue
	in       assembler
}

// open begins the dialogue over conn and reports whether it goes on.
func (c *client) open(conn Conn, o *Opening) (going bool) {
	c.in.limit = o.Limit
	c.dialogue, going = o.Open(conn)
	return going
}

// message and control make client what an assembler hands on to.
func (c *client) message(payload []byte) bool { return c.dialogue.Message(payload) }

func (c *client) control(op ws.OpCode, payload []byte) bool {
	switch op {
	case ws.OpPing:
		return c.dialogue.Ping(AppendFrame(nil, ws.OpPong, payload))
	case ws.OpClose:
		c.dialogue.Bye(answerClose(payload))
		return false
	default:
		return true
	}
}

// feed handles bytes that came in and reports whether to go on.
func (c *client) feed(b []byte) bool {
	c.server.in.Add(int64(len(b)))
	more, broken := c.in.feed(b, c)
	if broken != nil {
		c.dialogue.Bye(AppendClose(nil, uint32(broken.code), broken.reason))
		return false
	}
	return more
}

// done ends the dialogue of a connection that is gone.
func (c *client) done() {
	if c.dialogue != nil {
		c.dialogue.Gone()
	}
}
