package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"myelin/channel"
	"myelin/observe"
)

const (
	// maxLeases is how many entries a subscription may have that go with it.
	maxLeases = 64
	// leaveTimeout is how long it may take to remove them.
	leaveTimeout = 10 * time.Second
	// leaseTick is how often it is looked which are to be renewed.
	leaseTick = time.Second
)

// leases is the entries that go with the subscriptions of this node. Each has a
// ttl, the lease, and is put again before that is over: should this node die
// the engine lets it go, and when its subscription ends it is removed.
type leases struct {
	mu struct {
		sync.Mutex
		of map[*sub]map[string]*lease
	}
	started sync.Once
}

// lease is one entry. It belongs to the subscription as long as it is at this
// offset: who puts another one in its place takes it over.
type lease struct {
	request EntryRequest
	info    *channel.ClientInfo
	ns      *Namespace
	offset  uint64
	due     time.Time
	// busy: it is being renewed.
	busy bool
}

// lease puts an entry that goes with the session's subscription.
func (s *Session) lease(ctx context.Context, ns *Namespace, r EntryRequest) (channel.Ack, error) {
	sb := s.settled(r.Channel)
	if sb == nil {
		return channel.Ack{}, channel.ErrNotSubscribed.With("the entry is to leave with a subscription; subscribe first")
	}
	ls := &s.hub.leases
	if err := ls.reserve(sb, r.Key); err != nil {
		s.hub.opts.Metrics.Limit(observe.LimitLeases).Inc()
		return channel.Ack{}, err
	}
	r.TTL, r.Leave = ns.Lease, false
	ack, err := s.hub.setEntry(ctx, ns, r, s)
	if err != nil {
		ls.cancel(sb, r.Key)
		return ack, err
	}
	r.If, r.ID = Always, ""
	ls.keep(sb, &lease{request: r, info: s.speaker(r.Channel), ns: ns, offset: ack.Offset, due: time.Now().Add(ns.Lease / 3)})
	ls.started.Do(func() { s.hub.task(s.hub.tend) })
	if !s.holds(sb) {
		s.hub.leave(sb) // it ended meanwhile
	}
	return ack, nil
}

// settled returns the subscription to a channel that has joined it, or nil.
func (s *Session) settled(name string) *sub {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb := s.mu.subs.get(name); sb != nil && sb.settled {
		return sb
	}
	return nil
}

// reserve makes room for a key, which has no lease until keep.
func (l *leases) reserve(sb *sub, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.of == nil {
		l.mu.of = make(map[*sub]map[string]*lease)
	}
	own := l.mu.of[sb]
	if own == nil {
		own = make(map[string]*lease)
		l.mu.of[sb] = own
	}
	if _, ok := own[key]; ok {
		return nil
	}
	if len(own) >= maxLeases {
		return channel.ErrLimitExceeded.With(fmt.Sprintf("a subscription may have %d entries that leave with it", maxLeases))
	}
	own[key] = nil
	return nil
}

// cancel takes back a reservation.
func (l *leases) cancel(sb *sub, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.mu.of[sb]; own != nil && own[key] == nil {
		l.forgetLocked(sb, key)
	}
}

func (l *leases) forgetLocked(sb *sub, key string) {
	delete(l.mu.of[sb], key)
	if len(l.mu.of[sb]) == 0 {
		delete(l.mu.of, sb)
	}
}

func (l *leases) keep(sb *sub, e *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.of[sb] == nil { // it was ended meanwhile
		l.mu.of[sb] = make(map[string]*lease)
	}
	l.mu.of[sb][e.request.Key] = e
}

// end takes the leases of a subscription out and returns what they were.
func (l *leases) end(sb *sub) []*lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*lease
	for _, e := range l.mu.of[sb] {
		if e != nil {
			c := *e // one that is being renewed changes yet
			out = append(out, &c)
		}
	}
	delete(l.mu.of, sb)
	return out
}

// leave removes the entries that were to go with a subscription. It does not
// wait.
func (h *Hub) leave(sb *sub) {
	gone := h.leases.end(sb)
	if len(gone) == 0 {
		return
	}
	h.task(func() {
		// Not the hub's context: this is what is left to do when it closes.
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		for _, e := range gone {
			h.drop(ctx, e)
		}
	})
}

// drop removes an entry, unless another one took its place.
func (h *Hub) drop(ctx context.Context, e *lease) {
	p := &channel.PublishRequest{
		Channel: e.request.Channel, Policy: e.ns.Policy, Op: channel.OpDelete, Key: e.request.Key, Expect: &e.offset, Info: e.info,
	}
	if e.ns.TagKeys {
		p.Tags = tagKey(nil, e.request.Key, true)
	}
	_, err := h.engine.Publish(ctx, p)
	if err != nil && !errors.Is(err, channel.ErrConflict) {
		h.opts.Logger.Warn("an entry was not removed with its session; it ends with its lease",
			observe.KeyNamespace, e.ns.Policy.Namespace, observe.KeyErr, err)
	}
}

// tend renews leases until the hub closes.
func (h *Hub) tend() {
	tick := time.NewTicker(leaseTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		due := h.leases.due(time.Now())
		each := make(chan struct{}, maxRenewals)
		var work sync.WaitGroup
		for sb, list := range due {
			for _, e := range list {
				each <- struct{}{}
				work.Go(func() {
					h.renew(sb, e)
					<-each
				})
			}
		}
		work.Wait()
	}
}

// maxRenewals is how many leases are renewed at a time.
const maxRenewals = 16

// due returns the leases that are to be renewed, which are busy then.
func (l *leases) due(now time.Time) map[*sub][]*lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[*sub][]*lease)
	for sb, own := range l.mu.of {
		for _, e := range own {
			if e != nil && !e.busy && !e.due.After(now) {
				e.busy = true
				out[sb] = append(out[sb], e)
			}
		}
	}
	return out
}

// renew puts an entry again, unless another one took its place.
func (h *Hub) renew(sb *sub, e *lease) {
	ctx, cancel := context.WithTimeout(h.ctx, e.ns.Lease/3)
	defer cancel()
	r, tags := &e.request, e.request.Tags
	if e.ns.TagKeys {
		tags = tagKey(tags, r.Key, false)
	}
	ack, err := h.engine.Publish(ctx, &channel.PublishRequest{
		Channel: r.Channel, Policy: e.ns.Policy, Op: channel.OpPut, Key: r.Key, Expect: &e.offset,
		Data: r.Data, ContentType: r.ContentType, Tags: tags, Score: r.Score, TTL: e.ns.Lease, Info: e.info,
	})
	l := &h.leases
	l.mu.Lock()
	e.busy = false
	current := l.mu.of[sb][r.Key] == e
	switch {
	case err == nil:
		e.offset, e.due = ack.Offset, time.Now().Add(e.ns.Lease/3)
	case errors.Is(err, channel.ErrConflict) && current:
		l.forgetLocked(sb, r.Key)
	}
	l.mu.Unlock()
	if err == nil && !current {
		// Its subscription ended, or the client put another entry, while this
		// was under way: it may be the last word, so it goes.
		h.drop(context.WithoutCancel(ctx), e)
	}
}
