package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"

	"myelin/channel"
)

// wireVersion is how nodes speak on the bus. Nodes of different versions do
// not take part in each other's bus. What comes first in a frame, up to and
// with the id, is the same in all versions.
const wireVersion = 1

// frameKind is what a frame is.
type frameKind byte

// The kinds. Their numbers are on the wire.
const (
	// frameHello: the sender is alive.
	frameHello frameKind = 1
	// frameBye: it is not any more.
	frameBye frameKind = 2
	// frameTaken: the id of the receiver is that of the sender already.
	frameTaken     frameKind = 3
	frameBroadcast frameKind = 4
	frameRequest   frameKind = 5
	frameReply     frameKind = 6
	frameFailure   frameKind = 7
	// frameCancel: nobody waits for the answer any more.
	frameCancel frameKind = 8
)

// The flags of a hello.
const (
	// helloClaim: the sender wants the id, and is not there yet.
	helloClaim = 1
	// helloAnswer: the sender wants a hello back.
	helloAnswer = 2
)

const (
	// maxTopicBytes is how long the name of a topic may be.
	maxTopicBytes = 64
	// maxDetailBytes is how long the address and the version of a node may be.
	maxDetailBytes = 255
	// maxReasonBytes is how long the message of an error may be.
	maxReasonBytes = 4 << 10
	// frameRoom is more than what a frame has beside its payload.
	frameRoom = 1 << 10
)

// frame is one message on the bus. Which fields count depends on the kind.
type frame struct {
	kind        frameKind
	incarnation uint64
	id          string

	// Hello.
	flags         byte
	addr, version string
	// Taken, request, reply, failure and cancel: whom it is for.
	target uint64
	// Request, reply, failure and cancel: which request.
	number uint64
	// Request: how many milliseconds it is waited for; 0 for no limit.
	patience uint32
	// Broadcast and request.
	topic string
	// Failure.
	failure *channel.Error
	// Broadcast, request and reply. It is not copied.
	payload []byte
}

// appendTo appends the frame as it is sent.
func (f *frame) appendTo(b []byte) []byte {
	b = append(b, wireVersion, byte(f.kind))
	b = binary.LittleEndian.AppendUint64(b, f.incarnation)
	b = appendShort(b, f.id)
	switch f.kind {
	case frameHello:
		b = append(b, f.flags)
		b = appendShort(appendShort(b, f.addr), f.version)
	case frameTaken:
		b = binary.LittleEndian.AppendUint64(b, f.target)
	case frameBroadcast:
		b = append(appendShort(b, f.topic), f.payload...)
	case frameRequest:
		b = f.appendCall(b)
		b = binary.LittleEndian.AppendUint32(b, f.patience)
		b = append(appendShort(b, f.topic), f.payload...)
	case frameReply:
		b = append(f.appendCall(b), f.payload...)
	case frameCancel:
		b = f.appendCall(b)
	case frameFailure:
		b = f.appendCall(b)
		b = binary.LittleEndian.AppendUint32(b, uint32(f.failure.Code))
		b = binary.LittleEndian.AppendUint64(b, f.failure.Current)
		temporary := byte(0)
		if f.failure.Temporary {
			temporary = 1
		}
		b = append(b, temporary)
		b = append(b, f.failure.Message[:min(len(f.failure.Message), maxReasonBytes)]...)
	case frameBye:
	}
	return b
}

func (f *frame) appendCall(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, f.target)
	return binary.LittleEndian.AppendUint64(b, f.number)
}

// appendShort appends a text of at most 255 bytes and its length.
func appendShort(b []byte, s string) []byte {
	s = s[:min(len(s), maxDetailBytes)]
	return append(append(b, byte(len(s))), s...)
}

// otherVersion is what is wrong with a frame of another version.
type otherVersion struct {
	id      string
	version byte
}

// Error says which version it is.
func (e *otherVersion) Error() string {
	return fmt.Sprintf("node %q speaks version %d of the bus", e.id, e.version)
}

var errFrame = errors.New("not a frame of the bus")

// parseFrame takes a frame apart. Its payload is within b.
func parseFrame(b []byte) (*frame, error) {
	r := reader{b: b}
	version := r.byte()
	f := &frame{kind: frameKind(r.byte()), incarnation: r.uint64()}
	f.id = r.short(maxNameBytes)
	if r.bad || checkName("node", f.id) != nil || f.incarnation == 0 {
		return nil, errFrame
	}
	if version != wireVersion {
		return nil, &otherVersion{f.id, version}
	}
	f.parseBody(&r)
	if r.bad {
		return nil, errFrame
	}
	return f, nil
}

func (f *frame) parseBody(r *reader) {
	switch f.kind {
	case frameHello:
		f.flags = r.byte()
		f.addr, f.version = r.short(maxDetailBytes), r.short(maxDetailBytes)
		r.end()
	case frameTaken:
		f.target = r.uint64()
		r.end()
	case frameBroadcast:
		f.topic = r.topic()
		f.payload = r.rest(channel.MaxBusMessage)
	case frameRequest:
		f.target, f.number, f.patience = r.uint64(), r.uint64(), r.uint32()
		f.topic = r.topic()
		f.payload = r.rest(channel.MaxBusMessage)
	case frameReply:
		f.target, f.number = r.uint64(), r.uint64()
		f.payload = r.rest(channel.MaxBusMessage)
	case frameCancel:
		f.target, f.number = r.uint64(), r.uint64()
		r.end()
	case frameFailure:
		f.target, f.number = r.uint64(), r.uint64()
		f.failure = &channel.Error{Code: channel.Code(r.uint32()), Current: r.uint64()}
		f.failure.Temporary = r.byte() == 1
		f.failure.Message = string(r.rest(maxReasonBytes))
	case frameBye:
		r.end()
	default:
		r.bad = true
	}
}

// reader takes bytes apart. Once something was missing it is bad, and gives
// zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) short(limit int) string {
	n := int(r.byte())
	if n > limit {
		r.bad = true
	}
	return string(r.take(n))
}

func (r *reader) topic() string {
	topic := r.short(maxTopicBytes)
	if topic == "" {
		r.bad = true
	}
	return topic
}

func (r *reader) rest(limit int) []byte {
	if len(r.b) > limit {
		r.bad = true
	}
	return r.take(len(r.b))
}

func (r *reader) end() {
	if len(r.b) > 0 {
		r.bad = true
	}
}
