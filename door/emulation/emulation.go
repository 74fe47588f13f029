// Package emulation is the way in for clients whose transport only brings
// messages out, at /emulation: each request is a frame of commands for a
// session that another request holds open.
//
// # Nouns
//
// A [Door] is an http.Handler for POST requests whose body is an emulation
// request of the client protocol: the node, the session's secret, and the
// frame; JSON, or Protobuf with the content type application/octet-stream.
//
// # Promises
//
// 204 says that the commands were handled, or that their session is gone from
// its node: its stream has ended then. Any node of a cluster takes requests for
// any other and answers once that one has handled them, so requests that wait
// for each other's answers stay in order. 404 says that the node is not known,
// or gone: the client should begin anew. 503 says that it did not answer; then
// the commands may have been handled. Answers to commands come by the stream.
//
// # Limits
//
// A body holds at most a message and its frame, escaped. Commands for another
// node have to fit one message on the bus, see [channel.MaxBusMessage].
package emulation

import (
	"errors"
	"net/http"

	"myelin/channel"
	"myelin/conversation"
	"myelin/observe"
	"myelin/protocol"
)

// bodySlack is what a body may hold beside a message; a frame inside a JSON
// string is up to twice as long as the frame.
const bodySlack = 32 << 10

// Options is what a Door is made of. Host and Node are required.
type Options struct {
	Host *conversation.Host
	// Node is the id of this node.
	Node    string
	Metrics *observe.Metrics
}

// Door takes frames of commands.
type Door struct {
	opts    Options
	metrics *observe.Door
}

// New returns a door.
func New(o Options) *Door { return &Door{opts: o, metrics: o.Metrics.Door("emulation")} }

// ServeHTTP takes one frame.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		d.refuse(w, conversation.MethodError(http.MethodPost))
		return
	}
	body, err := conversation.Body(w, r, 2*d.opts.Host.Limits().MessageBytes+bodySlack)
	if err != nil {
		d.refuse(w, err)
		return
	}
	req, err := protocol.DecodeEmulationRequest(conversation.FormatOf(r), body)
	if err != nil {
		d.refuse(w, channel.ErrBadRequest.With(err.Error()))
		return
	}
	if req.Node == d.opts.Node {
		err = d.opts.Host.Emulate(req.Session, req.Data)
	} else {
		err = d.opts.Host.EmulateAt(r.Context(), req.Node, req.Session, req.Data)
	}
	if err != nil && !errors.Is(err, conversation.ErrNoSession) {
		d.refuse(w, err)
		return
	}
	d.metrics.BytesIn.Add(int64(len(body)))
	w.WriteHeader(http.StatusNoContent)
}

func (d *Door) refuse(w http.ResponseWriter, err error) {
	d.metrics.Refused.Inc()
	conversation.Refuse(w, err)
}
