package channel

import "context"

// Bus carries messages between the nodes of a cluster, at most once: presence,
// disconnects, surveys. A node on its own has none.
//
// Rules that every bus obeys, and that channeltest proves:
//   - What one node broadcasts on one topic arrives at another in order, each
//     message at most once, one call at a time.
//   - A peer is announced as up before anything of it is heard, and nothing of
//     an incarnation is heard after it was announced as down.
//   - A node that dies, or is cut off, is announced as down to each of the
//     others within 6 s, and its restart is another incarnation.
//   - A slow listener makes the bus drop messages, never block a sender. Who
//     cannot bear a loss numbers its messages.
//   - Methods may be called from any goroutine. Errors are *Error.
type Bus interface {
	// Self returns this node.
	Self() Node
	// Peers returns the other nodes believed alive.
	Peers() []Node
	// Watch has fn called for every peer that comes and goes, one at a time.
	// It must be called before the bus starts, as Hear and Answer must.
	Watch(fn func(PeerEvent))
	// Hear has fn called with the broadcasts of others on a topic. It must not
	// block: it holds up what comes next.
	Hear(topic string, fn func(from Node, b []byte))
	// Answer has fn called with requests of others on a topic, many at a time.
	// ctx ends when nobody waits for the answer any more. An *Error reaches who
	// asked with its code and its message.
	Answer(topic string, fn func(ctx context.Context, from Node, b []byte) ([]byte, error))
	// Broadcast sends to all peers and does not wait. The bus does not keep b.
	Broadcast(topic string, b []byte) error
	// Request asks one node, by its id, and waits for the answer or for ctx.
	// ErrUnavailable where the node is not known, or nobody answers there.
	Request(ctx context.Context, node, topic string, b []byte) ([]byte, error)
}

// Node is one process of a cluster. The same ID with another Incarnation is a
// restarted process: members of the old one are gone.
type Node struct {
	// ID is the name that an operator gave it: 1 to 64 letters, digits, "-",
	// "_" and "." within.
	ID          string
	Incarnation uint64
	// Addr is where its HTTP listener answers, for operators.
	Addr string
	// Version is that of its build, for operators.
	Version string
}

// PeerEvent is a peer that came or went.
type PeerEvent struct {
	Node Node
	// Up: it is there now. Otherwise it is gone: it stopped, it died, it was
	// cut off, or another incarnation of it has come.
	Up bool
}

// MaxBusMessage is how many bytes one message on the bus may have.
const MaxBusMessage = 512 << 10
