package socket

import "github.com/gobwas/ws"

// Assembler is an assembler and what it has handed on.
type Assembler struct {
	a assembler
	// Messages and Controls are what was handed on. Stop ends it after so many
	// messages.
	Messages []string
	Controls []string
	Stop     int
}

// NewAssembler returns an assembler of messages up to limit.
func NewAssembler(limit int) *Assembler { return &Assembler{a: assembler{limit: limit}} }

// Feed feeds a copy of b. code is that of a violation, 0 for none.
func (a *Assembler) Feed(b []byte) (more bool, code uint16) {
	more, broken := a.a.feed(append([]byte(nil), b...), a)
	if broken != nil {
		return more, uint16(broken.code)
	}
	return more, 0
}

// Held returns how much memory is held.
func (a *Assembler) Held() int { return cap(a.a.partial) + cap(a.a.message) }

func (a *Assembler) message(payload []byte) bool {
	a.Messages = append(a.Messages, string(payload))
	return len(a.Messages) != a.Stop
}

func (a *Assembler) control(op ws.OpCode, payload []byte) bool {
	a.Controls = append(a.Controls, string(append([]byte{byte(op)}, payload...)))
	return true
}

// Header is a parsed header.
type Header struct {
	Op     byte
	Fin    bool
	Length uint64
	Size   int
	Mask   [4]byte
}

// ParseHeader parses a header.
func ParseHeader(b []byte) (Header, bool, error) {
	h, ok, err := parseHeader(b)
	out := Header{byte(h.op), h.fin, h.length, h.size, h.mask}
	if err != nil {
		return out, ok, err
	}
	return out, ok, nil
}
