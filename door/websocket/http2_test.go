package websocket_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// The frames of HTTP/2 that the tests need (RFC 9113 section 6).
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Ping, h2Window = 0, 1, 3, 4, 6, 8
	h2EndStream, h2EndHeaders, h2Ack                         = 1, 4, 1
	h2Cancel                                                 = 8
)

// h2Conn is a client of HTTP/2 as small as it can be: net/http's does not let
// its user ask for an extended CONNECT.
type h2Conn struct {
	conn net.Conn
	mu   struct {
		sync.Mutex
		streams map[uint32]*h2Stream
		extends bool // the server offers extended CONNECT (RFC 8441 section 3)
	}
	changed *sync.Cond // of everything here and in the streams
	next    uint32
}

// h2Stream is one stream. It is read at the reader's pace: the window of the
// stream opens by what has been read.
type h2Stream struct {
	c  *h2Conn
	id uint32
	// Under the connection's lock.
	status byte // the first byte of the header block: 0x88 is status 200
	got    bytes.Buffer
	end    error
	net.Conn
}

func newH2Conn(t testing.TB, conn net.Conn) *h2Conn {
	t.Helper()
	c := &h2Conn{conn: conn, next: 1}
	c.mu.streams = map[uint32]*h2Stream{}
	c.changed = sync.NewCond(&c.mu)
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.write(h2Settings, 0, 0, nil)
	c.write(h2Window, 0, 0, []byte{0x3f, 0, 0, 0}) // the connection is never what is full
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.read()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return c
}

func (c *h2Conn) write(kind, flags byte, stream uint32, payload []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	_, _ = c.conn.Write(append(b, payload...)) // a loss is seen by the reader
}

// read takes frames until the connection ends.
func (c *h2Conn) read() {
	for {
		var head [9]byte
		_, err := io.ReadFull(c.conn, head[:])
		payload := make([]byte, binary.BigEndian.Uint32(head[:4])>>8)
		if err == nil {
			_, err = io.ReadFull(c.conn, payload)
		}
		c.mu.Lock()
		if err != nil {
			for _, s := range c.mu.streams {
				s.finish(err)
			}
			c.changed.Broadcast()
			c.mu.Unlock()
			return
		}
		c.take(head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload)
		c.changed.Broadcast()
		c.mu.Unlock()
		switch {
		case head[3] == h2Settings && head[4]&h2Ack == 0:
			c.write(h2Settings, h2Ack, 0, nil)
		case head[3] == h2Ping && head[4]&h2Ack == 0:
			c.write(h2Ping, h2Ack, 0, payload)
		}
	}
}

// take takes in one frame. The lock is held.
func (c *h2Conn) take(kind, flags byte, id uint32, payload []byte) {
	if kind == h2Settings {
		for ; len(payload) >= 6; payload = payload[6:] {
			if binary.BigEndian.Uint16(payload) == 8 {
				c.mu.extends = payload[5] == 1
			}
		}
	}
	s := c.mu.streams[id]
	if s == nil {
		return
	}
	switch kind {
	case h2Headers:
		if s.status == 0 {
			s.status = payload[0]
		}
	case h2Data:
		s.got.Write(payload)
	case h2Reset:
		s.finish(errors.New("the stream was reset"))
	}
	if (kind == h2Headers || kind == h2Data) && flags&h2EndStream != 0 {
		s.finish(io.EOF)
	}
}

func (s *h2Stream) finish(err error) {
	if s.end == nil {
		s.end = err
	}
}

// literal is a field of a header block that needs no table (RFC 7541 section
// 6.2.2).
func literal(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}

// open sends a request and waits for the answer.
func (c *h2Conn) open(t testing.TB, fields ...string) *h2Stream {
	t.Helper()
	c.mu.Lock()
	for !c.mu.extends {
		c.changed.Wait()
	}
	s := &h2Stream{c: c, id: c.next}
	c.next += 2
	c.mu.streams[s.id] = s
	c.mu.Unlock()
	var block []byte
	for i := 0; i+1 < len(fields); i += 2 {
		block = append(block, literal(fields[i], fields[i+1])...)
	}
	c.write(h2Headers, h2EndHeaders, s.id, block)
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.status == 0 && s.end == nil {
		c.changed.Wait()
	}
	if s.status == 0 {
		t.Fatal(s.end)
	}
	return s
}

// Read takes what there is, and opens the window by it.
func (s *h2Stream) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	for s.got.Len() == 0 && s.end == nil {
		s.c.changed.Wait()
	}
	n, _ := s.got.Read(b)
	err := s.end
	s.c.mu.Unlock()
	if n == 0 {
		return 0, err
	}
	s.c.write(h2Window, 0, s.id, binary.BigEndian.AppendUint32(nil, uint32(n)))
	return n, nil
}

func (s *h2Stream) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		part := b[:min(len(b), 16<<10)]
		s.c.write(h2Data, 0, s.id, part)
		b = b[len(part):]
	}
	return n, nil
}

// CloseWrite ends this side of the stream.
func (s *h2Stream) CloseWrite() error {
	s.c.write(h2Data, h2EndStream, s.id, nil)
	return nil
}

// Close resets the stream.
func (s *h2Stream) Close() error {
	s.c.write(h2Reset, 0, s.id, []byte{0, 0, 0, h2Cancel})
	return nil
}
