package websocket_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/conversation/conversationtest"
	"myelin/hub"
)

// virtual runs a test over connections in memory, in virtual time.
func virtual(t *testing.T, o conversationtest.Options, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newVirtualStage(t, o)) })
}

// patient takes away the deadline that keeps tests in real time short.
func (p *peer) patient() *peer {
	p.t.Helper()
	p.hurried = false
	if err := p.conn.SetDeadline(time.Time{}); err != nil {
		p.t.Fatal(err)
	}
	return p
}

// Who never connects is sent away; an open TCP connection and a handshake are
// not enough.
func TestClientThatNeverConnects(t *testing.T) {
	virtual(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		for _, path := range []string{"/ws", "/uni"} {
			begin := time.Now()
			p := s.dial(t, path).patient()
			for range 10 { // keeping busy does not help
				time.Sleep(time.Second)
				p.send(ping("x"))
				p.wants("pong x")
			}
			p.wants("close 3502", "end")
			if waited := time.Since(begin); waited > 17*time.Second {
				t.Errorf("%s: it waited %v", path, waited)
			}
		}
	})
}

func TestPongs(t *testing.T) {
	virtual(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		p := s.listening(t).patient()
		for range 5 {
			p.wants("{}")
			p.send(text("{}"))
		}
		p.wants("{}")
		p.send(ping("not a pong of the client protocol"))
		p.wants("pong not a pong of the client protocol", "close 3012", "end")
	})
}

// A client that is told to go has some seconds to take it, and no more.
func TestLinger(t *testing.T) {
	virtual(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		p := s.listening(t).patient()
		begin := time.Now()
		p.send(text("nonsense"))
		p.wants("close 3501", "end")
		// It goes on sending and does not close.
		for {
			if _, err := p.conn.Write(text(say("x"))); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waited := time.Since(begin); waited < 4*time.Second || waited > 6*time.Second {
			t.Errorf("the server waited %v", waited)
		}
	})
}

// Pings are bounded like commands.
func TestPingFlood(t *testing.T) {
	o := conversationtest.Options{Quiet: true}
	o.Limits.CommandsPerSecond, o.Limits.CommandBurst = 10, 20
	virtual(t, o, func(t *testing.T, s *stage) {
		p := s.listening(t).patient()
		var flood []byte
		want := []string{}
		for i := range 30 {
			flood = all(flood, ping(fmt.Sprint(i)))
			if i < 18 {
				want = append(want, fmt.Sprint("pong ", i))
			}
		}
		p.send(flood)
		p.wants(append(want, "close 3013", "end")...)
	})
}

// A shutdown says so to everybody, and Wait returns when all have gone, also
// those that do not close.
func TestShutdown(t *testing.T) {
	for _, take := range []bool{true, false} {
		virtual(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
			peers := []*peer{s.listening(t).patient(), s.dial(t, "/ws").patient(), s.dial(t, "/uni").patient()}
			synctest.Wait()
			if err := s.Hub.Drain(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if take {
				for _, p := range peers {
					p.wants("close 3001", "end")
					_ = p.conn.Close()
				}
			}
			for _, d := range s.doors {
				d.Wait()
			}
			s.doors = nil
		})
	}
}

// The ends of a connection: whatever the client does, its session ends.
func TestEnds(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	v := newVeiledStage(t, conversationtest.Options{})
	for name, leave := range map[string]func(p *peer){
		"close":           func(p *peer) { _ = p.conn.Close() },
		"half-close":      func(p *peer) { _ = p.conn.(*net.TCPConn).CloseWrite() },
		"reset":           reset,
		"a closing frame": func(p *peer) { p.send(closing(1001, "")); p.wants("close 1001", "end") },
		"a part of a frame, then close": func(p *peer) {
			p.send(text(say("x"))[:20])
			_ = p.conn.Close()
		},
		"a part of a message, then half-close": func(p *peer) {
			p.send(f{op: opText, more: true, payload: "{"}.bytes())
			_ = p.conn.(*net.TCPConn).CloseWrite()
		},
		"a breach, then nothing": func(p *peer) { p.send([]byte{0xff, 0xff}); p.wants("close 1002", "end") },
		"commands, then reset":   func(p *peer) { p.send(bytes.Repeat(text(say("x")), 100)); reset(p) },
	} {
		for kind, s := range map[string]*stage{"socket": s, "stream": v} {
			t.Run(name+", "+kind, func(t *testing.T) {
				p := s.listening(t)
				leave(p)
				s.settled(t, 0)
				s.deserted(t)
			})
		}
	}
}

