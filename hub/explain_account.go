package hub

import (
	"context"
	"slices"
	"sync"
	"time"
)

// accountsHere returns what this node knows of the sessions a question is
// about.
func (h *Hub) accountsHere(r *ExplainRequest) []Account {
	var out []Account
	for _, s := range h.clients.of(r.User, r.Client) {
		if len(out) == maxAccounts {
			break
		}
		if a, ok := s.account(r); ok {
			out = append(out, a)
		}
	}
	return append(out, h.departed.find(r, maxAccounts-len(out))...)
}

// account asks the session's shard. It says no where the session ends.
func (s *Session) account(r *ExplainRequest) (Account, bool) {
	var a Account
	sb := s.subscription(r.Channel)
	var by Account
	if sb == nil {
		by = s.patternFor(r)
	}
	if !s.shard.ask(func() {
		a = s.shard.account(s, sb, r)
		if by.Pattern != "" {
			a.Trail = append(a.Trail, s.trail.of(by.Pattern)...)
			if ps := s.subscription(by.Pattern); ps != nil && ps.topic != nil {
				a.Trail = append(a.Trail, ps.lapsed(by.Pattern)...)
			}
			a.Pattern, a.PatternSince, a.Denied, a.Filtered = by.Pattern, by.PatternSince, by.Denied, by.Filtered
		}
	}) {
		return Account{}, false
	}
	if id := s.Identity(); id != nil {
		a.User = id.User
	}
	return a, a.Connected
}

// account reads what the shard knows of a session, and of sb where that is not
// nil.
func (sh *shard) account(s *Session, sb *sub, r *ExplainRequest) Account {
	o := &s.out
	a := Account{Node: sh.hub.opts.Node, Client: s.id, Connected: !o.closing && !o.closed, Trail: s.trail.of(r.Channel)}
	s.pulse(&a)
	if sb == nil || sb.topic == nil || sb.state == subGone || sb.state == subNew {
		return a
	}
	if p := sh.part(sb.topic); p != nil {
		sh.fanout(p)
	}
	a.Subscribed, a.Waiting = true, sb.state == subWaiting
	a.From, a.Last, a.Epoch = sb.from, sb.last, sb.epoch
	a.Filtered = !sb.filter.Match(r.Tags)
	a.Paced = sb.pace != nil && sb.pace.held.holds(r.At)
	if r.At.Offset > sb.from {
		a.Trail = append(a.Trail, sb.lapsed(r.Channel)...)
	}
	return a
}

// pulse fills in how the connection does, or did when it ended.
func (s *Session) pulse(a *Account) {
	o := &s.out
	a.Queued = o.late.size()
	if o.blocked {
		a.BlockedAt = o.blockedAt
	}
	a.AnsweredAt = s.clock.answered
	if !s.pinged.Load() {
		a.AnsweredAt = s.clock.pinged
	}
}

// lapsed returns what had expired before it was handed to any subscription of
// the shard, of those that sb would have got.
func (sb *sub) lapsed(name string) []Trace {
	p := sb.session.shard.part(sb.topic)
	if p == nil {
		return nil
	}
	return p.lapsed.of(name)
}

// ask has fn called by the shard's goroutine and waits for it. It reports
// whether that was done, which it is not once the shard has stopped.
func (sh *shard) ask(fn func()) bool {
	done := make(chan struct{})
	sh.push(message{kind: msgCall, call: func() { fn(); close(done) }})
	select {
	case <-done:
		return true
	case <-sh.gone:
		return false
	}
}

// reach asks how far a publication has come on all nodes.
func (h *Hub) reach(ctx context.Context, r *ExplainRequest, out *Explanation) {
	out.Nodes = []Reach{h.reachHere(r)}
	for _, a := range h.Survey(ctx, topicExplain, encode(r)) {
		n := Reach{Node: a.Node.ID, Silent: true}
		if a.Err == nil && decode(a.Data, &n) == nil {
			n.Silent = false
		}
		out.Nodes = append(out.Nodes, n)
	}
}

func (h *Hub) reachHere(r *ExplainRequest) Reach {
	n := Reach{Node: h.opts.Node}
	t := h.topics.get(r.Channel)
	if t == nil {
		return n
	}
	for _, sh := range h.shards {
		sh.ask(func() {
			p := sh.part(t)
			if p == nil {
				return
			}
			sh.fanout(p)
			p.each(func(sb *sub) {
				n.Subscribers++
				if sb.state == subLive && sb.epoch == r.At.Epoch && sb.last >= r.At.Offset {
					n.Reached++
				}
			})
		})
	}
	return n
}

// each calls fn for every subscription of the part.
func (p *part) each(fn func(*sub)) {
	for i := range p.lists {
		for _, sb := range p.lists[i].subs {
			fn(sb)
		}
	}
	for _, sb := range p.private {
		fn(sb)
	}
	for _, sb := range p.paced {
		fn(sb)
	}
	for _, sb := range p.waiting {
		fn(sb)
	}
}

// maxDeparted is how many sessions that left a node remembers.
const maxDeparted = 4096

// departed is the sessions that left last, of those that had a subscription.
type departed struct {
	mu struct {
		sync.Mutex
		ring []*Account
		next int
	}
}

// add remembers one in the place of the oldest, or in that of an earlier word
// of it.
func (d *departed) add(a *Account, earlier *Account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if earlier != nil {
		*earlier = *a
		return
	}
	if len(d.mu.ring) < maxDeparted {
		d.mu.ring = append(d.mu.ring, a)
		return
	}
	d.mu.ring[d.mu.next] = a
	d.mu.next = (d.mu.next + 1) % maxDeparted
}

// find returns at most most that a question is about, newest first.
func (d *departed) find(r *ExplainRequest, most int) []Account {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Account
	for i := range d.mu.ring {
		if len(out) == most {
			break
		}
		a := *d.mu.ring[(d.mu.next+len(d.mu.ring)-1-i+len(d.mu.ring))%len(d.mu.ring)]
		if (r.Client != "" && a.Client != r.Client) || (r.User != "" && a.User != r.User) {
			continue
		}
		a.Trail = newestTraces(a.Trail, r.Channel)
		out = append(out, a)
	}
	return out
}

// waits remembers a session whose goodbye waits behind something else: nobody
// finds it among those that are there.
func (sh *shard) waits(s *Session) {
	if o := &s.out; o.closing && !o.closed && o.late.size() > 0 {
		sh.remember(s, false)
	}
}

// remember keeps the end of a session whose subscriptions left a trail: a first
// time where its goodbye waits behind something else, and when it is gone.
func (sh *shard) remember(s *Session, gone bool) {
	if s.trail == nil || len(s.trail.list) == 0 {
		return
	}
	a := &Account{Node: sh.hub.opts.Node, Client: s.id, Trail: s.trail.list}
	if !gone { // they may change yet
		a.Trail = slices.Clone(a.Trail)
		for i := range a.Trail {
			a.Trail[i].Offsets = slices.Clone(a.Trail[i].Offsets)
		}
	}
	s.pulse(a)
	a.ClosedAt, a.Code, a.Close = time.Now().UnixMilli(), s.trail.code, s.trail.reason
	if id := s.Identity(); id != nil {
		a.User = id.User
	}
	sh.hub.departed.add(a, s.trail.obituary)
	s.trail.obituary = a
	if gone {
		s.trail = nil
	}
}
