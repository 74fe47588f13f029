package socket_test

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/gobwas/ws"
)

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
