package hub

import (
	"fmt"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/observe"
)

// maxVerdicts is how many channels a session remembers whether it may have
// them; then it begins anew.
const maxVerdicts = 512

// patternSub is what is kept of a subscription to a pattern beside the rest.
type patternSub struct {
	// whole: the server gave it all that the pattern matches.
	whole bool
	// since is when it began, in Unix milliseconds.
	since int64
}

// mayMatch returns nil if the session may subscribe to a pattern.
func (s *Session) mayMatch(ns *Namespace, r *SubscribeRequest) error {
	s.mu.Lock()
	id, over := s.mu.identity, s.mu.state == sessionClosed
	s.mu.Unlock()
	switch {
	case over:
		return DisconnectConnectionClosed
	case id == nil:
		return channel.ErrUnauthorized.With("connect first")
	case r.Channel == everything:
		return s.hub.patterns.mayEverything(id, r.Grant != nil)
	case mayPattern(ns, id, r.Channel, r.Grant != nil):
		return nil
	}
	return errNoPattern(ns)
}

// mayPattern reports whether somebody may subscribe to a pattern at all. A
// capability gives that where it names all of the pattern's characters; which
// channels it then brings is another question.
func mayPattern(ns *Namespace, id *auth.Identity, pattern string, viaToken bool) bool {
	rules := auth.Rules{Subscribe: ns.Patterns}
	return viaToken || rules.Allows(auth.VerbSubscribe, pattern, id, false, viaToken)
}

func errNoPattern(ns *Namespace) error {
	return channel.ErrPermissionDenied.With(fmt.Sprintf(
		"patterns in namespace %q are for %s, or for a token with a wildcard capability \"sub\" that covers the pattern",
		ns.Policy.Namespace, ns.Patterns))
}

// mayEverything wants a right to patterns in every namespace, so that nobody
// takes for everything what is not.
func (p *patterns) mayEverything(id *auth.Identity, viaToken bool) error {
	if p.without != "" {
		return channel.ErrNotAvailable.With(fmt.Sprintf(
			"\"**\" is everything, and namespace %q has no patterns; subscribe to those that have, as in \"chat:**\"", p.without))
	}
	for _, s := range p.all.spaces {
		if !mayPattern(s.ns, id, everything, viaToken) {
			return errNoPattern(s.ns)
		}
	}
	return nil
}

// claimPatternLocked notes how a subscription to a pattern is to be served, if
// it is one. s.mu is held.
func (s *Session) claimPatternLocked(sb *sub, ns *Namespace, r *SubscribeRequest) error {
	if ns.spaces == nil {
		return nil
	}
	n := 0
	for _, other := range s.mu.subs.list {
		if other.pattern != nil {
			n++
		}
	}
	if most := s.hub.opts.Limits.PatternsPerConnection; n >= most {
		s.hub.opts.Metrics.Limit(observe.LimitPatternsPerConnection).Inc()
		return channel.ErrLimitExceeded.With(fmt.Sprintf("a connection may have %d patterns", most))
	}
	sb.pattern = &patternSub{whole: r.Granted || r.Grant != nil, since: time.Now().UnixMilli()}
	sb.judged = needsJudging(ns, s.mu.identity, sb.pattern.whole)
	return nil
}

// needsJudging reports whether what a pattern brings has to be looked at channel
// by channel: unless the rules let such clients subscribe to all of them, or the
// server said so for the whole pattern, and nothing is filtered.
func needsJudging(ns *Namespace, id *auth.Identity, whole bool) bool {
	if id.Filters() {
		return true
	}
	if whole {
		return false
	}
	for _, s := range ns.spaces {
		set := s.ns.Rules.Subscribe
		if !set.Has(auth.WhoAnonymous) && (!set.Has(auth.WhoUser) || id.Anonymous || id.User == "") {
			return true
		}
	}
	return false
}

// rejudgeLocked has the shard look at what a pattern brings by what the session's
// identity says now.
func (s *Session) rejudgeLocked(sb *sub) {
	if sb.pattern == nil || !sb.settled {
		return
	}
	m := message{kind: msgJudge, sub: sb}
	if needsJudging(sb.topic.ns, s.mu.identity, sb.pattern.whole) {
		m.offset = 1
	}
	s.shard.push(m)
}

// rejudge puts a subscription into the list it belongs to now.
func (s *shard) rejudge(sb *sub, judged bool) {
	p := s.part(sb.topic)
	if sb.judged == judged || sb.state != subLive || p == nil {
		sb.judged = judged
		return
	}
	s.fanout(p)
	p.delist(sb)
	sb.judged = judged
	p.enlist(sb)
}

// verdicts is what a session may have of the channels that its patterns match.
// It is the shard's.
type verdicts struct {
	// of is the identity that they are about.
	of    *auth.Identity
	known map[string]verdict
}

// verdict is about one channel: whether the session may subscribe to it, and
// what it may then have of it.
type verdict struct {
	allowed bool
	filter  *filter.Filter
}

// lets reports whether a subscription may be handed a publication that its
// pattern matches.
func (sb *sub) lets(p *channel.Publication) bool {
	s := sb.session
	id := s.Identity()
	v := s.verdicts
	if v == nil || v.of != id {
		v = &verdicts{of: id, known: make(map[string]verdict)}
		s.verdicts = v
	}
	known, ok := v.known[p.Channel]
	if !ok {
		if len(v.known) >= maxVerdicts {
			clear(v.known)
		}
		known = s.hub.judgeChannel(id, p.Channel)
		v.known[strings.Clone(p.Channel)] = known
	}
	return (known.allowed || sb.pattern.whole) && known.filter.Match(p.Tags)
}

func (h *Hub) judgeChannel(id *auth.Identity, name string) verdict {
	ns := h.opts.Namespaces[channel.Namespace(name)]
	if ns == nil || ns.System {
		return verdict{}
	}
	return verdict{allowed: ns.Rules.Allows(auth.VerbSubscribe, name, id, false, false), filter: id.Filter(name)}
}
