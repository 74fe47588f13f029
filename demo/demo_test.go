package demo

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"myelin/client"
	"myelin/protocol"
)

// hospital is the smallest server that the feeds can work with: JSON commands in
// WebSocket frames over in-memory connections.
type hospital struct {
	t    *testing.T
	wg   sync.WaitGroup
	code uint16 // of the close frame that answers connect, 0 for none

	mu struct {
		sync.Mutex
		down  bool
		conns []net.Conn
		names map[string]bool
		ward  *ward
		host  map[string]int // publications by channel
		chat  []string
		room  net.Conn // whoever is subscribed to the chat
	}
}

func newHospital(t *testing.T) *hospital {
	h := &hospital{t: t}
	h.mu.names, h.mu.host, h.mu.ward = map[string]bool{}, map[string]int{}, newWard(t)
	return h
}

func (h *hospital) dial(context.Context, string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.down {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	h.mu.conns = append(h.mu.conns, here)
	h.wg.Go(func() { h.serve(here) })
	return there, nil
}

// setDown takes the server away, with its connections, or brings it back.
func (h *hospital) setDown(down bool) {
	h.mu.Lock()
	conns := h.mu.conns
	h.mu.down, h.mu.conns, h.mu.room = down, nil, nil
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (h *hospital) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	for err == nil {
		var op byte
		var payload []byte
		if op, payload, err = readFrame(r); err != nil || op != 1 {
			return
		}
		err = protocol.DecodeCommands(protocol.JSON, payload, func(c *protocol.Command) error { return h.answer(conn, c) })
	}
}

// readFrame reads one masked frame of up to 64 KiB.
func readFrame(r io.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[1] & 127)
	if size == 126 {
		var ext [2]byte
		if _, err = io.ReadFull(r, ext[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(ext[:]))
	}
	b := make([]byte, 4+size)
	if _, err = io.ReadFull(r, b); err != nil {
		return 0, nil, err
	}
	for i := range size {
		b[4+i] ^= b[i%4]
	}
	return head[0] & 15, b[4:], nil
}

func writeFrame(w io.Writer, op byte, payload []byte) error {
	b := []byte{0x80 | op, 126}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// expel closes a connection with a code.
func expel(conn net.Conn, code uint16) error {
	frame := binary.BigEndian.AppendUint16([]byte{0x88, 9}, code)
	_, err := conn.Write(append(frame, "go away"...))
	return err
}

func (h *hospital) answer(conn net.Conn, c *protocol.Command) error {
	r := &protocol.Reply{Id: c.GetId()}
	switch {
	case c.GetConnect() != nil:
		if h.code != 0 {
			return expel(conn, h.code)
		}
		h.mu.Lock()
		h.mu.names[c.GetConnect().GetName()] = true
		h.mu.Unlock()
		r.Connect = &protocol.ConnectResult{Client: c.GetConnect().GetName()}
	case c.GetSubscribe() != nil:
		h.mu.Lock()
		if c.GetSubscribe().GetChannel() == "chat:lobby" && c.GetSubscribe().GetJoinLeave() {
			h.mu.room = conn
		}
		h.mu.Unlock()
		r.Subscribe = &protocol.SubscribeResult{}
	case c.GetPublish() != nil:
		h.published(c.GetPublish())
		r.Publish = &protocol.PublishResult{}
	case c.GetRpc() != nil:
		data, err := h.mu.ward.RPC(h.t.Context(), c.GetRpc().GetMethod(), c.GetRpc().GetData())
		if err != nil {
			return err
		}
		r.Rpc = &protocol.RPCResult{Data: data}
	default:
		h.t.Errorf("unexpected command %v", c)
	}
	return writeFrame(conn, 1, protocol.AppendReply(nil, protocol.JSON, r))
}

func (h *hospital) published(p *protocol.PublishRequest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.host[p.GetChannel()]++
	if p.GetChannel() == "chat:lobby" {
		h.mu.chat = append(h.mu.chat, string(p.GetData()))
	}
}

// push sends a push to whoever is subscribed to the chat.
func (h *hospital) push(p *protocol.Push) {
	h.t.Helper()
	h.mu.Lock()
	room := h.mu.room
	h.mu.Unlock()
	if room == nil {
		h.t.Fatal("nobody is subscribed to the chat")
	}
	p.Channel = "chat:lobby"
	if err := writeFrame(room, 1, protocol.AppendReply(nil, protocol.JSON, &protocol.Reply{Push: p})); err != nil {
		h.t.Fatal(err)
	}
}

// open runs the feeds against h until the returned function is called, which
// returns what Run returned.
func (h *hospital) open() (stop func() error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			URL: "ws://hospital.test/connection/websocket", Dial: h.dial, Proc: fstest.MapFS{},
			Logger: slog.New(slog.DiscardHandler),
		})
	}()
	return func() error {
		cancel()
		err := <-done
		h.setDown(true)
		h.wg.Wait()
		return err
	}
}

func TestFeedsSurviveRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHospital(t)
		stop := h.open()
		for range 20 {
			time.Sleep(9 * time.Second)
			h.setDown(true)
			time.Sleep(4 * time.Second)
			h.setDown(false)
		}
		time.Sleep(30 * time.Second)
		h.push(&protocol.Push{Join: &protocol.Join{Info: &protocol.ClientInfo{Client: "x", User: "ann"}}})
		h.push(&protocol.Push{Join: &protocol.Join{Info: &protocol.ClientInfo{Client: "myelin-demo-chat"}}})
		h.push(&protocol.Push{Pub: &protocol.Publication{Data: protocol.Raw(`{"from":"ann","text":"/help"}`)}})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}

		// 350 seconds, of which 80 without a server: nothing of the patient is lost.
		batches, _, rates := h.mu.ward.split()
		if n := len(batches); n < 3_490 || n > 3_500 {
			t.Errorf("%d batches", n)
		}
		for k, b := range batches {
			if b.N != int64(k*batchSamples) {
				t.Fatalf("batch %d begins with sample %d", k, b.N)
			}
		}
		if len(rates) < 500 {
			t.Errorf("%d beats", len(rates))
		}
		if n := h.mu.host["host:telemetry"]; n < 200 || n > 350 {
			t.Errorf("%d telemetry samples", n)
		}
		var said []string
		for _, data := range h.mu.chat {
			var m chatMessage
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				t.Fatal(err)
			}
			said = append(said, m.Text)
		}
		if len(said) != 2 || !slices.Contains(said, "Welcome, ann! Try /help.") {
			t.Errorf("the host said %q", said)
		}
		for _, name := range []string{"myelin-demo-patient", "myelin-demo-machine", "myelin-demo-chat"} {
			if !h.mu.names[name] {
				t.Errorf("%s did not connect", name)
			}
		}
	})
}

func TestRunEndsWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHospital(t)
		h.code = 3500
		stop := h.open()
		time.Sleep(time.Minute)
		err := stop()
		if d, ok := errors.AsType[*client.Disconnected](err); !ok || d.Code != 3500 || d.Reason != "go away" {
			t.Fatalf("Run = %v", err)
		}
	})
}

func TestRunEndsWhenExpelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHospital(t)
		stop := h.open()
		time.Sleep(time.Minute)
		h.mu.Lock()
		expelled := 0
		for _, conn := range h.mu.conns {
			// It may end, and close the others, when the first is gone.
			err := expel(conn, 3503)
			if err == nil {
				expelled++
			} else if expelled == 0 || !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
		h.mu.Unlock()
		time.Sleep(time.Minute)
		err := stop()
		if batches, _, _ := h.mu.ward.split(); len(batches) > 600 {
			t.Errorf("%d batches in one minute", len(batches))
		}
		if d, ok := errors.AsType[*client.Disconnected](err); !ok || d.Code != 3503 {
			t.Fatalf("Run = %v", err)
		}
	})
}

func TestRunWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHospital(t)
		h.setDown(true)
		stop := h.open()
		time.Sleep(time.Hour)
		h.setDown(false)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if batches, _, _ := h.mu.ward.split(); len(batches) < 300 {
			t.Fatalf("%d batches", len(batches))
		}
	})
}

func TestRunRefusesABadURL(t *testing.T) {
	if err := Run(t.Context(), Options{URL: "http://127.0.0.1/"}); err == nil {
		t.Fatal("Run accepted an http URL")
	}
}
