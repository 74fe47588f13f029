package hub

import (
	"context"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// ring holds the newest publications of a topic, an unbroken run of them.
type ring struct {
	pubs  []*channel.Publication
	start int
}

// add appends p and lets go of the oldest beyond most.
func (r *ring) add(p *channel.Publication, most int) {
	if n := len(r.pubs); n > 0 && p.Prev != r.at(n-1).Offset {
		*r = ring{}
	}
	if len(r.pubs) < most {
		r.pubs = append(r.pubs, p)
		return
	}
	r.pubs[r.start] = p
	r.start = (r.start + 1) % len(r.pubs)
}

// at returns the i-th oldest.
func (r *ring) at(i int) *channel.Publication { return r.pubs[(r.start+i)%len(r.pubs)] }

// since returns what came after offset. It says no where the ring does not
// reach back that far, or not to younger than oldest (Unix ms).
func (r *ring) since(offset uint64, oldest int64) ([]*channel.Publication, bool) {
	n := len(r.pubs)
	if n == 0 || r.at(0).Prev > offset {
		return nil, false
	}
	i := n
	for i > 0 && r.at(i-1).Offset > offset {
		i--
	}
	out := make([]*channel.Publication, 0, n-i)
	for ; i < n; i++ {
		if r.at(i).Time < oldest {
			return nil, false
		}
		out = append(out, r.at(i))
	}
	return out, true
}

// join attaches a subscription to its topic and returns the top at that
// moment: what comes after is held back for it.
func (h *Hub) join(ctx context.Context, ns *Namespace, sb *sub) (*topic, channel.Position, error) {
	t, err := h.acquire(ctx, sb.name, ns)
	if err != nil {
		return nil, channel.Position{}, err
	}
	sb.topic = t
	if ns.isState() {
		var at channel.Position
		err := t.withState(ctx, func(e entries) { at, sb.entries = t.attachLocked(sb), e })
		if err != nil {
			h.release(t)
		}
		return t, at, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t, t.attachLocked(sb), nil
}

func (t *topic) attachLocked(sb *sub) channel.Position {
	sh := sb.session.shard
	t.mu.shards[sh.number]++
	t.watchLocked(sb, 1)
	sb.last, sb.from, sb.epoch = t.mu.top.Offset, t.mu.top.Offset, t.mu.top.Epoch
	sh.push(message{kind: msgAttach, sub: sb})
	t.ns.metrics.Subscriptions.Add(1)
	t.hub.life.subscribedLocked(t, sb)
	return t.mu.top
}

// detach takes a subscription out of its topic, whose reference it keeps. why
// is what the client is told, zero for nothing; reply follows it.
func (t *topic) detach(sb *sub, why Unsubscribe, reply []byte) {
	m := message{kind: msgDetach, sub: sb, bytes: reply}
	if why.Code != 0 {
		m.event = &Event{Kind: EventUnsubscribed, Channel: t.name, Code: why.Code, Reason: why.Reason}
	}
	sh := sb.session.shard
	t.mu.Lock()
	defer t.mu.Unlock()
	sh.push(m)
	t.mu.shards[sh.number]--
	t.watchLocked(sb, -1)
	t.departLocked(sb)
	t.ns.metrics.Subscriptions.Add(-1)
	t.hub.life.unsubscribedLocked(t, sb, why)
}

// begin fills in what a subscription begins with.
func (h *Hub) begin(ctx context.Context, r *SubscribeRequest, out *Subscription) error {
	sb := out.sub
	switch {
	case sb.topic.ns.isState() && sb.sieved():
		// What has left the filter's sight is not in what came since.
	case r.Recover && sb.recoverable:
		if err := h.recover(ctx, sb.topic, r.Since, out); err != nil {
			return err
		}
		out.Publications = sb.matching(h.current(out.Publications, queueRecovery))
		if sb.pace != nil {
			out.Publications, out.Newest = newest(out.Publications), true
		}
	case r.Last && !r.Recover && !sb.topic.ns.isState():
		return h.last(ctx, sb.topic, out)
	}
	if sb.topic.ns.isState() {
		return h.beginState(r, out)
	}
	return nil
}

// last fills in the newest publication, of those that the filter lets through
// and that one call may read. It may have come after the
// subscription joined: the client then stands there.
func (h *Hub) last(ctx context.Context, t *topic, out *Subscription) error {
	q := &channel.ReadRequest{Channel: t.name, Policy: t.ns.Policy, Limit: 1, MaxBytes: maxReply, Reverse: true}
	if out.sub.sieved() {
		q.Limit = h.opts.Limits.HistoryRead
	}
	r, err := h.engine.Read(ctx, q)
	if err != nil {
		return err
	}
	if len(r.Pubs) == 0 || r.Top.Epoch != out.Position.Epoch {
		return nil
	}
	out.Position.Offset = max(out.Position.Offset, r.Pubs[0].Offset)
	if pubs := out.sub.matching(h.current(r.Pubs, queueRecovery)); len(pubs) > 0 {
		out.Publications = pubs[:1]
	}
	return nil
}

// recover fills in what came after since, from the ring where it reaches back
// far enough, else from the engine. A client may be ahead of this node, whose
// feed lags behind what was read elsewhere.
func (h *Hub) recover(ctx context.Context, t *topic, since channel.Position, out *Subscription) error {
	if since.Epoch != "" && since.Epoch != out.Position.Epoch {
		t.ns.metrics.Unrecovered.Inc()
		return nil
	}
	pubs, ok := t.recent(channel.Position{Epoch: out.Position.Epoch, Offset: since.Offset})
	cut := false
	if !ok && since.Offset != out.Position.Offset {
		r, err := h.engine.Read(ctx, &channel.ReadRequest{
			Channel: t.name, Policy: t.ns.Policy, Limit: -1, MaxBytes: maxReply,
			Since: channel.Position{Epoch: out.Position.Epoch, Offset: since.Offset},
		})
		if err != nil {
			return err
		}
		if !r.Complete {
			t.ns.metrics.Unrecovered.Inc()
			return nil
		}
		pubs, cut = r.Pubs, isCut(&r)
	}
	if cut || len(fitting(pubs)) < len(pubs) {
		t.ns.metrics.Unrecovered.Inc()
		t.hub.opts.Metrics.Limit(observe.LimitRecovery).Inc()
		return nil
	}
	out.Recovered = true
	out.Publications = pubs
	out.Position.Offset = max(out.Position.Offset, since.Offset)
	if n := len(pubs); n > 0 {
		out.Position = pubs[n-1].Position
	}
	t.ns.metrics.Recovered.Inc()
	return nil
}

// isCut reports whether an answer without a limit of publications ends before
// the top, because of its bytes.
func isCut(r *channel.ReadResult) bool {
	n := len(r.Pubs)
	return n > 0 && r.Pubs[n-1].Offset < r.Top.Offset
}

// fitting returns the beginning of what one reply may hold of pubs, at least
// one.
func fitting(pubs []*channel.Publication) []*channel.Publication {
	size := 0
	for i, p := range pubs {
		if size += len(p.Data); size > maxReply && i > 0 {
			return pubs[:i]
		}
	}
	return pubs
}

// recent returns what the ring has after a position. It says no where that may
// not be all.
func (t *topic) recent(since channel.Position) ([]*channel.Publication, bool) {
	var oldest int64
	if ttl := t.ns.Policy.HistoryTTL; ttl > 0 {
		oldest = time.Now().Add(-ttl).UnixMilli()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.top.Epoch != since.Epoch || since.Offset > t.mu.top.Offset {
		return nil, false
	}
	return t.mu.ring.since(since.Offset, oldest)
}
