package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"myelin/client"
	"myelin/protocol"
)

func TestReconnectAfterCut(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Client: "one"})
		j.take()
		p.cut()
		p = f.accept()
		p.connect(&protocol.ConnectResult{Client: "two"})
		equal(t, j.take(), "connecting 1 transport closed", "connected two")
	})
}

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.setDown(true)
		var errs int
		f.start(client.Options{
			MinBackoff: 100 * time.Millisecond, MaxBackoff: 2 * time.Second,
			Handlers: client.Handlers{OnError: func(err error) {
				if errors.Is(err, errDown) {
					errs++
				}
			}},
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		dials := f.dialTimes()
		if errs < len(dials)-1 {
			t.Fatalf("%d errors reported for %d attempts", errs, len(dials))
		}
		// Full jitter around a ceiling of 2 s waits 1 s on average.
		if n := len(dials); n < 400 || n > 900 {
			t.Fatalf("%d attempts in ten minutes, want about 600", n)
		}
		ceiling := 100 * time.Millisecond
		different := map[time.Duration]bool{}
		for i := 1; i < len(dials); i++ {
			d := dials[i].Sub(dials[i-1])
			if d > ceiling {
				t.Fatalf("delay %d is %v, want at most %v", i, d, ceiling)
			}
			ceiling = min(2*ceiling, 2*time.Second)
			different[d] = true
		}
		if len(different) < len(dials)/2 {
			t.Fatalf("only %d different delays among %d", len(different), len(dials))
		}
	})
}

// A server that accepts and then cuts at once must not be hammered.
func TestShortConnectionsBackOff(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.start(client.Options{MinBackoff: time.Second, MaxBackoff: 20 * time.Second})
		go func() {
			for {
				select {
				case p := <-f.accepted:
					p.connect(&protocol.ConnectResult{})
					p.cut()
				case <-t.Context().Done():
					return
				}
			}
		}()
		time.Sleep(10 * time.Minute)
		if n := len(f.dialTimes()); n > 150 {
			t.Fatalf("%d connections in ten minutes, want about 60", n)
		}
	})
}

func TestMissingPings(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{PingSlack: 10 * time.Second, Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Ping: 25, Pong: true})
		for range 100 {
			time.Sleep(25 * time.Second)
			p.ping()
			if cmd := p.next(); cmd.GetId() != 0 || cmd.GetSend() != nil {
				t.Fatalf("answer to a ping: %v", cmd)
			}
		}
		equal(t, j.take(), "connecting 0 connect called", "connected c1")
		time.Sleep(34 * time.Second)
		equal(t, j.take())
		time.Sleep(time.Second + time.Millisecond)
		equal(t, j.take(), "connecting 2 no ping from the server")
		p.gone()
		f.accept().connect(&protocol.ConnectResult{Ping: 25})
		equal(t, j.take(), "connected c1")
	})
}

func TestPingsAreNotAnsweredUnlessAsked(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.start(client.Options{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Ping: 25})
		p.ping()
		p.quiet()
		// The WebSocket ping is another matter: RFC 6455 wants an answer.
		if err := ws.WriteFrame(p.conn, ws.NewPingFrame([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		p.quiet()
	})
}

// A slow callback stops the reading; the server must not be blamed for silence.
func TestSlowCallbackIsNotSilence(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		h := j.handlers()
		h.OnMessage = func(data []byte) {
			time.Sleep(time.Minute)
			j.add("message %s", data)
		}
		f.start(client.Options{MaxEvents: 1, Handlers: h})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Ping: 5})
		j.take()
		go func() {
			for i := range 4 {
				p.send(&protocol.Reply{Push: &protocol.Push{Message: &protocol.Message{Data: fmt.Append(nil, i)}}})
			}
			for {
				p.ping()
				select {
				case <-time.After(5 * time.Second):
				case <-t.Context().Done():
					return
				}
			}
		}()
		time.Sleep(4*time.Minute + time.Second)
		equal(t, j.take(), "message 0", "message 1", "message 2", "message 3")
		time.Sleep(30 * time.Second)
		equal(t, j.take())
	})
}

