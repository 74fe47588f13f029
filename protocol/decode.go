package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/centrifugal/protocol/cfjson"
)

// MaxMessages is how many messages one frame may hold.
const MaxMessages = 4096

// MaxDepth is how deep JSON may be nested in what a client sends. What a server
// sends wraps payloads deeper, and has no such limit.
const MaxDepth = 128

// Decoding errors. They are wrapped with detail.
var (
	ErrMalformed       = errors.New("malformed frame")
	ErrTooManyMessages = fmt.Errorf("%w: more than %d messages", ErrMalformed, MaxMessages)
	ErrTooDeep         = fmt.Errorf("%w: JSON nested deeper than %d", ErrMalformed, MaxDepth)
	ErrNotUTF8         = fmt.Errorf("%w: JSON is not valid UTF-8", ErrMalformed)
	ErrNull            = fmt.Errorf("%w: null in a list or map of messages", ErrMalformed)
)

// DecodeCommands calls fn for each command of a frame, in order, until one
// fails.
func DecodeCommands(f Format, frame []byte, fn func(*Command) error) error {
	return eachMessage(f, frame, func(b []byte) error {
		var c Command
		if err := unmarshalRequest(f, b, &c); err != nil {
			return err
		}
		if commandHasNull(&c) {
			return ErrNull
		}
		return fn(&c)
	})
}

// DecodeReplies calls fn for each reply of a frame, in order, until one fails.
func DecodeReplies(f Format, frame []byte, fn func(*Reply) error) error {
	return eachMessage(f, frame, func(b []byte) error {
		var r Reply
		if err := unmarshal(f, b, &r); err != nil {
			return err
		}
		if replyHasNull(&r) {
			return ErrNull
		}
		return fn(&r)
	})
}

// DecodePushes calls fn for each bare push of a frame, in order, until one
// fails.
func DecodePushes(f Format, frame []byte, fn func(*Push) error) error {
	return eachMessage(f, frame, func(b []byte) error {
		var p Push
		if err := unmarshal(f, b, &p); err != nil {
			return err
		}
		if pushHasNull(&p) {
			return ErrNull
		}
		return fn(&p)
	})
}

// DecodeConnectRequest decodes the connect request of a one-way transport,
// which comes as one message without a delimiter.
func DecodeConnectRequest(f Format, b []byte) (*ConnectRequest, error) {
	var r ConnectRequest
	if err := unmarshalRequest(f, b, &r); err != nil {
		return nil, err
	}
	if requestsHaveNull(r.Subs) {
		return nil, ErrNull
	}
	return &r, nil
}

// DecodeEmulationRequest decodes the body of a request to /emulation. Data
// holds a frame of commands: in JSON the text inside a JSON string.
func DecodeEmulationRequest(f Format, b []byte) (*EmulationRequest, error) {
	var r EmulationRequest
	if err := unmarshalRequest(f, b, &r); err != nil {
		return nil, err
	}
	if f == Protobuf {
		return &r, nil
	}
	text, err := unquote(r.Data)
	if err != nil {
		return nil, err
	}
	r.Data = text
	return &r, nil
}

// decoder is what the generated code offers of every message.
type decoder interface {
	cfjson.Decoder
	UnmarshalCF(b []byte) error
}

// unmarshalRequest decodes what a client sent.
func unmarshalRequest(f Format, b []byte, m decoder) error {
	if f == JSON && depth(b) > MaxDepth {
		return ErrTooDeep
	}
	return unmarshal(f, b, m)
}

func unmarshal(f Format, b []byte, m decoder) error {
	if f == Protobuf {
		if err := m.UnmarshalCF(b); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	}
	if !utf8.Valid(b) {
		return ErrNotUTF8
	}
	if err := cfjson.Unmarshal(b, m, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// eachMessage splits a frame. Blank lines of a JSON frame are skipped, so that
// a trailing newline is no message.
func eachMessage(f Format, frame []byte, fn func([]byte) error) error {
	n := 0
	for len(frame) > 0 {
		var msg []byte
		if f == JSON {
			msg, frame, _ = bytes.Cut(frame, []byte{'\n'})
			if cfjson.SkipSpace(msg, 0) == len(msg) {
				continue
			}
		} else {
			size, used := binary.Uvarint(frame)
			if used <= 0 || size > uint64(len(frame)-used) {
				return fmt.Errorf("%w: a message is longer than its frame", ErrMalformed)
			}
			end := used + int(size)
			msg, frame = frame[used:end], frame[end:]
		}
		if n++; n > MaxMessages {
			return ErrTooManyMessages
		}
		if err := fn(msg); err != nil {
			return err
		}
	}
	return nil
}

// depth returns how deep the brackets of a JSON text nest, not looking into
// strings.
func depth(b []byte) int {
	level, deepest, inString := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
