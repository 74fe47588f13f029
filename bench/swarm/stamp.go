package swarm

import (
	"bytes"
	"fmt"
	"time"
)

// MinPayload is the smallest publication, in bytes: a stamp in a JSON object
// with room for the padding's key.
const MinPayload = 64

// The layout of a payload: an object whose first value is 8 hexadecimal digits
// of run, 8 of number and 16 of nanoseconds, filled up by a second value.
// Fixed width makes it readable without a JSON parser.
const (
	stampMarker = `"bench":"`
	stampDigits = 8 + 8 + 16
	stampFiller = `","pad":"`
	hexDigits   = "0123456789abcdef"
)

// stamp says which publication a delivery is.
type stamp struct {
	sent   time.Duration // since the swarm's start
	run    uint32
	number uint32
}

// AppendPayload appends a JSON object of exactly size bytes that carries the
// run, the number and the time of sending; size is at least [MinPayload].
func AppendPayload(b []byte, size int, run, number uint32, sent time.Duration) []byte {
	start := len(b)
	b = append(b, '{')
	b = append(b, stampMarker...)
	b = appendHex(b, uint64(run), 8)
	b = appendHex(b, uint64(number), 8)
	b = appendHex(b, uint64(sent), 16)
	b = append(b, stampFiller...)
	for len(b)-start < size-len(`"}`) {
		b = append(b, 'x')
	}
	return append(b, `"}`...)
}

// findStamp looks for the first stamp in b; next is what follows it.
func findStamp(b []byte) (s stamp, next []byte, found bool) {
	i := bytes.Index(b, []byte(stampMarker))
	if i < 0 {
		return stamp{}, nil, false
	}
	b = b[i+len(stampMarker):]
	if len(b) < stampDigits {
		return stamp{}, nil, false
	}
	run, ok1 := parseHex(b[:8])
	number, ok2 := parseHex(b[8:16])
	sent, ok3 := parseHex(b[16:32])
	if !ok1 || !ok2 || !ok3 {
		return stamp{}, nil, false
	}
	s = stamp{run: uint32(run), number: uint32(number), sent: time.Duration(sent)}
	return s, b[stampDigits:], true
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&0xF])
	}
	return b
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// checkPayload says what is wrong with a payload size.
func checkPayload(size int) error {
	if size < MinPayload || size > MaxMessage/2 {
		return fmt.Errorf("payload of %d bytes: want %d to %d", size, MinPayload, MaxMessage/2)
	}
	return nil
}
