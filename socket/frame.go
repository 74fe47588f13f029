package socket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// maxHeader is the longest frame header: two bytes, eight of length, four of
// mask.
const maxHeader = 14

// violation is a breach of RFC 6455 with the close code it is answered with.
type violation struct {
	code   ws.StatusCode
	reason string
}

func (v *violation) Error() string { return v.reason }

func protocolError(reason string) *violation { return &violation{ws.StatusProtocolError, reason} }

// header is a parsed frame header.
type header struct {
	op     ws.OpCode
	fin    bool
	length uint64
	mask   [4]byte
	size   int // of the header itself
}

// parseHeader reads the header at the start of b (RFC 6455 section 5.2). ok is
// false while b is too short to hold it.
func parseHeader(b []byte) (h header, ok bool, err *violation) {
	if len(b) < 2 {
		return h, false, nil
	}
	h.fin, h.op = b[0]&0x80 != 0, ws.OpCode(b[0]&0x0f)
	switch {
	case b[0]&0x70 != 0:
		return h, false, protocolError("reserved bits are set and no extension was negotiated")
	case h.op.IsReserved():
		return h, false, protocolError("reserved opcode")
	case b[1]&0x80 == 0:
		return h, false, protocolError("a client's frames must be masked")
	}
	h.size = 2
	h.length = uint64(b[1] & 0x7f)
	if h.op.IsControl() && (!h.fin || h.length > ws.MaxControlFramePayloadSize) {
		return h, false, protocolError("a control frame must be whole and at most 125 bytes")
	}
	switch h.length {
	case 126:
		if len(b) < 4 {
			return h, false, nil
		}
		h.length, h.size = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if h.length < 126 {
			return h, false, protocolError("a length must have the fewest bytes it can")
		}
	case 127:
		if len(b) < 10 {
			return h, false, nil
		}
		h.length, h.size = binary.BigEndian.Uint64(b[2:]), 10
		switch {
		case h.length>>63 != 0:
			return h, false, protocolError("the top bit of a length must be zero")
		case h.length < 1<<16:
			return h, false, protocolError("a length must have the fewest bytes it can")
		}
	}
	if len(b) < h.size+4 {
		return h, false, nil
	}
	h.mask = [4]byte(b[h.size:])
	h.size += 4
	return h, true, nil
}

// sink takes what a client sent. Each returns false to stop.
type sink interface {
	message(payload []byte) bool
	control(op ws.OpCode, payload []byte) bool
}

// assembler turns bytes into messages. Between frames it holds no memory.
type assembler struct {
	limit   int
	partial []byte // the beginning of a frame
	message []byte // the fragments so far
	op      ws.OpCode
	checked int // how much of message is known to be UTF-8
}

// feed takes more bytes, which it may change, and hands on what is complete.
// It reports whether to go on.
func (a *assembler) feed(b []byte, to sink) (bool, *violation) {
	data := b
	if len(a.partial) > 0 {
		a.partial = append(a.partial, b...)
		data = a.partial
	}
	for {
		h, ok, err := parseHeader(data)
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
		if !h.op.IsControl() && h.length > uint64(a.limit-len(a.message)) {
			return false, &violation{ws.StatusMessageTooBig, "message too big"}
		}
		end := uint64(h.size) + h.length
		if uint64(len(data)) < end {
			break
		}
		payload := data[h.size:end]
		ws.Cipher(payload, h.mask, 0)
		data = data[end:]
		if more, err := a.frame(&h, payload, to); err != nil || !more {
			return false, err
		}
	}
	a.keep(data, len(b))
	return true, nil
}

// keep holds on to the beginning of a frame. read is how many bytes came last.
func (a *assembler) keep(rest []byte, read int) {
	switch {
	case len(rest) == 0:
		a.partial = nil
	case len(a.partial) == 0 || len(rest) <= read:
		a.partial = append(make([]byte, 0, len(rest)+maxHeader), rest...)
	default:
		a.partial = rest
	}
}

func (a *assembler) frame(h *header, payload []byte, to sink) (bool, *violation) {
	if h.op.IsControl() {
		return to.control(h.op, payload), nil
	}
	if (h.op == ws.OpContinuation) != (a.op != 0) {
		return false, protocolError("a fragment is out of place")
	}
	if h.fin && a.op == 0 {
		if h.op == ws.OpText && !utf8.Valid(payload) {
			return false, &violation{ws.StatusInvalidFramePayloadData, "text is not valid UTF-8"}
		}
		return to.message(payload), nil
	}
	if a.op == 0 {
		a.op = h.op
	}
	a.message = append(a.message, payload...)
	if a.op == ws.OpText && !a.textSoFar(h.fin) {
		return false, &violation{ws.StatusInvalidFramePayloadData, "text is not valid UTF-8"}
	}
	if !h.fin {
		return true, nil
	}
	whole := a.message
	a.message, a.op, a.checked = nil, 0, 0
	return to.message(whole), nil
}

// textSoFar reports whether the fragments so far can be, or with the last one
// are, UTF-8.
func (a *assembler) textSoFar(last bool) bool {
	for rest := a.message[a.checked:]; len(rest) > 0; rest = a.message[a.checked:] {
		if !utf8.FullRune(rest) {
			return !last
		}
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		a.checked += n
	}
	return true
}

// Op is what a frame carries.
type Op = ws.OpCode

// What a dialogue sends.
const (
	Text   = ws.OpText
	Binary = ws.OpBinary
)

// StatusTryAgainLater is in the registry of RFC 6455 section 11.7.
const StatusTryAgainLater = 1013

// AppendFrame appends an unmasked, unfragmented frame, as a server sends it.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// AppendClose appends a close frame. A reason that is too long for one is cut.
func AppendClose(dst []byte, code uint32, reason string) []byte {
	reason = reason[:min(len(reason), ws.MaxControlFramePayloadSize-2)]
	for !utf8.ValidString(reason) {
		reason = reason[:len(reason)-1]
	}
	body := binary.BigEndian.AppendUint16(nil, uint16(code))
	return AppendFrame(dst, ws.OpClose, append(body, reason...))
}

// answerClose returns the close frame that answers a client's (section 5.5.1).
func answerClose(payload []byte) []byte {
	if len(payload) == 0 {
		return AppendFrame(nil, ws.OpClose, nil)
	}
	if len(payload) == 1 {
		return AppendClose(nil, uint32(ws.StatusProtocolError), "a close code has two bytes")
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(payload))
	switch {
	case !mayBeSent(code):
		return AppendClose(nil, uint32(ws.StatusProtocolError), "no such close code")
	case !utf8.Valid(payload[2:]):
		return AppendClose(nil, uint32(ws.StatusInvalidFramePayloadData), "the close reason is not valid UTF-8")
	}
	return AppendClose(nil, uint32(code), "")
}

// mayBeSent reports whether a close code may stand in a frame (section 7.4).
func mayBeSent(code ws.StatusCode) bool {
	switch {
	case code >= 3000 && code < 5000:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != ws.StatusNoStatusRcvd && code != ws.StatusAbnormalClosure
}
