package hub

import (
	"context"
	"sync"

	"myelin/channel"
)

// What an operation does.
const (
	doSubscribe   = "subscribe"
	doUnsubscribe = "unsubscribe"
	doDisconnect  = "disconnect"
	doRefresh     = "refresh"
)

// operation is something done to sessions wherever they are. Which fields are
// set goes by Do.
type operation struct {
	Do        string            `json:"do"`
	To        Target            `json:"to"`
	Subscribe *SubscribeRequest `json:"subscribe,omitempty"`
	Channel   string            `json:"channel,omitempty"`
	Code      uint32            `json:"code,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Except    []string          `json:"except,omitempty"`
	ExpiresAt int64             `json:"expires_at,omitempty"`
	Expired   bool              `json:"expired,omitempty"`
}

// outcome is what it came to on one node: how many sessions or subscriptions,
// and the first error.
type outcome struct {
	Count   int          `json:"count"`
	Code    channel.Code `json:"code,omitempty"`
	Message string       `json:"message,omitempty"`
}

// everywhere does an operation on all nodes and returns the sum of the counts.
// Nodes that are away do it when they come back with their sessions.
func (h *Hub) everywhere(ctx context.Context, op *operation) (int, error) {
	if err := op.To.check(); err != nil {
		return 0, err
	}
	if h.cluster == nil || (op.To.Client != "" && len(h.clients.of("", op.To.Client)) > 0) {
		return h.operate(ctx, op)
	}
	var answers []Answer
	var asking sync.WaitGroup
	request, absent := encode(op), h.cluster.absent.list()
	asking.Go(func() { answers = h.Survey(ctx, topicOperate, request) })
	n, err := h.operate(ctx, op)
	asking.Wait()
	var silent error
	for i := range answers {
		a := &answers[i]
		var out outcome
		if a.Err == nil {
			a.Err = decode(a.Data, &out)
		}
		if a.Err != nil && silent == nil {
			silent = a.silent("done elsewhere; ")
		}
		n += out.Count
		if err == nil && out.Code != 0 {
			err = out.error()
		}
	}
	if err == nil {
		err = silent
	}
	if op.To.Client == "" || n == 0 {
		h.cluster.remember(ctx, request, absent)
	}
	return n, err
}

// operate does an operation on this node.
func (h *Hub) operate(ctx context.Context, op *operation) (int, error) {
	switch {
	case op.Do == doSubscribe && op.Subscribe != nil:
		return h.subscribeHere(ctx, op.To, *op.Subscribe)
	case op.Do == doUnsubscribe:
		return h.unsubscribeHere(op.To, op.Channel), nil
	case op.Do == doDisconnect:
		return h.disconnectHere(op.To, Disconnect{Code: op.Code, Reason: op.Reason}, op.Except), nil
	case op.Do == doRefresh:
		return h.refreshHere(op.To, op.ExpiresAt, op.Expired), nil
	}
	return 0, channel.ErrBadRequest.With("no such operation on sessions; let all nodes be of one release")
}

// answerOperate does what another node asks for.
func (c *cluster) answerOperate(ctx context.Context, _ channel.Node, b []byte) ([]byte, error) {
	var op operation
	if err := decode(b, &op); err != nil {
		return nil, err
	}
	if err := op.To.check(); err != nil {
		return nil, err
	}
	n, err := c.hub.operate(ctx, &op)
	out := outcome{Count: n}
	if err != nil {
		e := channel.Public(err)
		out.Code, out.Message = e.Code, e.Message
	}
	return encode(out), nil
}

// error returns the error of another node as it was there.
func (o *outcome) error() error {
	e := &channel.Error{Code: o.Code, Message: o.Message}
	for _, known := range channel.Codes() {
		if known.Error.Code == o.Code {
			e.Temporary = known.Error.Temporary
		}
	}
	return e
}
