package swarm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// jsonDialect is the protocol in JSON: messages of lines, a line is a reply.
// Publications and acknowledgements in the shape every known server writes
// them are recognised by their bytes; any other shape is parsed.
type jsonDialect struct {
	offsets bool // whether offsets of publications are wanted: looking costs
}

const (
	jsonPush   = `{"push":{`
	jsonAck    = `{"id":`
	jsonAcked  = `,"publish":{`
	jsonOffset = `"offset":`
)

func (jsonDialect) subprotocol() string { return "" }

func (jsonDialect) opcode() byte { return opText }

func (jsonDialect) pong(b []byte) []byte { return append(b, "{}"...) }

func (jsonDialect) connect(b []byte, id uint32, token string) []byte {
	b = appendCommand(b, id, `,"connect":{"name":"bench"`)
	if token != "" {
		b = append(b, `,"token":`...)
		b = appendString(b, token)
	}
	return append(b, "}}"...)
}

func (jsonDialect) subscribe(b []byte, id uint32, channel string, from since) []byte {
	b = appendCommand(b, id, `,"subscribe":{"channel":`)
	b = appendString(b, channel)
	if from.recoverable {
		b = append(b, `,"recoverable":true`...)
	}
	if from.recover {
		b = append(b, `,"recover":true,"epoch":`...)
		b = appendString(b, from.epoch)
		b = append(b, `,"offset":`...)
		b = strconv.AppendUint(b, from.offset, 10)
	}
	return append(b, "}}"...)
}

func (jsonDialect) publish(b []byte, id uint32, channel string, data []byte) []byte {
	b = appendCommand(b, id, `,"publish":{"channel":`)
	b = appendString(b, channel)
	b = append(b, `,"data":`...)
	b = append(b, data...)
	return append(b, "}}"...)
}

func (d jsonDialect) next(message []byte, r *reply) (rest []byte, err error) {
	r.reset()
	line := message
	if before, after, ok := bytes.Cut(message, []byte{'\n'}); ok {
		line, rest = before, after
	}
	switch {
	case len(line) == 2 && line[0] == '{' && line[1] == '}':
		r.kind = replyPing
		return rest, nil
	case bytes.HasPrefix(line, []byte(jsonPush)):
		if s, after, found := findStamp(line); found {
			r.kind = replyPublication
			r.publication.stamp = s
			if d.offsets {
				r.publication.offset = findOffset(line, after)
			}
			return rest, nil
		}
	case bytes.HasPrefix(line, []byte(jsonAck)):
		digits := line[len(jsonAck):]
		if i := bytes.IndexByte(digits, ','); i > 0 && bytes.HasPrefix(digits[i:], []byte(jsonAcked)) {
			if id, ok := parseUint(digits[:i]); ok {
				r.kind, r.id = replyResult, uint32(id)
				return rest, nil
			}
		}
	case len(bytes.TrimSpace(line)) == 0:
		return rest, nil
	}
	return rest, decodeJSON(line, r)
}

// findOffset reads the offset of a publication whose stamp was found: it
// usually follows the data, so after is searched first. 0 means none.
func findOffset(line, after []byte) uint64 {
	i := bytes.Index(after, []byte(jsonOffset))
	if i < 0 {
		after = line
		if i = bytes.Index(after, []byte(jsonOffset)); i < 0 {
			return 0
		}
	}
	digits := after[i+len(jsonOffset):]
	if end := bytes.IndexAny(digits, ",}"); end >= 0 {
		digits = digits[:end]
	}
	offset, _ := parseUint(digits)
	return offset
}

// jsonReply is as much of a reply as the generator looks at.
type jsonReply struct {
	ID    uint32 `json:"id"`
	Error *struct {
		Message string `json:"message"`
		Code    uint32 `json:"code"`
	} `json:"error"`
	Push *struct {
		Pub         *jsonPublication `json:"pub"`
		Unsubscribe *jsonEnd         `json:"unsubscribe"`
		Disconnect  *jsonEnd         `json:"disconnect"`
	} `json:"push"`
	Connect *struct {
		Pong bool `json:"pong"`
	} `json:"connect"`
	Subscribe *struct {
		Epoch        string            `json:"epoch"`
		Publications []jsonPublication `json:"publications"`
		Offset       uint64            `json:"offset"`
		Recoverable  bool              `json:"recoverable"`
		Recovering   bool              `json:"was_recovering"`
		Recovered    bool              `json:"recovered"`
	} `json:"subscribe"`
}

type jsonPublication struct {
	Data   json.RawMessage `json:"data"`
	Offset uint64          `json:"offset"`
}

type jsonEnd struct {
	Reason string `json:"reason"`
	Code   uint32 `json:"code"`
}

// decodeJSON parses a reply in whatever order its fields come.
func decodeJSON(line []byte, r *reply) error {
	var in jsonReply
	if err := json.Unmarshal(line, &in); err != nil {
		return fmt.Errorf("reply is not JSON: %w", err)
	}
	r.id = in.ID
	switch {
	case in.Error != nil:
		r.kind = replyRefused
		r.refused = &Refused{Code: in.Error.Code, Message: in.Error.Message}
	case in.Push != nil && in.Push.Pub != nil:
		if s, _, found := findStamp(in.Push.Pub.Data); found {
			r.kind = replyPublication
			r.publication = publication{stamp: s, offset: in.Push.Pub.Offset}
		}
	case in.Push != nil:
		for _, end := range []*jsonEnd{in.Push.Unsubscribe, in.Push.Disconnect} {
			if end != nil {
				r.kind = replyEnd
				r.refused = &Refused{Command: "staying subscribed", Code: end.Code, Message: end.Reason}
			}
		}
	case in.ID == 0:
		r.kind = replyPing
	default:
		r.kind = replyResult
		if in.Connect != nil {
			r.pong = in.Connect.Pong
		}
		if s := in.Subscribe; s != nil {
			r.epoch, r.offset = s.Epoch, s.Offset
			r.recoverable, r.recovering, r.recovered = s.Recoverable, s.Recovering, s.Recovered
			for _, p := range s.Publications {
				if st, _, found := findStamp(p.Data); found {
					r.publications = append(r.publications, publication{stamp: st, offset: p.Offset})
				}
			}
		}
	}
	return nil
}

func appendCommand(b []byte, id uint32, rest string) []byte {
	b = append(b, jsonAck...)
	b = strconv.AppendUint(b, uint64(id), 10)
	return append(b, rest...)
}

// appendString appends s as a JSON string, without an allocation when it needs
// no escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7E || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string never fails
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func parseUint(b []byte) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, true
}
