package hub

import (
	"fmt"

	"myelin/internal/trie"
)

// patternFor returns what an account says of a pattern of the session that
// matches a channel, of one that brings it where there is one.
func (s *Session) patternFor(r *ExplainRequest) (a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sb := range s.mu.subs.list {
		if sb.pattern == nil || !sb.settled || !trie.Matches(sb.name, r.Channel) {
			continue
		}
		v := s.hub.judgeChannel(s.mu.identity, r.Channel)
		a.Pattern, a.PatternSince = sb.name, sb.pattern.since
		a.Denied = !v.allowed && !sb.pattern.whole
		a.Filtered = !v.filter.Match(r.Tags) || !s.filterLocked(sb, sb.name).Match(r.Tags)
		if !a.Denied {
			break
		}
	}
	return a
}

// weighPattern says what became of a publication for a client that is subscribed
// to a pattern only. There are no offsets over many channels, so it goes by time.
func weighPattern(e *Explanation, a *Account) (Verdict, string) {
	switch {
	case a.Denied:
		return VerdictNotSubscribed, fmt.Sprintf("its pattern %q matches the channel, which the client may not subscribe to, so it is left out", a.Pattern)
	case e.Pub != nil && e.Pub.Time < a.PatternSince:
		return VerdictEarlier, fmt.Sprintf("the subscription to the pattern %q began behind it, at %s; patterns recover nothing", a.Pattern, clockTime(a.PatternSince))
	case a.Filtered && e.Pub != nil:
		return VerdictSkipped, fmt.Sprintf("the client's filter, its own or that of its token, does not let the publication's tags through its pattern %q", a.Pattern)
	}
	v, reason := handed(e, a)
	return v, fmt.Sprintf("by its pattern %q: %s", a.Pattern, reason)
}
