package conversation

import (
	"errors"
	"net/url"
	"strings"

	"myelin/channel"
	"myelin/filter"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// numericID is the bit of SubscribeRequest.flag by which a client asks for an
// id to know the channel by.
const numericID = 1 << 0

// selects puts into a request what the client wants of the channel and how.
func (c *Conversation) selects(r *protocol.SubscribeRequest, req *hub.SubscribeRequest) error {
	f, err := c.filter(r.Tf)
	if err != nil {
		return err
	}
	if r.Delta != "" && r.Delta != protocol.DeltaFossil {
		return channel.ErrBadRequest.With("the delta is \"" + strings.ToValidUTF8(r.Delta[:min(len(r.Delta), 32)], "") + "\", want \"" + protocol.DeltaFossil + "\" or none")
	}
	req.Filter = f
	req.Delta = r.Delta != ""
	req.Numeric = r.Flag&numericID != 0 && c.mayHaveID(r.Channel)
	return nil
}

// mayHaveID reports whether the client may know a channel by an id.
func (c *Conversation) mayHaveID(name string) bool {
	ns, err := c.host.hub.Namespace(name)
	if err != nil {
		return false // which Subscribe says
	}
	switch ns.NumericIDs {
	case hub.NumericForNobody:
		return false
	case hub.NumericForAll:
		return true
	default:
		return c.wire.format == protocol.JSON
	}
}

// filter compiles the filter of a client.
func (c *Conversation) filter(n *protocol.FilterNode) (*filter.Filter, error) {
	if n == nil {
		return nil, nil
	}
	f, err := filter.Compile(nodeOf(n), filter.Limits{Nodes: c.host.Limits().FilterNodes})
	if err != nil {
		if e, ok := errors.AsType[*filter.Error](err); ok && e.Limit != "" {
			c.host.opts.Metrics.Limit(observe.LimitFilter).Inc()
		}
		return nil, channel.ErrBadRequest.With("the filter " + err.Error())
	}
	return f, nil
}

// nodeOf returns a filter of the wire as the filter room has it. The codec has
// bounded how deep it is.
func nodeOf(n *protocol.FilterNode) *filter.Node {
	if n == nil {
		return nil
	}
	out := &filter.Node{Op: n.Op, Key: n.Key, Cmp: n.Cmp, Val: n.Val, Vals: n.Vals}
	for _, child := range n.Nodes {
		out.Nodes = append(out.Nodes, nodeOf(child))
	}
	return out
}

// paramFilter holds the filter of a client too simple for a connect request, in
// JSON, for all channels that the query names.
const paramFilter = "filter"

// queryFilter returns the filter of a query, nil for none.
func queryFilter(q url.Values) (*protocol.FilterNode, error) {
	text := q.Get(paramFilter)
	if text == "" {
		return nil, nil
	}
	n, err := filter.ParseNode([]byte(text))
	if err != nil {
		return nil, channel.ErrBadRequest.With("the filter " + err.Error())
	}
	return filterNode(n), nil
}

// filterNode is nodeOf the other way.
func filterNode(n *filter.Node) *protocol.FilterNode {
	if n == nil {
		return nil
	}
	out := &protocol.FilterNode{Op: n.Op, Key: n.Key, Cmp: n.Cmp, Val: n.Val, Vals: n.Vals}
	for _, child := range n.Nodes {
		out.Nodes = append(out.Nodes, filterNode(child))
	}
	return out
}

// addressed says in a push which channel it is for: by its id where the client
// knows that.
func addressed(e *hub.Event, p *protocol.Push) *protocol.Push {
	if e.ID != 0 {
		p.Id = e.ID
	} else {
		p.Channel = e.Channel
	}
	return p
}

// news returns the publication of an event as the wire shows it.
func (w *Wire) news(e *hub.Event) *protocol.Publication {
	if !e.Delta {
		out := w.publication(e.Pub, e.Recoverable)
		if e.Pub.Channel != e.Channel {
			matched(out, e.Pub)
		}
		w.grow(out, e.Pub, e.Whole)
		return out
	}
	out, saved := w.patch(e.Pub, e.Base, e.Recoverable)
	e.Saved = saved
	return out
}

// patch is publication for a client that takes patches.
func (w *Wire) patch(p, base *channel.Publication, recoverable bool) (*protocol.Publication, int) {
	out, saved := protocol.FromDelta(w.format, p, base, recoverable)
	if p.Info != nil && w.format == protocol.JSON {
		out.Info = w.info(p.Info)
	}
	return out, saved
}

// backlog returns what a subscription begins with as the wire shows it. Where
// the client takes patches the first is whole and each other a patch to the one
// before.
func (w *Wire) backlog(sn *hub.Subscription) []*protocol.Publication {
	if !sn.Delta {
		return w.grownOf(sn.Publications, sn.Whole || sn.Newest)
	}
	out := make([]*protocol.Publication, len(sn.Publications))
	var base *channel.Publication
	for i, p := range sn.Publications {
		out[i], _ = w.patch(p, base, true)
		base = p
	}
	return out
}
