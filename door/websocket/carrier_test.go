package websocket_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/conversation/conversationtest"
)

// newTLSStage returns a stage behind TLS.
func newTLSStage(t *testing.T, o conversationtest.Options) *stage {
	t.Helper()
	cert, pool := conversationtest.Certificate(t)
	l := loopback(t)
	s := newStageOn(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}), o)
	s.dialing = func() (net.Conn, error) {
		return tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "mem"})
	}
	return s
}

func TestTLS(t *testing.T) {
	s := newTLSStage(t, conversationtest.Options{Quiet: true})
	p := s.listening(t)
	long := strings.Repeat("é", 30_000)
	p.send(all(text(say("x")), ping("y"), text(say(long))))
	p.wantsInTurn([]string{"echo x", "pong y", "echo " + long})
	p.send(closing(1000, ""))
	p.wants("close 1000", "end")

	// What comes with the request, what is dropped without a word.
	commands := `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"` + echo + `"}}`
	p, _ = s.knock(t, end(request("/ws"))+string(text(commands)))
	p.wants("1 connect", "2 subscribe")
	_ = p.conn.(*tls.Conn).NetConn().Close()
	p = s.listening(t)
	_ = p.conn.(*tls.Conn).CloseWrite()
	p.wants("end")
	s.settled(t, 0)
}

func TestSlowReaderOverTLS(t *testing.T) {
	s := newTLSStage(t, conversationtest.Options{Quiet: true})
	slow := s.listening(t)
	data := strings.Repeat("x", 8000)
	sent := 0
	for s.Hub.Connections() == 1 {
		if sent++; sent > 10_000 {
			t.Fatal("80 MB have been taken for a client that does not read")
		}
		s.Publish(t, echo, data)
	}
	for seen := 0; ; seen++ {
		got := slow.next()
		if got == "echo "+data {
			continue
		}
		if got != "close 3008" || seen == 0 || seen > sent {
			t.Errorf("after %d publications of %d: %.100q", seen, sent, got)
		}
		break
	}
	slow.wants("end")
}

// env says that this process is the one with extended CONNECT.
const env = "MYELIN_TEST_EXTENDED_CONNECT"

