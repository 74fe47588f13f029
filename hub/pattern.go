package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"myelin/channel"
	"myelin/internal/trie"
	"myelin/observe"
)

// everything is the pattern of all channels of all namespaces.
const everything = "**"

// patterns is what the hub knows of patterns. A pattern that has subscribers is
// a topic like a channel; what it is handed is what the trie of its namespace
// finds for each publication of it.
type patterns struct {
	hub    *Hub
	spaces map[string]*patternSpace
	// all is in place of the namespace of everything.
	all *Namespace
	// without is the first namespace that has none.
	without string
	// open counts the topics.
	open atomic.Int64
}

// patternSpace is the patterns of one namespace. The engine hands it all that
// is published there while there are any.
type patternSpace struct {
	hub *Hub
	ns  *Namespace
	// view is in place of the namespace for the topics of its patterns: of what
	// several channels bring nothing can be recovered, and nobody is present.
	view *Namespace
	// turn is held by who begins or ends the watching, users counts the topics
	// that need it.
	turn  chan struct{}
	users int

	mu struct {
		sync.RWMutex
		trie   trie.Trie[*topic]
		topics map[*topic]bool
	}
}

// newPatterns returns nil where no namespace has patterns.
func newPatterns(h *Hub) *patterns {
	p := &patterns{hub: h, spaces: make(map[string]*patternSpace)}
	var all []*patternSpace
	for _, name := range slices.Sorted(maps.Keys(h.opts.Namespaces)) {
		ns := h.opts.Namespaces[name]
		if ns.System || ns.Gate != nil {
			continue
		}
		if ns.Patterns == 0 {
			p.without = cmp.Or(p.without, name)
			continue
		}
		s := &patternSpace{hub: h, ns: ns, turn: make(chan struct{}, 1)}
		s.mu.topics = make(map[*topic]bool)
		s.view = viewOf(ns, s)
		p.spaces[name] = s
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil
	}
	p.all = viewOf(&Namespace{
		Policy: &channel.Policy{Namespace: everything}, JoinLeaveRate: joinLeaveRate,
		metrics: h.opts.Metrics.Namespace(everything), latency: h.opts.Metrics.PublishSeconds(everything),
	}, all...)
	return p
}

// viewOf returns what stands in place of a namespace for its patterns: its lane,
// its rule for the slow and the like, and nothing that is about one channel.
func viewOf(ns *Namespace, spaces ...*patternSpace) *Namespace {
	v := *ns
	v.Policy = &channel.Policy{Namespace: ns.Policy.Namespace}
	v.Presence, v.JoinLeave, v.Recover, v.Delta, v.life = false, false, false, false, false
	v.PositionCheck, v.spaces = -1, spaces
	return &v
}

// claims reports whether a name in a namespace is a pattern, well made or not.
func (p *patterns) claims(ns *Namespace, name string) bool {
	return p != nil && strings.IndexByte(name, '*') >= 0 && (p.spaces[ns.Policy.Namespace] != nil || name == everything)
}

// IsPattern reports whether a name is that of a pattern, well made or not, and
// not of a channel.
func (h *Hub) IsPattern(name string) bool {
	ns := h.opts.Namespaces[channel.Namespace(name)]
	return h.patterns != nil && (name == everything || ns != nil && h.patterns.claims(ns, name))
}

func errPattern(name string) error {
	return channel.ErrBadRequest.With(fmt.Sprintf("%q is a pattern, which can only be subscribed to", name))
}

