package swarm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxMessage is the largest message a member accepts, in bytes, whether it
// comes in one frame or in several.
const MaxMessage = 1 << 20

// The opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// maxControl is the largest payload of a control frame, RFC 6455 section 5.5.
const maxControl = 125

var (
	errMasked   = errors.New("frame from the server is masked")
	errReserved = errors.New("frame has reserved bits set although no extension was agreed")
	errControl  = errors.New("control frame is fragmented or longer than 125 bytes")
	errTooLarge = fmt.Errorf("message is larger than %d bytes", MaxMessage)
)

// frame is one WebSocket frame from the server; payload points into the bytes
// it was parsed from.
type frame struct {
	payload []byte
	opcode  byte
	final   bool
}

// parseFrame reads the frame at the start of b. A size of 0 without an error
// means that b does not hold all of it yet.
func parseFrame(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return frame{}, 0, nil
	}
	f.final = b[0]&0x80 != 0
	f.opcode = b[0] & 0x0F
	if b[0]&0x70 != 0 {
		return frame{}, 0, errReserved
	}
	if b[1]&0x80 != 0 {
		return frame{}, 0, errMasked
	}
	length, header := uint64(b[1]), 2
	switch length {
	case 126:
		header = 4
		if len(b) < header {
			return frame{}, 0, nil
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		header = 10
		if len(b) < header {
			return frame{}, 0, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
	}
	switch f.opcode {
	case opContinuation, opText, opBinary:
		if length > MaxMessage {
			return frame{}, 0, errTooLarge
		}
	case opClose, opPing, opPong:
		if !f.final || length > maxControl {
			return frame{}, 0, errControl
		}
	default:
		return frame{}, 0, fmt.Errorf("frame has unknown opcode %#x", f.opcode)
	}
	size = header + int(length)
	if len(b) < size {
		return frame{}, 0, nil
	}
	f.payload = b[header:size]
	return f, size, nil
}

// appendFrame appends one final, masked frame. The masking key is zero: valid
// framing (RFC 6455 section 5.3 only asks that intermediaries cannot be
// attacked through it, and there are none here) that leaves the payload as is.
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	b = appendHeader(b, opcode, 0x80, len(payload))
	b = append(b, 0, 0, 0, 0)
	return append(b, payload...)
}

// AppendServerFrame appends one final text frame as a server writes it.
func AppendServerFrame(b, payload []byte) []byte {
	return append(appendHeader(b, opText, 0, len(payload)), payload...)
}

// appendHeader appends a final frame's header up to its masking key.
func appendHeader(b []byte, opcode, mask byte, n int) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case n < 126:
		return append(b, mask|byte(n))
	case n <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
}

// Disconnected says that the server ended a connection with a close frame.
type Disconnected struct {
	// Reason is the server's text, often empty.
	Reason string
	// Code is the close code: WebSocket's below 3000, the protocol's above.
	Code uint16
}

// Error names the code and the reason.
func (d *Disconnected) Error() string {
	return fmt.Sprintf("server closed the connection with code %d %q", d.Code, d.Reason)
}

// parseClose reads the body of a close frame; 1005 stands for a missing code.
func parseClose(payload []byte) *Disconnected {
	if len(payload) < 2 {
		return &Disconnected{Code: 1005}
	}
	return &Disconnected{Code: binary.BigEndian.Uint16(payload), Reason: string(payload[2:])}
}