// net/http decides when it starts whether it offers extended CONNECT: these
// tests have a process of their own.
func TestExtendedConnect(t *testing.T) {
	if os.Getenv(env) != "" {
		t.Skip("this is that process")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInside", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1", "GODEBUG=http2xconnect=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

// inside skips what needs extended CONNECT in a process that has none.
func inside(t *testing.T, test func(t *testing.T, s *tunnels)) {
	t.Helper()
	if os.Getenv(env) == "" {
		t.Skip("see TestExtendedConnect")
	}
	synctest.Test(t, func(t *testing.T) {
		s := newVirtualStage(t, conversationtest.Options{Quiet: true})
		conn, err := s.dialing()
		if err != nil {
			t.Fatal(err)
		}
		test(t, &tunnels{s, newH2Conn(t, conn)})
	})
}

// tunnels are WebSockets in one connection of HTTP/2.
type tunnels struct {
	*stage
	conn *h2Conn
}

// connect asks for a WebSocket.
func (s *tunnels) connect(t *testing.T, path string, fields ...string) (*peer, *h2Stream) {
	t.Helper()
	u := s.conn.open(t, append([]string{
		":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", path, ":authority", "mem",
	}, fields...)...)
	return &peer{t: t, conn: u, in: bufio.NewReader(u)}, u
}

// tunnel opens a WebSocket.
func (s *tunnels) tunnel(t *testing.T, path string) *peer {
	t.Helper()
	p, u := s.connect(t, path, "sec-websocket-version", "13", "sec-websocket-protocol", "x, centrifuge-json")
	if u.status != status200 {
		b, err := io.ReadAll(u)
		t.Fatalf("refused: %q, %v", b, err)
	}
	return p
}

// status200 is how a header block begins that says so (RFC 7541 appendix A).
const status200 = 0x88

func TestInsideEcho(t *testing.T) {
	inside(t, func(t *testing.T, s *tunnels) {
		var peers []*peer
		for range 3 { // several in one connection
			p := s.tunnel(t, "/ws")
			p.join()
			peers = append(peers, p)
		}
		long := strings.Repeat("é", 10_000)
		peers[0].send(all(text(say("x")), text(say(long))))
		for _, p := range peers {
			p.wants("echo x", "echo "+long)
		}
		peers[0].send(closing(1000, ""))
		peers[0].wants("close 1000")
		_ = peers[0].conn.(*h2Stream).CloseWrite()
		peers[0].wants("end")
		peers[1].send([]byte{0xff, 0xff})
		peers[1].wants("close 1002")
		peers[2].send(text(say("y")))
		peers[2].wants("echo y")
		uni := s.tunnel(t, "/uni?channel="+echo)
		uni.wants("connect")
		peers[2].send(text(say("z")))
		uni.wants("echo z")
	})
}

func TestInsideRefusals(t *testing.T) {
	inside(t, func(t *testing.T, s *tunnels) {
		for name, c := range map[string]struct {
			fields []string
			want   string
		}{
			"another version": {[]string{"sec-websocket-version", "8"}, "websocket"},
			"no version":      {nil, "websocket"},
			"another origin":  {[]string{"sec-websocket-version", "13", "origin", "https://evil.example"}, "allowed_origins"},
		} {
			_, u := s.connect(t, "/ws", c.fields...)
			if b, err := io.ReadAll(u); u.status == status200 || !strings.Contains(string(b), c.want) {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
		for name, fields := range map[string][]string{
			"another protocol": {":method", "CONNECT", ":protocol", "webtransport", ":scheme", "http", ":path", "/ws", ":authority", "mem"},
			"a plain GET":      {":method", "GET", ":scheme", "http", ":path", "/ws", ":authority", "mem"},
		} {
			u := s.conn.open(t, append(fields, "sec-websocket-version", "13")...)
			_ = u.CloseWrite()
			if b, err := io.ReadAll(u); u.status == status200 || !strings.Contains(string(b), "RFC 8441") {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	})
}

// A stream on which nothing is written for long is not reset by the deadline
// of what was written last.
func TestInsideIdle(t *testing.T) {
	inside(t, func(t *testing.T, s *tunnels) {
		p := s.tunnel(t, "/ws")
		p.join()
		time.Sleep(time.Hour)
		p.send(text(say("x")))
		p.wants("echo x")
	})
}

// Whatever a client does, its session ends, and so does the handler.
func TestInsideEnds(t *testing.T) {
	inside(t, func(t *testing.T, s *tunnels) {
		for name, leave := range map[string]func(u *h2Stream){
			"half-close": func(u *h2Stream) { _ = u.CloseWrite() },
			"reset":      func(u *h2Stream) { _ = u.Close() },
			"a breach":   func(u *h2Stream) { _, _ = u.Write([]byte{0xff, 0xff}) },
		} {
			p := s.tunnel(t, "/ws")
			p.join()
			leave(p.conn.(*h2Stream))
			synctest.Wait()
			if n := s.Hub.Connections(); n != 0 {
				t.Errorf("%s: %d sessions", name, n)
			}
		}
		// The one that broke the rules does not close its side.
		time.Sleep(6 * time.Second)
		for _, d := range s.doors {
			d.Wait()
		}
		s.doors = nil
	})
}

// A client that does not read is dropped, and ends nobody else's stream.
func TestInsideSlowReader(t *testing.T) {
	inside(t, func(t *testing.T, s *tunnels) {
		slow := s.tunnel(t, "/ws")
		slow.join()
		data := strings.Repeat("x", 8000)
		sent := 0
		for s.Hub.Connections() == 1 && sent < 100 {
			s.Publish(t, echo, data)
			synctest.Wait()
			sent++
		}
		if sent == 100 {
			t.Fatal("800 KB have been taken for a client that takes 64")
		}
		other := s.tunnel(t, "/ws")
		other.join()
		other.send(text(say("y")))
		other.wants("echo y")
		var got []string
		for len(got) == 0 || strings.HasPrefix(got[len(got)-1], "echo") {
			got = append(got, slow.next())
		}
		if last := got[len(got)-1]; last != "close 3008" || len(got) > sent+1 {
			t.Errorf("%d of %d publications, then %s", len(got)-1, sent, last)
		}
		if slices.Contains(got, "echo y") {
			t.Error("what came after the end was sent")
		}
	})
}
