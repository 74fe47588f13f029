package swarm

import (
	"encoding/binary"
	"errors"
)

// protobufDialect is the protocol in Protobuf: messages of length-delimited
// replies. The few fields the generator needs are read and written by hand; the
// numbers are those of client.proto, which promises never to change them.
type protobufDialect struct{}

// Field numbers of Command and Reply.
const (
	fieldID        = 1
	fieldError     = 2
	fieldPush      = 4
	fieldConnect   = 4 // of a command
	fieldConnected = 5 // of a reply
	fieldSubscribe = 5 // of a command
	fieldSubbed    = 6 // of a reply
	fieldPublish   = 7 // of a command
)

// Wire types of the Protobuf encoding.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var errProtobuf = errors.New("reply is not valid Protobuf")

func (protobufDialect) subprotocol() string { return "centrifuge-protobuf" }

func (protobufDialect) opcode() byte { return opBinary }

// pong is an empty command: a length of zero.
func (protobufDialect) pong(b []byte) []byte { return append(b, 0) }

func (protobufDialect) connect(b []byte, id uint32, token string) []byte {
	var body []byte
	if token != "" {
		body = appendBytes(body, 1, token)
	}
	body = appendBytes(body, 4, "bench")
	return appendProtobufCommand(b, id, fieldConnect, body)
}

func (protobufDialect) subscribe(b []byte, id uint32, channel string, from since) []byte {
	body := appendBytes(nil, 1, channel)
	if from.recover {
		body = appendVarint(body, 3, 1)
		body = appendBytes(body, 6, from.epoch)
		body = appendVarint(body, 7, from.offset)
	}
	if from.recoverable {
		body = appendVarint(body, 10, 1)
	}
	return appendProtobufCommand(b, id, fieldSubscribe, body)
}

func (protobufDialect) publish(b []byte, id uint32, channel string, data []byte) []byte {
	body := appendBytes(make([]byte, 0, len(channel)+len(data)+16), 1, channel)
	body = appendBytes(body, 2, data)
	return appendProtobufCommand(b, id, fieldPublish, body)
}

func (protobufDialect) next(message []byte, r *reply) (rest []byte, err error) {
	r.reset()
	length, n := binary.Uvarint(message)
	if n <= 0 || length > uint64(len(message)-n) {
		return nil, errProtobuf
	}
	body, rest := message[n:n+int(length)], message[n+int(length):]
	if len(body) == 0 {
		r.kind = replyPing
		return rest, nil
	}
	r.kind = replyResult
	for len(body) > 0 {
		var f field
		if f, body, err = nextField(body); err != nil {
			return nil, err
		}
		switch f.number {
		case fieldID:
			r.id = uint32(f.value)
		case fieldError:
			r.kind = replyRefused
			r.refused = &Refused{}
			err = r.refused.decode(f.bytes, 1, 2)
		case fieldPush:
			err = r.decodePush(f.bytes)
		case fieldConnected:
			err = eachField(f.bytes, func(f field) error {
				if f.number == 8 {
					r.pong = f.value != 0
				}
				return nil
			})
		case fieldSubbed:
			err = eachField(f.bytes, r.decodeSubscribed)
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// decodePush reads a push, which is a publication unless it ends something.
func (r *reply) decodePush(b []byte) (err error) {
	r.kind = replyOther
	for len(b) > 0 {
		var f field
		if f, b, err = nextField(b); err != nil {
			return err
		}
		switch f.number {
		case 4: // publication
			p, found, err := decodePublication(f.bytes)
			if err != nil {
				return err
			}
			if found {
				r.kind, r.publication = replyPublication, p
			}
		case 7, 11: // unsubscribe (code 2, reason 3), disconnect (code 1, reason 2)
			code := 2
			if f.number == 11 {
				code = 1
			}
			r.kind = replyEnd
			r.refused = &Refused{Command: "staying subscribed"}
			if err := r.refused.decode(f.bytes, code, code+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeSubscribed takes one field of a subscribe result.
func (r *reply) decodeSubscribed(f field) error {
	switch f.number {
	case 3:
		r.recoverable = f.value != 0
	case 6:
		r.epoch = string(f.bytes)
	case 7:
		p, found, err := decodePublication(f.bytes)
		if err != nil {
			return err
		}
		if found {
			r.publications = append(r.publications, p)
		}
	case 8:
		r.recovered = f.value != 0
	case 9:
		r.offset = f.value
	case 12:
		r.recovering = f.value != 0
	}
	return nil
}

// decodePublication reads the stamp in the data and the offset.
func decodePublication(b []byte) (p publication, found bool, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = nextField(b); err != nil {
			return publication{}, false, err
		}
		switch f.number {
		case 4:
			p.stamp, _, found = findStamp(f.bytes)
		case 6:
			p.offset = f.value
		}
	}
	return p, found, nil
}

// decode reads a code and a text from the fields with those numbers.
func (r *Refused) decode(b []byte, code, message int) error {
	return eachField(b, func(f field) error {
		switch f.number {
		case code:
			r.Code = uint32(f.value)
		case message:
			r.Message = string(f.bytes)
		}
		return nil
	})
}

// field is one field of a Protobuf message.
type field struct {
	bytes  []byte
	value  uint64
	number int
}

// nextField reads the field at the start of b, which is not empty.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return field{}, nil, errProtobuf
	}
	b = b[n:]
	f.number = int(tag >> 3)
	switch tag & 7 {
	case wireVarint:
		if f.value, n = binary.Uvarint(b); n <= 0 {
			return field{}, nil, errProtobuf
		}
		return f, b[n:], nil
	case wireBytes:
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return field{}, nil, errProtobuf
		}
		f.bytes = b[n : n+int(length)]
		return f, b[n+int(length):], nil
	case wireFixed64:
		if len(b) < 8 {
			return field{}, nil, errProtobuf
		}
		return f, b[8:], nil
	case wireFixed32:
		if len(b) < 4 {
			return field{}, nil, errProtobuf
		}
		return f, b[4:], nil
	}
	return field{}, nil, errProtobuf
}

func eachField(b []byte, take func(field) error) error {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		if err := take(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func appendVarint(b []byte, number int, v uint64) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireVarint)
	return binary.AppendUvarint(b, v)
}

func appendBytes[T ~string | ~[]byte](b []byte, number int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendProtobufCommand(b []byte, id uint32, number int, body []byte) []byte {
	command := appendVarint(make([]byte, 0, len(body)+16), fieldID, uint64(id))
	command = appendBytes(command, number, body)
	b = binary.AppendUvarint(b, uint64(len(command)))
	return append(b, command...)
}