// Nor is it a command that the server did not answer in time.
func TestSlowCallbackIsNotTimeout(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		h := j.handlers()
		h.OnMessage = func([]byte) { time.Sleep(time.Minute) }
		c := f.start(client.Options{MaxEvents: 1, Timeout: 5 * time.Second, Handlers: h})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		j.take()
		f.subscribe(c, "a", j.sub(client.SubOptions{}))
		cmd := p.next()
		for i := range 3 {
			p.send(&protocol.Reply{Push: &protocol.Push{Message: &protocol.Message{Data: fmt.Append(nil, i)}}})
		}
		go p.send(&protocol.Reply{Id: cmd.GetId(), Subscribe: &protocol.SubscribeResult{}})
		time.Sleep(10 * time.Minute)
		equal(t, j.take(), "subscribed :0 recovered=false/false")
	})
}

func TestDisconnectCodes(t *testing.T) {
	for _, c := range []struct {
		code     ws.StatusCode
		terminal bool
	}{
		{1000, false},
		{1001, false},
		{1006, false},
		{1009, true},
		{3000, false},
		{3001, false},
		{3008, false},
		{3010, false},
		{3499, false},
		{3500, true},
		{3501, true},
		{3999, true},
		{4000, false},
		{4499, false},
		{4500, true},
		{4999, true},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			virtual(t, func(t *testing.T, f *fake) {
				var j journal
				cl := f.start(client.Options{Handlers: j.handlers()})
				p := f.accept()
				p.connect(&protocol.ConnectResult{})
				j.take()
				p.closeWith(c.code, "why")
				if !c.terminal {
					f.accept().connect(&protocol.ConnectResult{})
					equal(t, j.take()[1:], "connected c1")
					return
				}
				<-cl.Done()
				d, ok := errors.AsType[*client.Disconnected](cl.Err())
				if !ok || c.code >= 3000 && (d.Code != uint32(c.code) || d.Reason != "why") {
					t.Fatalf("Err = %v", cl.Err())
				}
				time.Sleep(time.Hour)
				if n := len(f.dialTimes()); n != 1 {
					t.Fatalf("%d connections, want 1", n)
				}
				lines := j.take()
				if len(lines) != 1 || !strings.HasPrefix(lines[0], "disconnected") {
					t.Fatalf("callbacks %q", lines)
				}
			})
		})
	}
}

func TestDisconnectPush(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.send(&protocol.Reply{Push: &protocol.Push{Disconnect: &protocol.Disconnect{Code: 3503, Reason: "force disconnect"}}})
		p.gone()
		<-c.Done()
		if d, ok := errors.AsType[*client.Disconnected](c.Err()); !ok || d.Code != 3503 {
			t.Fatalf("Err = %v", c.Err())
		}
	})
}

func TestConnectRefused(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{Handlers: j.handlers()})
		p := f.accept()
		p.fail(p.next(), 100, "internal server error", true)
		p.gone()
		p = f.accept()
		p.fail(p.next(), 103, "permission denied", false)
		p.gone()
		<-c.Done()
		equal(t, j.take(),
			"connecting 0 connect called",
			"error disconnected: connect: server error 100: internal server error (code 1)",
			"disconnected 103 permission denied")
	})
}

func TestConnectIsNotAnswered(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.start(client.Options{Timeout: 3 * time.Second})
		p := f.accept()
		p.next()
		start := time.Now()
		p.gone()
		if d := time.Since(start); d != 3*time.Second {
			t.Fatalf("gave up after %v, want 3s", d)
		}
		f.accept()
	})
}

