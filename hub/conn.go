package hub

import (
	"time"

	"myelin/channel"
)

// Conn is a session's way out. The hub calls it from one goroutine at a time.
type Conn interface {
	// WriteNow hands over as much of p as the transport takes without
	// blocking and returns how much that was. p is not kept. After a short
	// write it is not called again before NotifyWritable has answered.
	WriteNow(p []byte) (int, error)
	// NotifyWritable arranges for one call of ready, from another goroutine,
	// as soon as WriteNow can go on or has an error to return.
	NotifyWritable(ready func())
	// Close releases the transport. What WriteNow took may still be sent.
	// It does not block.
	Close()
}

// Form turns events into the bytes of one wire format, framed and ready to
// write. The hub encodes each event once per form and gives the same bytes to
// every session of that form; forms are compared with ==. A Form is called
// from several goroutines at once, unless its session is private.
type Form interface {
	// AppendEvent appends e. Nothing appended means that clients of this form
	// do not hear of such events.
	AppendEvent(dst []byte, e *Event) []byte
}

// EventKind is what an Event tells.
type EventKind uint8

// The kinds of event.
const (
	// EventPublication: Channel, Pub and Recoverable are set.
	EventPublication EventKind = iota
	// EventJoin and EventLeave: Channel and Info are set.
	EventJoin
	EventLeave
	// EventPing asks for a sign of life.
	EventPing
	// EventUnsubscribed: the server ended a subscription; Channel, Code and
	// Reason are set.
	EventUnsubscribed
	// EventSubscribed: the server made a subscription; Channel, Position,
	// Recoverable and Data are set.
	EventSubscribed
	// EventRefreshed: the server moved the end of the connection; ExpiresAt
	// is set, and Now.
	EventRefreshed
	// EventPassed tells a private form of a publication that its session does
	// not get, because of a filter; what it appends is not sent. The fields are
	// those of EventPublication.
	EventPassed
	// EventDisconnected is the last one; Code and Reason are set, and Data
	// where the session was closed with a goodbye.
	EventDisconnected
	// EventUserJoin: the first connection of a user joined, EventUserLeave: the
	// last one left. Channel and Info are set.
	EventUserJoin
	EventUserLeave
	// EventNotice is the server's word about a channel that is no publication:
	// Channel and Data, which is JSON, are set.
	EventNotice
)

// Event is one thing that a session is told.
type Event struct {
	Kind EventKind
	// Channel is what the session subscribed to. Of a pattern it is the pattern,
	// and Pub says which channel it was published on.
	Channel string
	// order takes the place of the publication's offset where publications of
	// several channels come to one subscription; 0 elsewhere.
	order       uint64
	Pub         *channel.Publication
	Info        *channel.ClientInfo
	Position    channel.Position
	Recoverable bool
	// Whole: the client may not have what came before, see Grown.
	Whole bool
	// ID, where it is not 0, is how the client knows the channel, whose name it
	// then needs not be told.
	ID int64
	// Delta: the client takes patches of the data of publications. Base is the
	// one it has, to which a patch may be made; nil for none. Saved is set by
	// the form: how many bytes shorter than the data the patch is.
	Delta  bool
	Base   *channel.Publication
	Saved  int
	Data   []byte
	Code   uint32
	Reason string
	// ExpiresAt and Now are Unix seconds; ExpiresAt 0 is never.
	ExpiresAt int64
	Now       int64
}

// lingerTimeout is how long a closing session may take to send what is queued.
const lingerTimeout = 5 * time.Second
