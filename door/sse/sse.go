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
// (was_recovering without recovered). A one-way request that is refused gets
// an HTTP error and no stream, so that EventSource does not come back.
//
// # Limits
//
// What begins a conversation holds at most a message and its frame. A client
// that does not read holds pipeBytes here, a write that takes longer than
// writeTimeout ends it, and the hub's queue limit ends it before.
package sse

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"myelin/conversation"
	"myelin/hub"
	"myelin/internal/pipe"
	"myelin/observe"
	"myelin/protocol"
)

const (
	pipeBytes    = 16 << 10
	writeTimeout = 10 * time.Second
	// openingSlack is what an opening may hold beside a message.
	openingSlack = 32 << 10
	// retryMs is how long EventSource is asked to wait before it comes back,
	// at least; as much again is random, so that a restart is no stampede.
	retryMs = 500
)

// Options is what a Door is made of. Host is required.
type Options struct {
	Host *conversation.Host
	// OneWay makes it the door of clients that only listen.
	OneWay  bool
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Door answers requests with event streams.
type Door struct {
	opts    Options
	metrics *observe.Door
	wire    *conversation.Wire
}

// New returns a door.
func New(o Options) *Door {
	name := "sse"
	if o.OneWay {
		name = "uni_sse"
	}
	return &Door{
		opts: o, metrics: o.Metrics.Door(name),
		wire: conversation.NewWire(protocol.JSON, conversation.Framing{Frame: appendEvent}, o.OneWay),
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
	opening, err := conversation.Opening(w, r, d.opts.Host.Limits().MessageBytes+openingSlack)
	if err != nil {
		d.refuse(w, err)
		return
	}
	out := pipe.New(pipeBytes)
	conv, err := d.opts.Host.Open(conversation.Transport{
		Conn: out, Wire: d.wire, Emulated: !d.opts.OneWay, Resumable: d.opts.OneWay,
	})
	if err != nil {
		d.refuse(w, err)
		return
	}
	defer conv.Close(hub.DisconnectConnectionClosed)
	if d.opts.OneWay {
		if err := d.connect(conv, opening, r); err != nil {
			d.refuse(w, err)
			return
		}
	}
	d.metrics.Opened.Inc()
	d.metrics.BytesIn.Add(int64(len(opening)))
	d.metrics.Connections.Add(1)
	defer d.metrics.Connections.Add(-1)
	d.begin(w)
	if !d.opts.OneWay {
		conv.Handle(opening)
	}
	_ = out.Copy(r.Context(), counted{w, d.metrics.BytesOut}, writeTimeout)
}

// connect begins a one-way conversation.
func (d *Door) connect(conv *conversation.Conversation, opening []byte, r *http.Request) error {
	req, err := conversation.OneWayRequest(protocol.JSON, opening, r.URL.Query())
	if err != nil {
		return err
	}
	return conv.ConnectOneWay(req, conversation.LastEventID(r))
}

// begin sends the header of the stream.
func (d *Door) begin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if d.opts.OneWay {
		_, _ = fmt.Fprintf(w, "retry: %d\n\n", retryMs+rand.IntN(retryMs)) //nolint:gosec // jitter
	}
	_ = http.NewResponseController(w).Flush()
}

func (d *Door) refuse(w http.ResponseWriter, err error) {
	d.metrics.Refused.Inc()
	conversation.Refuse(w, err)
}

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	bytes *observe.Counter
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Unwrap lets a ResponseController find the writer below.
func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
