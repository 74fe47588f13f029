package hub

import (
	"context"
	"sync"
	"time"

	"myelin/channel"
)

// repairLocked has a task read what the feed did not bring.
func (t *topic) repairLocked() {
	if t.mu.repairing || t.mu.opening {
		t.mu.again = true
		return
	}
	t.mu.repairing = true
	t.hub.repairs.add(t.hub, t)
}

// repairs is the topics that are to be repaired. A feed that was interrupted
// is Lost for all topics at once, so they take turns.
type repairs struct {
	mu struct {
		sync.Mutex
		queue   []*topic
		running int
	}
}

// add queues a topic, which is not in the queue. Tasks come and go with it.
func (r *repairs) add(h *Hub, t *topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.queue = append(r.mu.queue, t)
	if r.mu.running < maxRepairing {
		r.mu.running++
		h.task(r.work)
	}
}

// work repairs topics until there are none.
func (r *repairs) work() {
	for {
		r.mu.Lock()
		if len(r.mu.queue) == 0 {
			r.mu.queue = nil
			r.mu.running--
			r.mu.Unlock()
			return
		}
		t := r.mu.queue[0]
		r.mu.queue[0] = nil
		r.mu.queue = r.mu.queue[1:]
		r.mu.Unlock()
		t.repair()
	}
}

// repair reads from the engine until the topic is at its top again. When that
// cannot be done its subscribers are told.
func (t *topic) repair() {
	t.ns.metrics.Repairs.Inc()
	for range maxRepairs {
		if t.catchUp() {
			return
		}
		select {
		case <-time.After(repairPause):
		case <-t.hub.ctx.Done():
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.repairing, t.mu.early = false, nil
	t.breakLocked(t.mu.top)
}

// catchUp reads what is missing, a piece at a time, puts what the feed brought
// meanwhile behind it, and reports whether the topic is whole again.
func (t *topic) catchUp() bool {
	t.mu.Lock()
	t.mu.again = false
	t.mu.Unlock()
	for more := true; more; {
		for _, s := range t.hub.shards {
			if t.hub.waitFor(t.hub.ctx, s) != nil {
				return false // the hub closes
			}
		}
		var ok bool
		if more, ok = t.piece(); !ok {
			return false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.mu.early {
		switch {
		case p.Epoch == t.mu.top.Epoch && p.Offset <= t.mu.top.Offset:
		case p.Epoch == t.mu.top.Epoch && p.Prev == t.mu.top.Offset:
			t.publishLocked(p)
		default:
			t.mu.again = true
		}
	}
	t.mu.early = nil
	t.mu.repairing = t.mu.again
	return !t.mu.again
}

// piece reads the next part of what is missing and sends it on. It reports
// whether there is more, and whether there was an answer of use.
func (t *topic) piece() (more, ok bool) {
	t.mu.Lock()
	since := t.mu.top
	t.mu.Unlock()
	r, err := t.read(since, -1)
	if err != nil || (r.Top.Epoch == since.Epoch && r.Top.Offset < since.Offset) {
		return false, false // no answer, or one from before
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !r.Complete {
		t.breakLocked(r.Top)
		return false, true
	}
	for _, p := range r.Pubs {
		t.publishLocked(p)
	}
	return isCut(&r), true
}

// read asks the engine on the hub's own account.
func (t *topic) read(since channel.Position, limit int) (channel.ReadResult, error) {
	ctx, cancel := context.WithTimeout(t.hub.ctx, readTimeout)
	defer cancel()
	return t.hub.engine.Read(ctx, &channel.ReadRequest{
		Channel: t.name, Policy: t.ns.Policy, Since: since, Limit: limit, MaxBytes: maxReply,
	})
}

// keep compares topics with the engine's truth, a stripe at a time so that
// the work is spread, until the hub closes.
func (h *Hub) keep() {
	every := time.Duration(0)
	for _, ns := range h.opts.Namespaces {
		if ns.checked() && (every == 0 || ns.PositionCheck < every) {
			every = ns.PositionCheck
		}
	}
	if every == 0 {
		return
	}
	tick := time.NewTicker(max(every/stripes, time.Millisecond))
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % stripes {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		for _, t := range h.topics.stripes[i].all() {
			// Those that cannot wait for the next round of the stripe.
			if now := time.Now(); t.ns.checked() && now.Add(every).Sub(t.checked) > t.ns.PositionCheck {
				t.checked = now
				t.check()
			}
		}
	}
}

// checked reports whether the topics of a namespace are compared.
func (ns *Namespace) checked() bool { return ns.Policy.Recoverable() && ns.PositionCheck > 0 }

// check compares the topic with the engine's top, and its subscriptions with
// the topic.
func (t *topic) check() {
	t.mu.Lock()
	before := t.mu.top
	busy := t.mu.repairing || t.mu.opening
	t.mu.Unlock()
	if busy {
		return
	}
	r, err := t.read(channel.Position{}, 0)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case r.Top.Epoch != t.mu.top.Epoch && before.Epoch == t.mu.top.Epoch:
		t.repairLocked()
	case r.Top.Offset > t.mu.top.Offset && before == t.mu.top:
		// The feed has been silent although there is more.
		t.repairLocked()
	default:
		t.sendLocked(message{kind: msgPosition, offset: t.mu.top.Offset})
	}
}
