package hub

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/internal/ordered"
	"myelin/observe"
)

const (
	// DefaultStatePage is how many entries a page has when nobody says.
	DefaultStatePage = 500
	// maxPageBytes is where a page of entries ends though it has fewer.
	maxPageBytes = 1 << 20
	// maxPagings is how many snapshots a session may be reading, and
	// maxHubPagings all of them: each may hold on to entries that are gone.
	maxPagings    = 16
	maxHubPagings = 10_000
	// pagingTimeout is how long reading one may take.
	pagingTimeout = time.Minute
)

// StateRequest asks for a page of the entries of a state channel, on the way to
// a subscription.
type StateRequest struct {
	// Subscribe is what the last page turns into.
	Subscribe SubscribeRequest
	// Cursor is "" for the first page, then the Next of the page before.
	Cursor string
	// Limit is how many entries at most, 0 for DefaultStatePage. It is cut to
	// Limits.HistoryRead.
	Limit int
	// Ascending reads by score from the lowest, instead of from the highest.
	// The order of keys is always upwards.
	Ascending bool
}

// StatePage is a page of entries. All pages are those of one position.
type StatePage struct {
	Position channel.Position
	Entries  []*channel.Publication
	// Next is the cursor of the next page, "" on the last one.
	Next string
	// Live is, on the last page, the subscription that Entries lead to. Its
	// Publications are what has changed since the first page: one for each key,
	// deletes at the offset of the subscription.
	Live *Subscription
}

// paging is a snapshot that a session is reading. It keeps its topic, so that
// the last page finds the entries where the first one did.
type paging struct {
	id      string
	topic   *topic
	at      channel.Position
	entries entries
	timer   *time.Timer
	// rate is what the first request asked for, see SubscribeRequest.Rate.
	rate float64
	// limit is what the right to the first page lets through: the pages after
	// it are asked for without.
	limit *filter.Filter
}

// SubscribeState reads the entries of a state channel and subscribes to it: a
// page with each call, and the last one is live. What changes meanwhile comes
// with it, so there is no gap and nothing twice, however many write. Where the
// entries of the first page are not known any more the answer is
// ErrUnrecoverable, and reading begins anew.
func (s *Session) SubscribeState(ctx context.Context, r StateRequest) (*StatePage, error) {
	name := r.Subscribe.Channel
	ns, err := s.hub.Namespace(name)
	if err != nil {
		return nil, err
	}
	if !ns.isState() {
		return nil, errNoState(ns)
	}
	if r.Limit <= 0 {
		r.Limit = DefaultStatePage
	}
	r.Limit = min(r.Limit, s.hub.opts.Limits.HistoryRead)
	if r.Cursor != "" {
		return s.nextPage(ctx, &r)
	}
	if err := s.mayJoin(ctx, ns, &r.Subscribe); err != nil {
		return nil, err
	}
	if err := s.hub.grantRevoked(s, r.Subscribe.Grant); err != nil {
		return nil, err
	}
	if s.subscription(name) != nil {
		return nil, errSubscribed()
	}
	s.endPaging(name, "")
	ctx, cancel := r.Subscribe.within(ctx)
	defer cancel()
	p, err := s.hub.openPaging(ctx, ns, name)
	if err != nil {
		return nil, err
	}
	p.rate, p.limit = r.Subscribe.Rate, limitOf(&r.Subscribe)
	return s.page(ctx, p, 0, &r)
}

// IsState returns nil for a channel that holds entries, else what is wrong.
func (s *Session) IsState(name string) error {
	_, err := s.hub.namespaceOfState(name)
	return err
}

func errNoState(ns *Namespace) error {
	return channel.ErrNotAvailable.With("namespace \"" + ns.Policy.Namespace + "\" holds no entries: its kind is log, not state")
}

func errSubscribed() error {
	return channel.ErrAlreadySubscribed.With("one subscription per channel and connection")
}

