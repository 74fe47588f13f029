package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/conversation/conversationtest"
	"myelin/door/websocket"
	"myelin/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come at once. It is there
// so that a test that fails ends.
const patience = 20 * time.Second

// stage is a world behind the doors of this package, on a listener.
type stage struct {
	*conversationtest.World
	dialing func() (net.Conn, error)
	address string
	server  *http.Server
	doors   []*websocket.Door
}

// newStage returns a stage on a loopback socket.
func newStage(t testing.TB, o conversationtest.Options, origins ...string) *stage {
	t.Helper()
	l := loopback(t)
	s := newStageOn(t, l, o, origins...)
	s.address = l.Addr().String()
	s.dialing = func() (net.Conn, error) { return net.Dial("tcp", s.address) }
	return s
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// veiled hides what its connections are, so that the door cannot take the
// short way to the socket. They can do what TLS can.
type veiled struct{ net.Listener }

func (l veiled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct {
		net.Conn
		closeWriter
	}{c, c.(closeWriter)}, nil
}

type closeWriter interface{ CloseWrite() error }

// newVeiledStage is newStage for connections that are no bare sockets.
func newVeiledStage(t testing.TB, o conversationtest.Options) *stage {
	t.Helper()
	l := loopback(t)
	s := newStageOn(t, veiled{l}, o)
	s.dialing = func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	return s
}

// newVirtualStage is newVeiledStage in memory, for virtual time.
func newVirtualStage(t testing.TB, o conversationtest.Options) *stage {
	t.Helper()
	l := memnet.Listen(memnet.Options{Buffer: 4 << 10})
	s := newStageOn(t, l, o)
	s.dialing = func() (net.Conn, error) { return l.Dial(context.Background()) }
	return s
}

func newStageOn(t testing.TB, l net.Listener, o conversationtest.Options, origins ...string) *stage {
	t.Helper()
	s := &stage{}
	t.Cleanup(func() { // after the hub has closed
		for _, d := range s.doors {
			d.Wait()
		}
	})
	s.World = conversationtest.New(t, o)
	allowed, err := auth.NewOrigins(origins)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, oneWay := range map[string]bool{"/ws": false, "/uni": true} {
		d := websocket.New(websocket.Options{Host: s.Host, Origins: allowed, OneWay: oneWay, Metrics: s.Metrics})
		s.doors = append(s.doors, d)
		mux.Handle(path, d)
	}
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s.server = &http.Server{Handler: conversationtest.Hurried(mux), ReadHeaderTimeout: patience, Protocols: both}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		<-served
	})
	return s
}

// peer is the other end of a connection, without a library in between.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	// hurried: no wait takes longer than patience.
	hurried bool
}

// key is that of the handshake in RFC 6455 section 1.3, and accept its answer.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// request is a good handshake, to which a test adds lines.
func request(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n" + strings.Join(append(lines, "\r\n"), "\r\n")
}

// knock opens a TCP connection and sends a request.
func (s *stage) knock(t testing.TB, request string) (*peer, *http.Response) {
	t.Helper()
	conn, err := s.dialing()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return shake(t, conn, request)
}

func shake(t testing.TB, conn net.Conn, request string) (*peer, *http.Response) {
	t.Helper()
	p := &peer{t: t, conn: conn, in: bufio.NewReader(conn), hurried: true}
	p.send([]byte(request))
	p.hurry()
	response, err := http.ReadResponse(p.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, response
}

// dial opens a WebSocket.
func (s *stage) dial(t testing.TB, path string, lines ...string) *peer {
	t.Helper()
	p, response := s.knock(t, request(path, lines...))
	if response.StatusCode != http.StatusSwitchingProtocols {
		b, err := io.ReadAll(response.Body)
		t.Fatalf("%s: %s, %v", response.Status, b, err)
	}
	return p
}

// echo is the channel of the tests about frames: what is published there
// comes back.
const echo = "plain:echo"

// listening opens a WebSocket that is connected and hears the echo.
func (s *stage) listening(t testing.TB) *peer {
	t.Helper()
	p := s.dial(t, "/ws")
	p.join()
	return p
}

func (p *peer) join() {
	p.t.Helper()
	p.send(text(`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"` + echo + `"}}`))
	p.wants("1 connect", "2 subscribe")
}

// hurry bounds the next wait: each, not all of a test's together, which on a
// busy machine take what they take.
func (p *peer) hurry() {
	if p.hurried {
		_ = p.conn.SetDeadline(time.Now().Add(patience)) // one that is closed says so itself
	}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	p.hurry()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("Write: %v", err)
	}
}

// say is a command whose text comes back as an echo.
func say(text string) string {
	return `{"id":9,"publish":{"channel":"` + echo + `","data":"` + text + `"}}`
}

// f is a frame as a client may or may not send it.
type f struct {
	op       byte
	payload  string
	more     bool // FIN is not set
	rsv      byte // reserved bits, 1 to 7
	bare     bool // not masked
	size     int  // of the length: 0 the least, 2 or 8 bytes
	claims   uint64
	hasClaim bool // the length that is said instead of the true one
}

