package hub

import (
	"context"
	"fmt"
	"sync/atomic"

	"myelin/channel"
	"myelin/filter"
	"myelin/observe"
)

// maxSieved is how many publications one call of history reads to find those
// that a filter lets through.
const maxSieved = 10_000

// choice is what a subscription gets of its channel. It is there where that is
// not everything.
type choice struct {
	// wish is the client's filter, limit that of the subscription token or of
	// whoever subscribed it. What the connection token says is with the identity.
	wish, limit *filter.Filter
	// now is all of them, for the shard.
	now atomic.Pointer[filter.Filter]
}

// chooseLocked settles what a new subscription gets, and how. A patch is made
// to the publication before, which a client with a filter, or one that is
// conflated, does not always have.
func (s *Session) chooseLocked(sb *sub, ns *Namespace, r *SubscribeRequest) {
	if r.Filter != nil {
		sb.choice = &choice{wish: s.sameFilterLocked(r.Filter)}
	}
	sb.limitLocked(r.Options.Filter)
	sb.filter = s.filterLocked(sb, sb.name)
	shared := !s.private
	sb.numeric = r.Numeric && shared
	sb.delta = r.Delta && shared && ns.Delta && sb.filter == nil && sb.pace == nil
}

// sameFilterLocked returns the filter of another subscription of the session, if
// it is equal.
func (s *Session) sameFilterLocked(f *filter.Filter) *filter.Filter {
	for _, other := range s.mu.subs.list {
		if other.choice != nil && f.Equal(other.choice.wish) {
			return other.choice.wish
		}
	}
	return f
}

// roomForFilterLocked refuses a subscription with which the filters that a client
// chose would be larger than they may be together. One that several of its
// subscriptions have is there once, unless it is joined to what a token enforces.
func (s *Session) roomForFilterLocked(sb *sub) error {
	if sb.choice == nil || sb.choice.wish == nil {
		return nil
	}
	bytes, seen := 0, make(map[*filter.Filter]bool)
	count := func(sb *sub) {
		if sb.choice == nil || sb.choice.wish == nil {
			return
		}
		enforced := sb.choice.limit != nil || s.mu.identity.Filter(sb.name) != nil
		if enforced || !seen[sb.choice.wish] {
			bytes += len(sb.choice.wish.String())
			seen[sb.choice.wish] = seen[sb.choice.wish] || !enforced
		}
	}
	count(sb)
	for _, other := range s.mu.subs.list {
		count(other)
	}
	if most := s.hub.opts.Limits.FilterBytes; bytes > most {
		s.hub.opts.Metrics.Limit(observe.LimitFilterBytes).Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf("the filters of a connection may have %d bytes together (limits.filter_bytes)", most))
	}
	return nil
}

// limitLocked sets the filter that the client cannot choose.
func (sb *sub) limitLocked(f *filter.Filter) {
	if f != nil && sb.choice == nil {
		sb.choice = new(choice)
	}
	if sb.choice != nil {
		sb.choice.limit = f
	}
}

// filterLocked returns what all together let through to a subscription.
func (s *Session) filterLocked(sb *sub, name string) *filter.Filter {
	var f *filter.Filter
	if s.mu.identity != nil {
		f = s.mu.identity.Filter(name)
	}
	if sb != nil && sb.choice != nil {
		f = filter.And(filter.And(f, sb.choice.limit), sb.choice.wish)
	}
	return f
}

// refilterLocked has the shard apply the filter that a subscription should
// have by now. It reports whether the subscription has to be made anew for it,
// because its client takes patches.
func (s *Session) refilterLocked(sb *sub) (patched bool) {
	f := s.filterLocked(sb, sb.name)
	s.rejudgeLocked(sb)
	if sb.choice == nil {
		if f == nil {
			return false
		}
		sb.choice = new(choice)
	}
	if sb.delta {
		return f != nil
	}
	sb.choice.now.Store(f)
	s.shard.push(message{kind: msgFilter, sub: sb})
	return false
}

// refilterAllLocked is refilterLocked for all subscriptions, and returns those
// that have to be made anew.
func (s *Session) refilterAllLocked() (patched []*sub) {
	for _, sb := range s.mu.subs.list {
		if s.refilterLocked(sb) {
			patched = append(patched, sb)
		}
	}
	return patched
}

// refilter gives a subscription the filter that it should have.
func (s *shard) refilter(sb *sub) {
	f := sb.choice.now.Load()
	p := s.part(sb.topic)
	if sb.state != subLive || p == nil {
		sb.filter = f
		return
	}
	s.fanout(p)
	p.delist(sb)
	sb.filter = f
	p.enlist(sb)
}

// Filter returns what a session may have at most of a channel's publications,
// whatever it asks for: what its tokens say. Nil is everything.
func (s *Session) Filter(name string) *filter.Filter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *filter.Filter
	if s.mu.identity != nil {
		f = s.mu.identity.Filter(name)
	}
	if sb := s.mu.subs.get(name); sb != nil && sb.choice != nil {
		f = filter.And(f, sb.choice.limit)
	}
	return f
}

// sieved reports whether a subscription does not get everything.
func (sb *sub) sieved() bool { return sb.current() != nil }

// current is its filter for others than the shard.
func (sb *sub) current() *filter.Filter {
	s := sb.session
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filterLocked(sb, sb.name)
}

// matching returns those publications that a subscription gets.
func (sb *sub) matching(pubs []*channel.Publication) []*channel.Publication {
	out := matching(sb.current(), pubs)
	sb.topic.ns.metrics.Filtered.Add(int64(len(pubs) - len(out)))
	return out
}

// matching returns the publications that a filter lets through.
func matching(f *filter.Filter, pubs []*channel.Publication) []*channel.Publication {
	if f == nil {
		return pubs
	}
	var out []*channel.Publication
	for _, p := range pubs {
		if f.Match(p.Tags) {
			out = append(out, p)
		}
	}
	return out
}

// filteredHistory is History of what a filter lets through. It reads on until
// it has what was asked for.
func (h *Hub) filteredHistory(ctx context.Context, r HistoryRequest, f *filter.Filter) (channel.ReadResult, error) {
	if f == nil || r.Limit == 0 {
		return h.History(ctx, r)
	}
	most := h.opts.Limits.HistoryRead
	if r.Limit > 0 {
		most = min(most, r.Limit)
	}
	r.Limit = -1
	var found []*channel.Publication
	bytes := 0
	for read := 0; ; {
		out, err := h.History(ctx, r)
		if err != nil {
			return out, err
		}
		n := len(out.Pubs)
		for _, p := range out.Pubs {
			if f.Match(p.Tags) && len(found) < most {
				found = append(found, p)
				bytes += len(p.Data)
			}
		}
		read += n
		if n == 0 || len(found) == most || bytes > maxReply || over(&r, &out) {
			out.Pubs = found
			return out, nil
		}
		if read >= maxSieved {
			if len(found) > 0 {
				out.Pubs = found
				return out, nil // the client goes on behind them
			}
			h.opts.Metrics.Limit(observe.LimitSieved).Inc()
			return channel.ReadResult{}, channel.ErrLimitExceeded.With(fmt.Sprintf(
				"none of the %d publications that one call reads is for this client; go on from offset %d", read, out.Pubs[n-1].Offset))
		}
		r.Since = &out.Pubs[n-1].Position
	}
}

// over reports whether an answer holds the last there is.
func over(r *HistoryRequest, out *channel.ReadResult) bool {
	last := out.Pubs[len(out.Pubs)-1]
	if r.Reverse {
		return last.Prev == 0
	}
	return last.Offset >= out.Top.Offset
}