// mayJoin returns nil where the session may subscribe.
func (s *Session) mayJoin(ctx context.Context, ns *Namespace, r *SubscribeRequest) error {
	switch {
	case ns.Gate != nil && s.filterFor(r) != nil:
		return errGateFilter(ns)
	case ns.Gate != nil:
		return ns.Gate.Enter(ctx, s, r.Channel, r.Granted || r.Grant != nil)
	case r.Granted:
		return nil
	case ns.AskSubscribe && r.Grant == nil:
		r.asked = true
		return s.askSubscribe(ctx, r)
	case ns.spaces != nil:
		return s.mayMatch(ns, r)
	}
	return s.may(auth.VerbSubscribe, ns, r.Channel, r.Grant != nil)
}

// openPaging takes a snapshot.
func (h *Hub) openPaging(ctx context.Context, ns *Namespace, name string) (*paging, error) {
	t, err := h.acquire(ctx, name, ns)
	if err != nil {
		return nil, err
	}
	p := &paging{topic: t}
	if err := t.withState(ctx, func(e entries) { p.at, p.entries = t.mu.top, e }); err != nil {
		h.release(t)
		return nil, err
	}
	return p, nil
}

// page answers with the entries from rank on. It ends the paging, or keeps it
// for the next page.
func (s *Session) page(ctx context.Context, p *paging, rank int, r *StateRequest) (*StatePage, error) {
	list, next := pageOf(p.entries.order(), rank, r.Limit, p.entries.scored && !r.Ascending)
	f := filter.And(s.filterFor(&r.Subscribe), p.limit)
	out := &StatePage{Position: p.at, Entries: matching(f, list)}
	if next < p.entries.order().Len() {
		if p.id == "" {
			if err := s.keepPaging(p); err != nil {
				s.hub.release(p.topic)
				return nil, err
			}
		}
		out.Next = p.id + "." + strconv.Itoa(next)
		return out, nil
	}
	// The topic is there until the subscription has one of its own.
	defer func() {
		if p.id == "" || s.endPaging(p.topic.name, p.id) {
			s.hub.release(p.topic)
		}
	}()
	sub := r.Subscribe
	sub.paged, sub.Recover, sub.Rate = true, false, p.rate
	sn, err := s.Subscribe(ctx, sub)
	if err != nil {
		return nil, err
	}
	now := sn.sub.entries
	sn.sub.entries = entries{}
	if sn.at.Epoch != p.at.Epoch {
		sn.Cancel()
		return nil, channel.ErrUnrecoverable.With("the channel began anew since the first page; so must you")
	}
	sn.Publications, sn.Newest = changes(p.entries, now, sn.at, f), true
	out.Live = sn
	return out, nil
}

// pageOf returns up to limit entries from rank on, and the rank to go on from.
func pageOf(t ordered.Tree[*channel.Publication], rank, limit int, descending bool) (list []*channel.Publication, next int) {
	from, n := rank, min(limit, t.Len()-rank)
	if descending {
		from = t.Len() - rank - n
	}
	list = t.Page(from, n)
	if descending {
		slices.Reverse(list)
	}
	size := 0
	for i, p := range list {
		if size += int(entryBytes(p)); size > maxPageBytes && i > 0 {
			return inTime(list[:i]), rank + i
		}
	}
	return inTime(list), rank + n
}

// inTime returns, in the place of list, what has not outlived its use.
func inTime(list []*channel.Publication) []*channel.Publication {
	now := time.Now().UnixMilli()
	return slices.DeleteFunc(list, func(p *channel.Publication) bool { return p.Expires != 0 && p.Expires <= now })
}

// filterFor returns what a request for a subscription lets through.
func (s *Session) filterFor(r *SubscribeRequest) *filter.Filter {
	return filter.And(filter.And(s.Filter(r.Channel), limitOf(r)), r.Filter)
}

// limitOf returns what the right that a request brings lets through.
func limitOf(r *SubscribeRequest) *filter.Filter {
	f := r.Options.Filter
	if r.Grant != nil {
		f = filter.And(f, r.Grant.Filter)
	}
	return f
}

// changes returns what makes one snapshot another, which is at a position, for
// those who see what a filter lets through.
func changes(old, now entries, at channel.Position, f *filter.Filter) []*channel.Publication {
	sees := func(p *channel.Publication) bool { return f == nil || f.Match(p.Tags) }
	var out []*channel.Publication
	for p, put := range ordered.Changes(old.byKey, now.byKey, func(a, b *channel.Publication) bool { return a.Offset == b.Offset }) {
		if put && sees(p) {
			out = append(out, p)
		} else if was := old.get(p.Key); was != nil && sees(was) {
			out = append(out, &channel.Publication{Channel: p.Channel, Position: at, Op: channel.OpDelete, Key: p.Key})
		}
	}
	slices.SortStableFunc(out, func(a, b *channel.Publication) int { return cmp.Compare(a.Offset, b.Offset) })
	return out
}