// Place is Namespace for what can be subscribed to: a channel, or a pattern
// where there are patterns.
func (h *Hub) Place(name string) (*Namespace, error) {
	p := h.patterns
	if p == nil || strings.IndexByte(name, '*') < 0 {
		return h.Namespace(name)
	}
	if err := channel.CheckName(name); err != nil {
		return nil, err
	}
	if name == everything {
		return p.all, nil
	}
	space := channel.Namespace(name)
	if strings.IndexByte(space, '*') >= 0 && h.opts.Namespaces[space] == nil {
		return nil, channel.ErrBadRequest.With("a pattern names its namespace: \"chat:*\", and \"**\" for everything")
	}
	s := p.spaces[space]
	if s == nil {
		return h.Namespace(name)
	}
	if err := trie.Check(name); err != nil {
		if why, ok := errors.AsType[*trie.Reason](err); ok && why.Limit {
			h.opts.Metrics.Limit(observe.LimitPatternShape).Inc()
			return nil, channel.ErrLimitExceeded.With(err.Error())
		}
		return nil, channel.ErrBadRequest.With(err.Error())
	}
	return s.view, nil
}

// openPattern has the topic of a pattern handed what matches it.
func (t *topic) openPattern(ctx context.Context) error {
	h := t.hub
	err := h.patterns.count()
	for i, s := range t.ns.spaces {
		if err != nil {
			break
		}
		if err = s.enter(ctx, t); err != nil {
			for _, done := range t.ns.spaces[:i] {
				done.leave(t)
			}
			h.patterns.open.Add(-1)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.opening = false
	return err
}

// count makes room for one more pattern.
func (p *patterns) count() error {
	if most := p.hub.opts.Limits.Patterns; p.open.Add(1) > int64(most) {
		p.open.Add(-1)
		p.hub.opts.Metrics.Limit(observe.LimitPatterns).Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf("the server has the %d different patterns that it may have", most))
	}
	return nil
}

func (t *topic) closePattern() {
	for _, s := range t.ns.spaces {
		s.leave(t)
	}
	t.hub.patterns.open.Add(-1)
}

// enter adds a topic, and has the engine begin where it is the first.
func (s *patternSpace) enter(ctx context.Context, t *topic) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return channel.ErrUnavailable.Wrap(ctx.Err())
	}
	if s.users == 0 {
		if err := s.hub.engine.Watch(ctx, s.ns.Policy, s); err != nil {
			return err
		}
	}
	s.users++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.trie.Add(t.name, t)
	s.mu.topics[t] = true
	return nil
}

// leave takes a topic out, and has the engine end where it was the last.
func (s *patternSpace) leave(t *topic) {
	s.mu.Lock()
	s.mu.trie.Remove(t.name)
	delete(s.mu.topics, t)
	s.mu.Unlock()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.users--; s.users == 0 {
		s.hub.engine.Unwatch(s.ns.Policy)
	}
}

// Watched hands a publication to the patterns that match its channel.
func (s *patternSpace) Watched(p *channel.Publication) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.mu.trie.Match(p.Channel, func(t *topic) { t.match(p) })
}

// Gap tells the subscribers of all patterns of the namespace that they may have
// missed something.
func (s *patternSpace) Gap() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for t := range s.mu.topics {
		t.mu.Lock()
		t.sendLocked(message{kind: msgInsufficient})
		t.mu.Unlock()
	}
	if n := len(s.mu.topics); n > 0 {
		s.hub.opts.Logger.Info("what patterns bring may have a hole, their subscribers begin anew",
			observe.KeyNamespace, s.ns.Policy.Namespace, observe.KeyCount, n)
	}
}

// match hands a publication of a channel that the topic's pattern matches to
// its subscribers. Where a shard cannot keep up with what other nodes publish
// they begin anew.
func (t *topic) match(p *channel.Publication) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.top.Offset++
	d := &delivery{id: t.id, event: Event{Kind: EventPublication, Channel: t.name, Pub: p, Whole: true, order: t.mu.top.Offset}}
	if t.sendLocked(message{kind: msgDeliver, delivery: d}) {
		t.hub.opts.Metrics.Limit(observe.LimitPatternFeed).Inc()
		t.sendLocked(message{kind: msgInsufficient})
	}
}

// offset returns where an event stands among those of its topic.
func (e *Event) offset() uint64 {
	if e.order != 0 {
		return e.order
	}
	return e.Pub.Offset
}
