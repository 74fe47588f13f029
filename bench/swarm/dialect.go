package swarm

import "fmt"

// dialect is the client protocol in one encoding. The commands append the
// payload of one message to b; next decodes what comes back.
type dialect interface {
	subprotocol() string
	opcode() byte
	connect(b []byte, id uint32, token string) []byte
	subscribe(b []byte, id uint32, channel string, from since) []byte
	publish(b []byte, id uint32, channel string, data []byte) []byte
	pong(b []byte) []byte

	// next decodes the first reply of a message into r, overwriting it, and
	// returns the rest of the message. What r holds points into the message.
	next(message []byte, r *reply) (rest []byte, err error)
}

// since is what a subscription asks to continue from.
type since struct {
	epoch       string
	offset      uint64
	recoverable bool // ask the server to keep a position
	recover     bool // continue from epoch and offset
}

// replyKind tells replies apart as far as a load generator cares.
type replyKind uint8

const (
	replyOther       replyKind = iota // join, leave, a publication of somebody else
	replyPing                         // the server wants a sign of life
	replyPublication                  // a stamped publication
	replyResult                       // an answer to a command
	replyRefused                      // an answer that is an error
	replyEnd                          // unsubscribed or disconnected by the server
)

// reply is one message from the server.
type reply struct {
	refused      *Refused
	epoch        string        // of a subscribe result
	publications []publication // recovered ones, of a subscribe result
	publication  publication
	offset       uint64 // of a subscribe result
	id           uint32
	kind         replyKind
	pong         bool // of a connect result: pings want pongs
	recoverable  bool // of a subscribe result
	recovering   bool // of a subscribe result
	recovered    bool // of a subscribe result
}

// reset empties r but keeps its slice's room.
func (r *reply) reset() {
	*r = reply{publications: r.publications[:0]}
}

// publication is a delivery reduced to what is checked.
type publication struct {
	stamp  stamp
	offset uint64
}

// Refused is an error the server answered a command with, or its reason for
// ending a subscription.
type Refused struct {
	// Command is what was asked.
	Command string
	// Message is the server's text.
	Message string
	// Code is the protocol's error code.
	Code uint32
}

// tooManyRequests is the protocol's code for a client beyond its rate.
const tooManyRequests = 111

// Error names the command, the code and the text.
func (r *Refused) Error() string {
	text := fmt.Sprintf("server refused %s: code %d %q", r.Command, r.Code, r.Message)
	if r.Code == tooManyRequests {
		text += "; to be measured it must allow one connection more commands per second"
	}
	return text
}