// keepPaging keeps a snapshot for the pages that come.
func (s *Session) keepPaging(p *paging) error {
	if s.hub.pagings.Add(1) > maxHubPagings {
		s.hub.pagings.Add(-1)
		s.hub.opts.Metrics.Limit(observe.LimitSnapshots).Inc()
		return channel.ErrTooManyRequests.With("too many snapshots are being read on this node, try again")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case s.mu.state == sessionClosed:
		err = DisconnectConnectionClosed
	case len(s.mu.pagings) >= maxPagings:
		s.hub.opts.Metrics.Limit(observe.LimitSnapshots).Inc()
		err = channel.ErrTooManyRequests.With(fmt.Sprintf("a connection may be reading %d snapshots at a time", maxPagings))
	}
	if err != nil {
		s.hub.pagings.Add(-1)
		return err
	}
	p.id = strconv.FormatUint(rand.Uint64(), 36)
	if s.mu.pagings == nil {
		s.mu.pagings = make(map[string]*paging)
	}
	s.mu.pagings[p.topic.name] = p
	p.timer = time.AfterFunc(pagingTimeout, func() {
		s.hub.task(func() {
			if s.endPaging(p.topic.name, p.id) {
				s.hub.opts.Metrics.Limit(observe.LimitSnapshots).Inc()
				s.hub.release(p.topic)
			}
		})
	})
	return nil
}

// nextPage answers with a page after the first.
func (s *Session) nextPage(ctx context.Context, r *StateRequest) (*StatePage, error) {
	id, number, ok := strings.Cut(r.Cursor, ".")
	rank, err := strconv.Atoi(number)
	if !ok || err != nil || rank < 0 {
		return nil, channel.ErrBadRequest.With("the cursor is not one of a page before")
	}
	s.mu.Lock()
	p := s.mu.pagings[r.Subscribe.Channel]
	s.mu.Unlock()
	switch {
	case p == nil || p.id != id:
		return nil, channel.ErrUnrecoverable.With("the snapshot of this cursor is not kept any more; begin anew without one")
	case rank >= p.entries.order().Len():
		return nil, channel.ErrBadRequest.With("the cursor is not one of a page before")
	}
	return s.page(ctx, p, rank, r)
}

// endPaging ends the reading of a snapshot, whatever its id where that is "",
// and reports whether it was there. With an id its topic is the caller's to
// release.
func (s *Session) endPaging(name, id string) bool {
	s.mu.Lock()
	p := s.mu.pagings[name]
	if p == nil || id != "" && p.id != id {
		s.mu.Unlock()
		return false
	}
	delete(s.mu.pagings, name)
	s.mu.Unlock()
	p.timer.Stop()
	s.hub.pagings.Add(-1)
	if id == "" {
		s.hub.release(p.topic)
	}
	return true
}

// endPagings ends them all, for a session that has closed.
func (s *Session) endPagings() {
	s.mu.Lock()
	names := make([]string, 0, len(s.mu.pagings))
	for name := range s.mu.pagings {
		names = append(names, name)
	}
	s.mu.Unlock()
	for _, name := range names {
		s.endPaging(name, "")
	}
}

// beginState fills in what a subscription to a state channel begins with.
func (h *Hub) beginState(r *SubscribeRequest, out *Subscription) error {
	sb := out.sub
	out.at = out.Position
	if r.paged {
		return nil // it compares them with what the client has
	}
	e := sb.entries
	sb.entries = entries{}
	if out.Recovered {
		return nil
	}
	if e.bytes-int64(e.byKey.Len())*entryOverhead > maxReply {
		h.opts.Metrics.Limit(observe.LimitRecovery).Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf(
			"the entries have more than the %d bytes of one answer; read them in pages, with a map subscription or myelin.state.list", maxReply))
	}
	out.Publications, out.Whole = sb.matching(e.inOrder()), true
	return nil
}
