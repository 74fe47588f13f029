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
// A request holds at most a message and its frame. A client that does not read
// holds pipeBytes here, a write that takes longer than writeTimeout ends it,
// and the hub's queue limit ends it before.
package httpstream

import (
	"log/slog"
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
	// contentProtobuf asks for Protobuf.
	contentProtobuf = "application/octet-stream"
)

// Options is what a Door is made of. Host is required.
type Options struct {
	Host *conversation.Host
	// OneWay makes it the door of clients that only listen.
	OneWay  bool
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Door answers requests with streams of messages.
type Door struct {
	opts    Options
	metrics *observe.Door
	json    *conversation.Wire
	pb      *conversation.Wire
}

// New returns a door.
func New(o Options) *Door {
	name := "http_stream"
	if o.OneWay {
		name = "uni_http_stream"
	}
	wire := func(f protocol.Format) *conversation.Wire {
		return conversation.NewWire(f, conversation.Framing{
			Frame: func(dst, message []byte, _ string) []byte {
				return protocol.AppendDelimiter(append(dst, message...), f)
			},
		}, o.OneWay)
	}
	return &Door{opts: o, metrics: o.Metrics.Door(name), json: wire(protocol.JSON), pb: wire(protocol.Protobuf)}
}

// ServeHTTP lives as long as the stream.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	opening, err := conversation.Opening(w, r, d.opts.Host.Limits().MessageBytes+openingSlack)
	if err != nil {
		d.refuse(w, err)
		return
	}
	wire, format, kind := d.json, protocol.JSON, "application/json"
	if r.Header.Get("Content-Type") == contentProtobuf {
		wire, format, kind = d.pb, protocol.Protobuf, contentProtobuf
	}
	out := pipe.New(pipeBytes)
	conv, err := d.opts.Host.Open(conversation.Transport{Conn: out, Wire: wire, Emulated: !d.opts.OneWay})
	if err != nil {
		d.refuse(w, err)
		return
	}
	defer conv.Close(hub.DisconnectConnectionClosed)
	if d.opts.OneWay {
		req, err := conversation.OneWayRequest(format, opening, r.URL.Query())
		if err == nil {
			err = conv.ConnectOneWay(req, conversation.LastEventID(r))
		}
		if err != nil {
			d.refuse(w, err)
			return
		}
	}
	d.metrics.Opened.Inc()
	d.metrics.BytesIn.Add(int64(len(opening)))
	d.metrics.Connections.Add(1)
	defer d.metrics.Connections.Add(-1)
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	if !d.opts.OneWay {
		conv.Handle(opening)
	}
	_ = out.Copy(r.Context(), counted{w, d.metrics.BytesOut}, writeTimeout)
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