var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func (x f) bytes() []byte {
	first := x.op | x.rsv<<4
	if !x.more {
		first |= 0x80
	}
	second := byte(0x80)
	if x.bare {
		second = 0
	}
	n := uint64(len(x.payload))
	if x.hasClaim {
		n = x.claims
	}
	b := []byte{first}
	switch {
	case x.size == 8, x.size == 0 && n > 65535:
		b = binary.BigEndian.AppendUint64(append(b, second|127), n)
	case x.size == 2, x.size == 0 && n > 125:
		b = binary.BigEndian.AppendUint16(append(b, second|126), uint16(n))
	default:
		b = append(b, second|byte(n))
	}
	if x.bare {
		return append(b, x.payload...)
	}
	b = append(b, mask[:]...)
	for i := range len(x.payload) {
		b = append(b, x.payload[i]^mask[i%4])
	}
	return b
}

// The opcodes.
const (
	opMore, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
)

func text(s string) []byte { return f{op: opText, payload: s}.bytes() }

func ping(s string) []byte { return f{op: opPing, payload: s}.bytes() }

func closing(code uint16, reason string) []byte {
	return f{op: opClose, payload: string(binary.BigEndian.AppendUint16(nil, code)) + reason}.bytes()
}

func all(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// next waits for a frame and returns what it says in words. Replies to
// publish are left out. At the end it returns "end".
func (p *peer) next() string {
	p.t.Helper()
	for {
		p.hurry()
		frame, err := readFrame(p.in)
		switch {
		case errors.Is(err, io.EOF):
			return "end"
		case err != nil:
			return err.Error()
		case frame.Header.Masked || !frame.Header.Fin || frame.Header.Rsv != 0:
			p.t.Errorf("a server does not send such a frame: %+v", frame.Header)
		}
		if said := words(frame); said != "" {
			return said
		}
	}
}

func words(frame ws.Frame) string {
	switch payload := frame.Payload; frame.Header.OpCode {
	case ws.OpPong:
		return "pong " + string(payload)
	case ws.OpClose:
		if len(payload) == 0 {
			return "close"
		}
		return fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload))
	case ws.OpText:
		return tell(payload)
	default:
		return fmt.Sprintf("frame %+v", frame.Header)
	}
}

// tell puts a message into few words.
func tell(message []byte) string {
	var r struct {
		ID    int
		Error *struct{ Code int }
		Push  *struct {
			Pub *struct{ Data json.RawMessage }
		}
		Pub       *struct{ Data json.RawMessage }
		Connect   *struct{}
		Subscribe *struct{}
		Publish   *struct{}
		Rpc       *struct{}
	}
	if err := json.Unmarshal(message, &r); err != nil {
		return fmt.Sprintf("%q: %v", message, err)
	}
	if r.Push != nil && r.Pub == nil {
		r.Pub = r.Push.Pub
	}
	switch {
	case r.Pub != nil:
		return "echo " + strings.Trim(string(r.Pub.Data), `"`)
	case r.Error != nil:
		return fmt.Sprintf("%d error %d", r.ID, r.Error.Code)
	case r.Connect != nil:
		return strings.TrimPrefix(fmt.Sprintf("%d connect", r.ID), "0 ")
	case r.Subscribe != nil:
		return fmt.Sprintf("%d subscribe", r.ID)
	case r.Publish != nil:
		return ""
	case r.Rpc != nil:
		return fmt.Sprintf("%d rpc", r.ID)
	}
	return string(message)
}

// wantsInTurn waits for as many frames as are wanted. Pongs may overtake
// messages (RFC 6455 section 5.5), but neither each other nor a close.
func (p *peer) wantsInTurn(want []string) {
	p.t.Helper()
	turns := func(frames []string) (pongs, rest []string) {
		for _, s := range frames {
			if strings.HasPrefix(s, "pong ") {
				pongs = append(pongs, s)
			} else {
				rest = append(rest, s)
			}
		}
		return pongs, rest
	}
	var got []string
	for range want {
		if got = append(got, p.next()); strings.HasPrefix(got[len(got)-1], "end") {
			break
		}
	}
	gotPongs, gotRest := turns(got)
	wantPongs, wantRest := turns(want)
	if !slices.Equal(gotPongs, wantPongs) || !slices.Equal(gotRest, wantRest) {
		p.t.Errorf("got %.400q, want %.400q", got, want)
	}
}

func (p *peer) wants(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("got %.200q, want %.200q", got, w)
		}
	}
}

// settled waits until the hub has so many sessions.
func (s *stage) settled(t testing.TB, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for s.Hub.Connections() != want {
		if time.Now().After(deadline) {
			t.Fatalf("there are %d sessions, want %d", s.Hub.Connections(), want)
		}
		runtime.Gosched()
	}
}

// deserted waits until no channel has subscribers: a session that has ended
// leaves its channels a moment after it is counted out.
func (s *stage) deserted(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		found, err := s.Hub.Channels(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v have subscribers", found)
		}
		runtime.Gosched()
	}
}

// readFrame reads a frame with the library's code, which is not the door's.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	b := make([]byte, h.Length)
	_, err = io.ReadFull(r, b)
	return ws.Frame{Header: h, Payload: b}, err
}
