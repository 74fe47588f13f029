package client

import (
	"sync"

	"github.com/gobwas/ws"

	"myelin/protocol"
)

// maxJoined is up to which size commands are joined into one frame: well below
// the message limit of any server, which applies to frames.
const maxJoined = 16 << 10

// outbox holds what waits to be written to one connection.
type outbox struct {
	wake chan struct{} // capacity 1; a token says that there is something
	mu   struct {
		sync.Mutex
		items []outgoing
		bytes int
	}
	limit  int
	format protocol.Format
}

// outgoing is one command or one WebSocket control frame.
type outgoing struct {
	op      ws.OpCode
	payload []byte
}

func newOutbox(limit int, format protocol.Format) *outbox {
	return &outbox{wake: make(chan struct{}, 1), limit: limit, format: format}
}

// push adds an item, or says that there is no room for it.
func (o *outbox) push(item outgoing) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Every item costs a little more than its bytes, so that empty ones are
	// bounded too.
	size := len(item.payload) + ws.MaxHeaderSize
	if o.mu.bytes+size > o.limit {
		return false
	}
	o.mu.items = append(o.mu.items, item)
	o.mu.bytes += size
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return true
}

// take removes everything.
func (o *outbox) take() []outgoing {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := o.mu.items
	o.mu.items, o.mu.bytes = nil, 0
	return items
}

// appendFrames appends the items as frames, joining neighbouring commands.
func (o *outbox) appendFrames(dst []byte, items []outgoing) []byte {
	for len(items) > 0 {
		first := items[0]
		items = items[1:]
		payload := first.payload
		if !first.op.IsControl() && len(items) > 0 {
			payload = append([]byte(nil), payload...)
			for len(items) > 0 && items[0].op == first.op && len(payload)+len(items[0].payload) < maxJoined {
				payload = protocol.AppendDelimiter(payload, o.format)
				payload = append(payload, items[0].payload...)
				items = items[1:]
			}
		}
		dst = appendFrame(dst, first.op, payload)
	}
	return dst
}
