package client

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// errFrameTooLarge is the reason a link ends when a message exceeds MaxFrame.
var errFrameTooLarge = errors.New("message is larger than MaxFrame")

// protocolError is a violation of RFC 6455 or of the client protocol.
type protocolError struct{ err error }

func (e *protocolError) Error() string { return "protocol violation: " + e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{fmt.Errorf(format, args...)}
}

// closeError is a close frame of the peer.
type closeError struct {
	code   ws.StatusCode
	reason string
}

func (e *closeError) Error() string { return fmt.Sprintf("closed by peer: %d %s", e.code, e.reason) }

// frameReader reads WebSocket messages: it joins fragments and checks what
// RFC 6455 demands of a server.
type frameReader struct {
	r    io.Reader
	max  int       // bytes of one message
	data ws.OpCode // the only data opcode that is right on this connection

	part  []byte // fragments so far
	state ws.State
}

// next returns the next whole data message, or the next ping or pong, which may
// stand between fragments. A close frame is returned as a *closeError.
func (f *frameReader) next() (ws.OpCode, []byte, error) {
	for {
		h, err := ws.ReadHeader(f.r)
		if err != nil {
			return 0, nil, err
		}
		if err := f.check(h); err != nil {
			return 0, nil, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(f.r, payload); err != nil {
			return 0, nil, err
		}
		switch {
		case h.OpCode == ws.OpClose:
			return 0, nil, parseClose(payload)
		case h.OpCode.IsControl():
			return h.OpCode, payload, nil
		}
		if msg, done := f.join(h, payload); done {
			if f.data == ws.OpText && !utf8.Valid(msg) {
				return 0, nil, violation("text message is not UTF-8")
			}
			return f.data, msg, nil
		}
	}
}

func (f *frameReader) check(h ws.Header) error {
	if err := ws.CheckHeader(h, ws.StateClientSide|f.state); err != nil {
		return &protocolError{err}
	}
	if h.OpCode.IsData() && h.OpCode != ws.OpContinuation && h.OpCode != f.data {
		return violation("data frame of opcode %#x, want %#x", h.OpCode, f.data)
	}
	if !h.OpCode.IsControl() && h.Length > int64(f.max-len(f.part)) {
		return fmt.Errorf("%w (%d bytes)", errFrameTooLarge, f.max)
	}
	return nil
}

// join adds a fragment and returns the message once it is whole.
func (f *frameReader) join(h ws.Header, payload []byte) ([]byte, bool) {
	if h.Fin && f.part == nil {
		return payload, true
	}
	f.part = append(f.part, payload...)
	if !h.Fin {
		f.state = f.state.Set(ws.StateFragmented)
		if f.part == nil {
			f.part = []byte{}
		}
		return nil, false
	}
	msg := f.part
	f.part, f.state = nil, 0
	return msg, true
}

func parseClose(payload []byte) error {
	if len(payload) == 1 {
		return violation("close frame of one byte")
	}
	code, reason := ws.ParseCloseFrameData(payload)
	return &closeError{code, reason}
}

// appendFrame appends one masked frame with payload to dst.
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	mask := ws.NewMask()
	h := ws.Header{Fin: true, OpCode: op, Masked: true, Mask: mask, Length: int64(len(payload))}
	var buf headerBuffer
	// Writing to memory cannot fail, and every length has a header.
	_ = ws.WriteHeader(&buf, h)
	dst = append(dst, buf.b[:buf.n]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// headerBuffer is large enough for every frame header.
type headerBuffer struct {
	b [ws.MaxHeaderSize]byte
	n int
}

func (h *headerBuffer) Write(p []byte) (int, error) {
	h.n += copy(h.b[h.n:], p)
	return len(p), nil
}
