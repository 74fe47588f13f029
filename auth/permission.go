package auth

import (
	"errors"
	"fmt"
	"strings"
)

// Verb is something a client does with a channel.
type Verb uint8

// The verbs.
const (
	VerbSubscribe Verb = iota
	VerbPublish
	VerbPresence
	VerbHistory
)

// verbs lists every verb.
func verbs() []Verb { return []Verb{VerbSubscribe, VerbPublish, VerbPresence, VerbHistory} }

// String returns the verb as configuration writes it.
func (v Verb) String() string {
	switch v {
	case VerbSubscribe:
		return "subscribe"
	case VerbPublish:
		return "publish"
	case VerbPresence:
		return "presence"
	case VerbHistory:
		return "history"
	}
	return fmt.Sprintf("verb(%d)", uint8(v))
}

// Short returns the verb as tokens write it, or "" for no verb.
func (v Verb) Short() string {
	switch v {
	case VerbSubscribe:
		return "sub"
	case VerbPublish:
		return "pub"
	case VerbPresence:
		return "prs"
	case VerbHistory:
		return "hst"
	}
	return ""
}

// ParseVerb reads a verb as tokens write it.
func ParseVerb(short string) (Verb, error) {
	for _, v := range verbs() {
		if v.Short() == short {
			return v, nil
		}
	}
	return 0, fmt.Errorf("unknown verb %s, want sub, pub, prs or hst", quote(short))
}

// Who is a class of clients.
type Who uint8

// The classes.
const (
	// WhoAnonymous is everyone.
	WhoAnonymous Who = iota
	// WhoUser is every client with a user id.
	WhoUser
	// WhoSubscriber is every client now subscribed to the channel.
	WhoSubscriber
	// WhoToken is a client whose token names the channel.
	WhoToken
	// WhoNobody is no client at all. Alone in a list it says so aloud.
	WhoNobody
)

func classes() []Who {
	return []Who{WhoAnonymous, WhoUser, WhoSubscriber, WhoToken, WhoNobody}
}

// String returns the class as configuration writes it.
func (w Who) String() string {
	switch w {
	case WhoAnonymous:
		return "anonymous"
	case WhoUser:
		return "user"
	case WhoSubscriber:
		return "subscriber"
	case WhoToken:
		return "token"
	case WhoNobody:
		return "nobody"
	}
	return fmt.Sprintf("who(%d)", uint8(w))
}

// ParseWho reads a class. Its error names the classes, and the one most
// likely meant.
func ParseWho(name string) (Who, error) {
	names := make([]string, 0, len(classes()))
	for _, w := range classes() {
		if w.String() == name {
			return w, nil
		}
		names = append(names, w.String())
	}
	hint := ""
	if near := nearest(strings.ToLower(name), names); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	return 0, fmt.Errorf("unknown %s%s (known: %s)", quote(name), hint, strings.Join(names, ", "))
}

// WhoSet is a set of classes. The zero value is nobody.
type WhoSet uint8

// NewWhoSet makes a set of classes.
func NewWhoSet(classes ...Who) WhoSet {
	var s WhoSet
	for _, w := range classes {
		if w != WhoNobody {
			s |= 1 << w
		}
	}
	return s
}

// ParseWhoSet reads a list of classes and reports everything wrong with it at
// once. An empty list is nobody.
func ParseWhoSet(names []string) (WhoSet, error) {
	var set WhoSet
	var errs []error
	nobody := false
	for _, name := range names {
		w, err := ParseWho(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		nobody = nobody || w == WhoNobody
		set |= NewWhoSet(w)
	}
	if nobody && set != 0 {
		errs = append(errs, fmt.Errorf("%q stands beside %s: leave one of them out", WhoNobody, set))
	}
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return set, nil
}

// Has says whether the class is in the set.
func (s WhoSet) Has(w Who) bool {
	if w == WhoNobody {
		return s == 0
	}
	return s&(1<<w) != 0
}

// String lists the classes, "nobody" when there is none.
func (s WhoSet) String() string {
	if s == 0 {
		return WhoNobody.String()
	}
	var names []string
	for _, w := range classes() {
		if w != WhoNobody && s.Has(w) {
			names = append(names, w.String())
		}
	}
	return strings.Join(names, ", ")
}

// Rules say who may use each verb in a namespace. The zero value lets nobody
// do anything.
type Rules struct {
	Subscribe, Publish, Presence, History WhoSet
}

// Validate refuses rules that contradict themselves.
func (r *Rules) Validate() error {
	if r.Subscribe.Has(WhoSubscriber) {
		return fmt.Errorf("subscribe: %q makes no sense here, nobody is a subscriber before subscribing (want anonymous, user, token or nobody)", WhoSubscriber)
	}
	return nil
}

// For returns the classes that may use the verb.
func (r *Rules) For(verb Verb) WhoSet {
	switch verb {
	case VerbSubscribe:
		return r.Subscribe
	case VerbPublish:
		return r.Publish
	case VerbPresence:
		return r.Presence
	case VerbHistory:
		return r.History
	}
	return 0
}

// Allows says whether the client may use the verb on the channel. subscribed
// says that it is subscribed to the channel now, viaToken that it came there
// by a subscription token. What the rules forbid a capability in the identity
// may still allow, for the verbs it lists and no other. A nil identity is a
// client of which nothing is known.
func (r *Rules) Allows(verb Verb, channel string, id *Identity, subscribed, viaToken bool) bool {
	set := r.For(verb)
	switch {
	case set.Has(WhoAnonymous):
		return true
	case set.Has(WhoUser) && id != nil && !id.Anonymous && id.User != "":
		return true
	case set.Has(WhoSubscriber) && subscribed && verb != VerbSubscribe:
		return true
	case set.Has(WhoToken) && (viaToken || id.names(channel)):
		return true
	}
	return id.Can(verb, channel)
}

// nearest returns the candidate closest to the word, or "" when none is close
// enough to be meant.
func nearest(word string, candidates []string) string {
	const far = 3
	if len(word) > 32 {
		return ""
	}
	best, at := "", far
	for _, c := range candidates {
		d := distance(word, c)
		if strings.HasPrefix(word, c) || (len(word) > 2 && strings.HasPrefix(c, word)) {
			d = min(d, 1)
		}
		if d < at {
			best, at = c, d
		}
	}
	return best
}

// distance counts the single character edits between two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
