package channel

import "context"

// Bus carries messages between nodes, at most once: presence, disconnects,
// surveys. A node on its own has none.
type Bus interface {
	// Self returns this node.
	Self() Node
	// Peers returns the other nodes believed alive.
	Peers() []Node
	// Send hands a message to one node, Broadcast to all others. Neither waits.
	Send(node, topic string, b []byte) error
	Broadcast(topic string, b []byte) error
	// Request asks one node and waits for its answer or for ctx.
	Request(ctx context.Context, node, topic string, b []byte) ([]byte, error)
}

// Node is one process of a cluster. The same ID with another Incarnation is a
// restarted process: members of the old one are gone.
type Node struct {
	ID          string
	Incarnation uint64
	// Addr is where its HTTP listener answers, for operators.
	Addr string
}
