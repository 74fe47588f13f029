package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestWebSocketOverHTTP2 opens a WebSocket by an extended CONNECT (RFC 8441),
// which Go's server offers by GODEBUG only, and says connect on it.
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	server := serveEnv(t, []string{"GODEBUG=http2xconnect=1"}, "", "--dev")
	c := dialHTTP2(t, server.main)
	if !c.offersConnect() {
		t.Fatal("the server does not offer extended CONNECT")
	}
	c.connect(1, "/connection/websocket")
	if status := c.status(1); status != "200" {
		t.Fatalf("CONNECT is answered with %s", status)
	}
	c.send(1, textFrame(`{"id":1,"connect":{}}`))
	if reply := c.message(1); !strings.Contains(reply, `"id":1,"connect":{"client":`) {
		t.Errorf("connect is answered with %s", reply)
	}
	c.send(1, textFrame(`{"id":2,"rpc":{"method":"myelin.time"}}`))
	if reply := c.message(1); !strings.Contains(reply, `"time_ms"`) {
		t.Errorf("the call is answered with %s", reply)
	}

	// A WebSocket is one stream of many: the connection still serves requests.
	c.get(3, "/health/live")
	if status := c.status(3); status != "200" {
		t.Errorf("beside it, GET is answered with %s", status)
	}
}

// TestWebSocketOverHTTP2Refused is the same without the variable.
func TestWebSocketOverHTTP2Refused(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev")
	c := dialHTTP2(t, server.main)
	if c.offersConnect() {
		t.Fatal("the server offers extended CONNECT unasked")
	}
	c.connect(1, "/connection/websocket")
	if status := c.status(1); status == "200" {
		t.Errorf("CONNECT is answered with %s", status)
	}
	c.get(3, "/health/live")
	if status := c.status(3); status != "200" {
		t.Errorf("after it, GET is answered with %s", status)
	}
}

// http2Conn is a client's side of a connection, frame by frame.
type http2Conn struct {
	t       testing.TB
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	// settings are the server's first.
	settings map[http2.SettingID]uint32
	// answers are the statuses of streams, or why they were reset.
	answers map[uint32]string
	data    map[uint32]*bytes.Buffer
}

func dialHTTP2(t testing.TB, addr string) *http2Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &http2Conn{
		t: t, framer: http2.NewFramer(conn, conn), settings: map[http2.SettingID]uint32{},
		answers: map[uint32]string{}, data: map[uint32]*bytes.Buffer{},
	}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.check(c.framer.WriteSettings())
	return c
}

func (c *http2Conn) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// read takes in one frame.
func (c *http2Conn) read() {
	c.t.Helper()
	frame, err := c.framer.ReadFrame()
	c.check(err)
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		c.check(f.ForeachSetting(func(s http2.Setting) error {
			c.settings[s.ID] = s.Val
			return nil
		}))
		c.check(c.framer.WriteSettingsAck())
	case *http2.MetaHeadersFrame:
		c.answers[f.StreamID] = f.PseudoValue("status")
	case *http2.RSTStreamFrame:
		if c.answers[f.StreamID] == "" {
			c.answers[f.StreamID] = f.ErrCode.String()
		}
	case *http2.DataFrame:
		if c.data[f.StreamID] == nil {
			c.data[f.StreamID] = new(bytes.Buffer)
		}
		c.data[f.StreamID].Write(f.Data())
	case *http2.GoAwayFrame:
		c.t.Fatalf("the server goes away: %v", f.ErrCode)
	}
}

func (c *http2Conn) offersConnect() bool {
	c.t.Helper()
	for len(c.settings) == 0 {
		c.read()
	}
	return c.settings[http2.SettingEnableConnectProtocol] == 1
}

// headers begins a stream.
func (c *http2Conn) headers(id uint32, end bool, fields ...string) {
	c.t.Helper()
	c.encoded.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		c.check(c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	c.check(c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.encoded.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

func (c *http2Conn) connect(id uint32, path string) {
	c.t.Helper()
	c.headers(id, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", path,
		":authority", "127.0.0.1", "sec-websocket-version", "13")
}

func (c *http2Conn) get(id uint32, path string) {
	c.t.Helper()
	c.headers(id, true, ":method", "GET", ":scheme", "http", ":path", path, ":authority", "127.0.0.1")
}

// status waits for the answer to a stream.
func (c *http2Conn) status(id uint32) string {
	c.t.Helper()
	for c.answers[id] == "" {
		c.read()
	}
	return c.answers[id]
}

func (c *http2Conn) send(id uint32, data []byte) {
	c.t.Helper()
	c.check(c.framer.WriteData(id, false, data))
}

// message waits for one WebSocket message on a stream.
func (c *http2Conn) message(id uint32) string {
	c.t.Helper()
	for {
		if b := c.data[id]; b != nil {
			if payload, rest, err := unframe(b.Bytes()); err == nil {
				text := string(payload)
				b.Next(b.Len() - len(rest))
				return text
			} else if !errors.Is(err, io.ErrUnexpectedEOF) {
				c.t.Fatal(err)
			}
		}
		c.read()
	}
}

// textFrame is a whole text message of a client (RFC 6455 section 5.2), masked
// with zeros. It must be short.
func textFrame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

// unframe takes a message of a server off the front of b.
func unframe(b []byte) (payload, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	if b[0] != 0x81 {
		return nil, nil, fmt.Errorf("the frame begins with %#x, want a whole text", b[0])
	}
	size, at := int(b[1]), 2
	if size == 126 {
		size, at = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < at+size {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return b[at : at+size], b[at+size:], nil
}
