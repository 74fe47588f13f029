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
// 204 says that the commands were handed over, or that their session is gone
// from this node: its stream has ended then. 404 says that the node is not
// this one, so the client should begin anew. Answers come by the stream.
//
// # Limits
//
// A body holds at most a message and its frame, escaped.
package emulation

import (
	"errors"
	"fmt"
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
	if req.Node != d.opts.Node {
		d.refuse(w, channel.ErrUnknownChannel.With(fmt.Sprintf("node %q is not here; connect again", req.Node)))
		return
	}
	d.metrics.BytesIn.Add(int64(len(body)))
	if err := d.opts.Host.Emulate(req.Session, req.Data); err != nil && !errors.Is(err, conversation.ErrNoSession) {
		d.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Door) refuse(w http.ResponseWriter, err error) {
	d.metrics.Refused.Inc()
	conversation.Refuse(w, err)
}
