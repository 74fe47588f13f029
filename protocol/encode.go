package protocol

import (
	"encoding/binary"

	"github.com/centrifugal/protocol/cfjson"
)

// Format is one of the two encodings.
type Format uint8

// The formats.
const (
	JSON Format = iota
	Protobuf
)

// String returns the name of the format, as metrics and logs show it.
func (f Format) String() string {
	if f == Protobuf {
		return "protobuf"
	}
	return "json"
}

// pbMessage is what the generated Protobuf code offers of every message.
type pbMessage interface {
	SizeCF() int
	MarshalToSizedBufferCF(b []byte) (int, error)
}

// message is what both encoders need of a message.
type message interface {
	cfjson.Appender
	pbMessage
}

// AppendReply appends r to dst: in JSON without a delimiter, in Protobuf with
// its length before it.
func AppendReply(dst []byte, f Format, r *Reply) []byte { return appendMessage(dst, f, r) }

// AppendPush appends a bare push, as one-way transports carry it.
func AppendPush(dst []byte, f Format, p *Push) []byte { return appendMessage(dst, f, p) }

// AppendCommand appends c, as a client sends it.
func AppendCommand(dst []byte, f Format, c *Command) []byte { return appendMessage(dst, f, c) }

// AppendDelimiter appends what stands between two messages of a frame: a
// newline in JSON, nothing in Protobuf.
func AppendDelimiter(dst []byte, f Format) []byte {
	if f == JSON {
		return append(dst, '\n')
	}
	return dst
}

func appendMessage(dst []byte, f Format, m message) []byte {
	if f == JSON {
		return m.AppendJSON(dst)
	}
	size := m.SizeCF()
	dst = binary.AppendUvarint(dst, uint64(size))
	start := len(dst)
	for cap(dst) < start+size {
		dst = append(dst[:cap(dst)], 0)
	}
	dst = dst[:start+size]
	n, err := m.MarshalToSizedBufferCF(dst[start:])
	if err != nil || n != size {
		// The generated code fails only for a buffer smaller than SizeCF said.
		panic("protocol: message size changed while encoding")
	}
	return dst
}