func TestHandshakeIsNotAnswered(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c, err := client.New(testURL, client.Options{
			Timeout: 3 * time.Second, MinBackoff: time.Hour, MaxBackoff: time.Hour,
			Dial: func(context.Context, string) (net.Conn, error) {
				here, there := net.Pipe()
				t.Cleanup(func() { _ = there.Close() })
				return here, nil
			},
			Handlers: j.handlers(),
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = c.Connect(t.Context()) }()
		time.Sleep(3*time.Second + time.Millisecond)
		lines := j.take()
		if len(lines) != 2 || !strings.Contains(lines[1], "dial "+testURL) {
			t.Fatalf("callbacks %q", lines)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestProtobufMustBeAgreed(t *testing.T) {
	virtual(t, func(t *testing.T, _ *fake) {
		got := make(chan error, 1)
		c, err := client.New(testURL, client.Options{
			Protobuf: true, MinBackoff: time.Hour, MaxBackoff: time.Hour,
			Dial: func(context.Context, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() { _, _ = ws.Upgrade(there) }()
				return here, nil
			},
			Handlers: client.Handlers{OnError: func(err error) { got <- err }},
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = c.Connect(t.Context()) }()
		if err := <-got; !strings.Contains(err.Error(), "use JSON") {
			t.Fatalf("error %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMalformedFrames(t *testing.T) {
	frame := func(op ws.OpCode, fin bool, payload string) []byte {
		return ws.MustCompileFrame(ws.NewFrame(op, fin, []byte(payload)))
	}
	const large = 1 << 16
	for name, c := range map[string]struct {
		raw      []byte
		code     uint32
		goodbye  ws.StatusCode
		terminal bool
	}{
		"not JSON":             {frame(ws.OpText, true, `{"push":`), client.CodeBadProtocol, 1002, false},
		"not UTF-8":            {frame(ws.OpText, true, "{\"x\":\"\xff\"}"), client.CodeBadProtocol, 1002, false},
		"binary":               {frame(ws.OpBinary, true, "{}"), client.CodeBadProtocol, 1002, false},
		"lone continuation":    {frame(ws.OpContinuation, true, "{}"), client.CodeBadProtocol, 1002, false},
		"masked":               {ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("{}")))), client.CodeBadProtocol, 1002, false},
		"reserved bit":         {[]byte{0xc1, 0}, client.CodeBadProtocol, 1002, false},
		"fragmented ping":      {frame(ws.OpPing, false, ""), client.CodeBadProtocol, 1002, false},
		"one byte close":       {frame(ws.OpClose, true, "x"), client.CodeBadProtocol, 1002, false},
		"text inside fragment": {append(frame(ws.OpText, false, "{"), frame(ws.OpText, true, "}")...), client.CodeBadProtocol, 1002, false},
		"too large":            {[]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1}, client.CodeFrameTooLarge, 1009, true},
		"too large in pieces":  {append(frame(ws.OpText, false, strings.Repeat(" ", large)), frame(ws.OpContinuation, false, " ")[:2]...), client.CodeFrameTooLarge, 1009, true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, f *fake) {
				codes := make(chan uint32, 9)
				cl := f.start(client.Options{MaxFrame: large, Handlers: client.Handlers{
					OnConnecting:   func(code uint32, _ string) { codes <- code },
					OnDisconnected: func(d client.Disconnected) { codes <- d.Code },
				}})
				p := f.accept()
				p.connect(&protocol.ConnectResult{})
				<-codes
				p.raw(c.raw)
				if code := <-codes; code != c.code {
					t.Fatalf("code %d, want %d", code, c.code)
				}
				if code := p.gone(); code != c.goodbye {
					t.Fatalf("goodbye %d, want %d", code, c.goodbye)
				}
				if c.terminal {
					<-cl.Done()
					return
				}
				f.accept().connect(&protocol.ConnectResult{})
			})
		})
	}
}

// The limit is the message's: a ping in between does not count.
func TestMessageAsLargeAsTheLimit(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		const message = `{"push":{"message":{"data":1}}}`
		f.start(client.Options{MaxFrame: 1000, Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		j.take()
		var raw []byte
		for _, part := range []ws.Frame{
			ws.NewFrame(ws.OpText, false, []byte(message+strings.Repeat(" ", 1000-len(message)))),
			ws.NewPingFrame([]byte("hello")),
			ws.NewFrame(ws.OpContinuation, true, nil),
		} {
			raw = append(raw, ws.MustCompileFrame(part)...)
		}
		p.raw(raw)
		equal(t, j.take(), "message 1")
	})
}

func TestFragmentsAndControlFramesBetween(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		j.take()
		message := `{"push":{"message":{"data":"héllo"}}}` + "\n\n" + `{"push":{"message":{"data":2}}}` + "\n"
		var raw []byte
		for i := range len(message) {
			op := ws.OpContinuation
			if i == 0 {
				op = ws.OpText
			}
			raw = append(raw, ws.MustCompileFrame(ws.NewFrame(op, i == len(message)-1, []byte(message[i:i+1])))...)
			raw = append(raw, ws.MustCompileFrame(ws.NewPingFrame(nil))...)
		}
		p.raw(raw)
		p.raw(raw)
		equal(t, j.take(), `message "héllo"`, "message 2", `message "héllo"`, "message 2")
		p.quiet()
	})
}
