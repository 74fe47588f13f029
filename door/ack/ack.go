// Package ack is the way in for acknowledgements of those who get deliveries by
// a transport that only brings messages out, such as a device with curl: a POST
// to /consumer/ack.
//
// # Nouns
//
// A [Door] is an http.Handler. The body of a request is JSON: {"ack": TOKEN} or
// {"acks": [TOKEN, ...]}, with "nack": true and "delay_ms", or "in_progress":
// true, for another answer. The tokens are those that came with the deliveries
// in the tag myelin-ack.
//
// # Promises
//
// There is no other key than the token: whoever was handed a delivery has it,
// and nobody else can make one. 200 says that it was done and is kept; the body
// says how many were settled by it, and how many had been before. What is
// wrong is answered as by all doors, {"error": {"code", "message"}}.
//
// # Limits
//
// A body holds at most [MaxBody] bytes, and at most consumer.MaxAcks tokens.
package ack

import (
	"encoding/json"
	"net/http"

	"myelin/consumer"
	"myelin/conversation"
	"myelin/observe"
)

// MaxBody is how long the body of a request may be.
const MaxBody = 256 << 10

// Options is what a Door is made of. Consumers is required.
type Options struct {
	Consumers *consumer.Manager
	Metrics   *observe.Metrics
}

// Door takes acknowledgements.
type Door struct {
	consumers *consumer.Manager
	metrics   *observe.Door
}

// New returns a door.
func New(o Options) *Door { return &Door{o.Consumers, o.Metrics.Door("ack")} }

// ServeHTTP takes one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := d.settle(w, r)
	if err != nil {
		d.metrics.Refused.Inc()
		conversation.Refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out)
}

func (d *Door) settle(w http.ResponseWriter, r *http.Request) (*consumer.Outcome, error) {
	if r.Method != http.MethodPost {
		return nil, conversation.MethodError(http.MethodPost)
	}
	body, err := conversation.Body(w, r, MaxBody)
	if err != nil {
		return nil, err
	}
	d.metrics.BytesIn.Add(int64(len(body)))
	return d.consumers.Say(r.Context(), "", body)
}
