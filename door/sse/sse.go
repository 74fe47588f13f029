// Package sse is the door for EventSource clients (WHATWG HTML, section 9.2):
// two-way at /connection/sse, where commands come by /emulation, and one-way
// at /connection/uni_sse.
//
// # Nouns
//
// A [Door] is an http.Handler whose responses are event streams. Each message
// of the client protocol is the data of one event.
//
// # Promises
//
// One-way events carry an id that tells where the client stands in every
// recoverable channel it listens to. A request with that id as Last-Event-ID
// gets what was missed, or is told in the connect push that it could not
// (was_recovering without recovered). A request that brings nothing to begin
// with, and a one-way request that is refused, get an HTTP error and no
// stream, so that EventSource does not come back.
//
// # Limits
//
// Those of conversation.Stream: what begins a conversation holds at most a
// message and its frame; a client that does not read ends by the timeout of a
// write, and by the hub's queue limit before.
package sse

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strconv"

	"myelin/conversation"
	"myelin/observe"
	"myelin/protocol"
)

// retryMs is how long EventSource is asked to wait before it comes back, at
// least; as much again is random, so that a restart is no stampede.
const retryMs = 500

// Options is what a Door is made of. Host is required.
type Options struct {
	Host *conversation.Host
	// OneWay makes it the door of clients that only listen.
	OneWay  bool
	Metrics *observe.Metrics
}

// Door answers requests with event streams.
type Door struct {
	stream conversation.Stream
	wire   *conversation.Wire
}

// New returns a door.
func New(o Options) *Door {
	name := "sse"
	if o.OneWay {
		name = "uni_sse"
	}
	return &Door{
		stream: conversation.Stream{Host: o.Host, OneWay: o.OneWay, Name: name, Metrics: o.Metrics.Door(name)},
		wire:   conversation.NewWire(protocol.JSON, conversation.Framing{Frame: appendEvent}, o.OneWay),
	}
}

// appendEvent appends one event. A carriage return ends a line of a stream;
// in JSON it can only be white space, so a blank says the same.
func appendEvent(dst, message []byte, id string) []byte {
	if id != "" {
		dst = append(dst, "id: "...)
		dst = append(dst, id...)
		dst = append(dst, '\n')
	}
	dst = append(dst, "data: "...)
	dst = append(dst, message...)
	if at := dst[len(dst)-len(message):]; bytes.IndexByte(at, '\r') >= 0 {
		for i, c := range at {
			if c == '\r' {
				at[i] = ' '
			}
		}
	}
	return append(dst, "\n\n"...)
}

// ServeHTTP lives as long as the stream.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	look := conversation.Look{Wire: d.wire, ContentType: "text/event-stream", Resumable: true}
	if d.stream.OneWay {
		look.Begin = strconv.AppendInt([]byte("retry: "), retryMs+rand.Int64N(retryMs), 10)
		look.Begin = append(look.Begin, "\n\n"...)
	}
	d.stream.Serve(w, r, look)
}