// reset has the connection end with a RST.
func reset(p *peer) {
	_ = p.conn.(*net.TCPConn).SetLinger(0)
	_ = p.conn.Close()
}

// The server's word ends a session from its side.
func TestServerDisconnects(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	token := conversationtest.Token(t, conversationtest.Claims{"sub": "u"})
	p := s.dial(t, "/ws")
	p.send(text(`{"id":1,"connect":{"token":"` + token + `"}}`))
	p.wants("1 connect")
	other := s.listening(t)
	if n, err := s.Hub.Disconnect(t.Context(), hub.Target{User: "u"}, hub.Disconnect{Code: 4999, Reason: strings.Repeat("é", 100)}, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p.wants("close 4999", "end")
	other.send(text(say("x")))
	other.wants("echo x")
}

// A client that does not read is dropped; when it reads again it finds what
// had been sent to it, in order and whole, and why it was dropped.
func TestSlowReader(t *testing.T) {
	for kind, s := range map[string]*stage{
		"socket": newStage(t, conversationtest.Options{Quiet: true}),
		"stream": newVeiledStage(t, conversationtest.Options{Quiet: true}),
	} {
		t.Run(kind, func(t *testing.T) {
			slow, quick := s.listening(t), s.listening(t)
			data := strings.Repeat("x", 8000)
			sent := 0
			for s.Hub.Connections() == 2 {
				if sent++; sent > 10_000 {
					t.Fatal("80 MB have been taken for a client that does not read")
				}
				s.Publish(t, echo, fmt.Sprint(sent, " ", data))
				quick.wants(fmt.Sprint("echo ", sent, " ", data))
			}
			seen := 0
			for {
				got := slow.next()
				if got == fmt.Sprint("echo ", seen+1, " ", data) {
					seen++
					continue
				}
				if got != "close 3008" {
					t.Errorf("after %d publications: %.100q", seen, got)
				}
				break
			}
			slow.wants("end")
			if seen == 0 || seen > sent {
				t.Errorf("saw %d publications of %d", seen, sent)
			}
			quick.send(text(say("still here")))
			quick.wants("echo still here")
			_ = slow.conn.Close()
			_ = quick.conn.Close()
			s.settled(t, 0)
		})
	}
}

// A client that is reset while the server cannot write to it.
func TestResetWhileBlocked(t *testing.T) {
	for kind, s := range map[string]*stage{
		"socket": newStage(t, conversationtest.Options{Quiet: true}),
		"stream": newVeiledStage(t, conversationtest.Options{Quiet: true}),
	} {
		t.Run(kind, func(t *testing.T) {
			p := s.listening(t)
			data := strings.Repeat("x", 60_000)
			for s.Hub.Connections() == 1 {
				s.Publish(t, echo, data)
			}
			reset(p)
			s.settled(t, 0)
		})
	}
}

// A thousand clients come and go in every way; nothing of them stays.
func TestNothingStays(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	cycle := func(i int) {
		p := s.listening(t)
		switch i % 5 {
		case 0:
			p.send(closing(1000, ""))
			p.wants("close 1000", "end")
		case 1:
			reset(p)
		case 2:
			p.send(text(say("x"))[:30])
		case 3:
			_ = p.conn.(*net.TCPConn).CloseWrite()
		}
		_ = p.conn.Close()
	}
	measure := func() (goroutines int, bytes uint64) {
		s.settled(t, 0)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	for i := range 100 {
		cycle(i)
	}
	before, bytesBefore := measure()
	for i := range 1000 {
		cycle(i)
	}
	after, bytesAfter := measure()
	deadline := time.Now().Add(patience)
	for after > before+10 && time.Now().Before(deadline) { // the last ones are on their way out
		runtime.Gosched()
		after = runtime.NumGoroutine()
	}
	if after > before+10 {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
	if bytesAfter > bytesBefore+4<<20 {
		t.Errorf("%d bytes before, %d after", bytesBefore, bytesAfter)
	}
}

// The one-way door: a request in the query or as the first message, and
// nothing else.
func TestOneWay(t *testing.T) {
	for kind, s := range map[string]*stage{
		"socket": newStage(t, conversationtest.Options{}), "stream": newVeiledStage(t, conversationtest.Options{}),
	} {
		t.Run(kind, func(t *testing.T) {
			token := conversationtest.Token(t, conversationtest.Claims{"sub": "u"})
			want := `{"subs":{"` + echo + `":{}}}`
			say := func(path, message string) func() *peer {
				return func() *peer { return s.say(t, path, f{op: opText, payload: message}) }
			}
			dial := func(path string) func() *peer { return func() *peer { return s.dial(t, path) } }
			for name, open := range map[string]func() *peer{
				"channel":             dial("/uni?channel=" + echo),
				"channel and token":   dial("/uni?channel=" + echo + "&channel=user:a&token=" + token),
				"cf_connect":          dial(`/uni?cf_connect=` + strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(want)),
				"a message":           say("/uni", want),
				"a message and token": say("/uni?token="+token, `{"subs":{"`+echo+`":{},"user:a":{}}}`),
				"a binary message":    func() *peer { return s.say(t, "/uni", f{op: opBinary, payload: want}) },
			} {
				p := open()
				p.wants("connect")
				s.Publish(t, echo, name)
				p.wants("echo " + name)
				// What else it says is not listened to, but has to keep the rules.
				p.send(all(text(`{"id":1,"publish":{"channel":"`+echo+`","data":1}}`), text("nonsense"), text(""), ping("x")))
				p.wants("pong x")
				p.send(f{op: 3}.bytes())
				p.wants("close 1002", "end")
			}
			for path, want := range map[string]string{
				"/uni?channel=nobody:a":          "close 3507",
				"/uni?channel=user:a":            "close 3507",
				"/uni?channel=":                  "close 3501",
				"/uni?channel=log:a&token=x":     "close 3500",
				"/uni?cf_connect=nonsense":       "close 3501",
				"/uni?cf_connect=%7B%22token%22": "close 3501",
			} {
				s.dial(t, path).wants(want, "end")
			}
			for message, want := range map[string]string{
				"nonsense": "close 3501", `{"token":"x"}`: "close 3500", `{"subs":{"nobody:a":{}}}`: "close 3507",
				`{"subs":{"log:a":null}}`: "close 3501", `{"id":1,"connect":{}}`: "connect",
			} {
				say("/uni", message)().wants(want)
			}
		})
	}
}

// say dials and sends a message.
func (s *stage) say(t testing.TB, path string, x f) *peer {
	t.Helper()
	p := s.dial(t, path)
	p.send(x.bytes())
	return p
}

// Of many who want the last place at once one gets it; the others are told to
// come again, as HTTP while that is still possible.
func TestRaceForTheLastPlace(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.Connections = 1
	for kind, s := range map[string]*stage{"socket": newStage(t, o), "stream": newVeiledStage(t, o)} {
		t.Run(kind, func(t *testing.T) {
			for range 20 {
				var peers []*peer
				for range 8 {
					conn, err := s.dialing()
					if err != nil {
						t.Fatal(err)
					}
					peers = append(peers, &peer{t: t, conn: conn, in: bufio.NewReader(conn)})
				}
				for _, p := range peers {
					p.send([]byte(end(request("/ws"))))
				}
				count := map[string]int{}
				for _, p := range peers {
					r, err := http.ReadResponse(p.in, nil)
					switch {
					case err != nil:
						t.Fatal(err)
					case r.StatusCode == http.StatusSwitchingProtocols:
						p.send(ping("in"))
						count[p.next()]++
					default:
						count[r.Status]++
					}
				}
				if count["pong in"] != 1 || count["pong in"]+count["close 1013"]+count["503 Service Unavailable"] != len(peers) {
					t.Fatalf("outcomes: %v", count)
				}
				for _, p := range peers {
					_ = p.conn.Close()
				}
				s.settled(t, 0)
			}
		})
	}
}

// What one client does is nobody else's business.
func TestOthersGoOn(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	witness := s.listening(t)
	for i, bad := range [][]byte{
		{0xff, 0xff},
		text("nonsense"), text(`{"id":3,"connect":{},"subscribe":{"channel":"a","token":"b"}}`), text("\xff"),
		f{op: opText, hasClaim: true, claims: 1 << 62}.bytes(), closing(0, ""),
	} {
		p := s.listening(t)
		p.send(bad)
		if got := p.next(); !strings.HasPrefix(got, "close ") {
			t.Errorf("%q: %s", bad, got)
		}
		if _, err := io.Copy(io.Discard, p.in); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		witness.send(text(say(fmt.Sprint(i))))
		witness.wants(fmt.Sprint("echo ", i))
	}
}
