// Package httpstream is the door for clients that read one long HTTP response:
// two-way at /connection/http_stream, where commands come by /emulation, and
// one-way at /connection/uni_http_stream.
//
// # Nouns
//
// A [Door] is an http.Handler whose responses are streams of messages of the
// client protocol: one line each in JSON; each behind its length in Protobuf,
// which a client asks for with the content type application/octet-stream.
//
// # Promises
//
// A two-way stream begins with the answer to the commands in the request's
// body. A one-way stream begins with a connect push, or the request gets an
// HTTP error and no stream. A one-way client resumes by naming its positions
// in the connect request.
//
// # Limits
//
// Those of conversation.Stream: what begins a conversation holds at most a
// message and its frame; a client that does not read ends by the timeout of a
// write, and by the hub's queue limit before.
package httpstream

import (
	"net/http"

	"myelin/conversation"
	"myelin/observe"
	"myelin/protocol"
)

// Options is what a Door is made of. Host is required.
type Options struct {
	Host *conversation.Host
	// OneWay makes it the door of clients that only listen.
	OneWay  bool
	Metrics *observe.Metrics
}

// Door answers requests with streams of messages.
type Door struct {
	stream   conversation.Stream
	json, pb conversation.Look
}

// New returns a door.
func New(o Options) *Door {
	name := "http_stream"
	if o.OneWay {
		name = "uni_http_stream"
	}
	look := func(f protocol.Format, contentType string) conversation.Look {
		frame := func(dst, message []byte, _ string) []byte {
			return protocol.AppendDelimiter(append(dst, message...), f)
		}
		return conversation.Look{
			Wire:        conversation.NewWire(f, conversation.Framing{Frame: frame}, o.OneWay),
			ContentType: contentType,
		}
	}
	return &Door{
		stream: conversation.Stream{Host: o.Host, OneWay: o.OneWay, Name: name, Metrics: o.Metrics.Door(name)},
		json:   look(protocol.JSON, "application/json"),
		pb:     look(protocol.Protobuf, "application/octet-stream"),
	}
}

// ServeHTTP lives as long as the stream.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	look := d.json
	if conversation.FormatOf(r) == protocol.Protobuf {
		look = d.pb
	}
	d.stream.Serve(w, r, look)
}
