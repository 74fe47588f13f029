package mercure

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"myelin/channel"
)

// everything is the matcher of all topics.
const everything = "*"

// The ways to read a matcher.
const (
	// kindExact is a topic as it is.
	kindExact = "Exact"
	// kindPattern is a URL pattern (https://urlpattern.spec.whatwg.org).
	kindPattern = "URLPattern"
	// kindSelector is what there was before: a topic as it is or a URI template
	// (RFC 6570).
	kindSelector = ""
	// kindTemplate is what is told of a selector that is a template.
	kindTemplate = "URITemplate"
)

// matcher selects topics.
type matcher struct {
	text string
	// way is the way it was read.
	way string
	// re is nil where the text itself is the topic, or everything.
	re *regexp.Regexp
	// read returns what of a topic re is about; nil for the topic as it is.
	read func(topic string) (string, bool)
}

// newMatcher reads a matcher of the hub at.
func newMatcher(kind, text string, at home) (*matcher, error) {
	m := &matcher{text: text, way: kind}
	if err := checkText(text); err != nil {
		return nil, err
	}
	if text == everything {
		return m, nil
	}
	var expression string
	var err error
	switch {
	case kind == kindPattern:
		if text, m.read = at.pattern(text); len(text) > maxPattern+len(homeDir) {
			return nil, channel.ErrBadRequest.With("the URL pattern is too long")
		}
		expression, err = pattern(text)
	case kind == kindSelector && strings.ContainsRune(text, '{'):
		expression, err = template(text)
	case kind == kindExact || kind == kindSelector:
		return m, nil
	default:
		return nil, channel.ErrBadRequest.With("a matcher is Exact or URLPattern")
	}
	if err != nil {
		return nil, err
	}
	// Package regexp matches in linear time, and bounds what it compiles.
	if m.re, err = regexp.Compile(`\A(?:` + expression + `)\z`); err != nil {
		return nil, channel.ErrBadRequest.With("the pattern cannot be read: " + err.Error())
	}
	return m, nil
}

// checkText returns nil for what a topic or matcher may consist of.
func checkText(s string) error {
	switch {
	case s == "":
		return channel.ErrBadRequest.With("a topic is empty")
	case len(s) > maxPattern:
		return channel.ErrBadRequest.With(fmt.Sprintf("a topic or matcher has more than %d bytes", maxPattern))
	case !utf8.ValidString(s):
		return channel.ErrBadRequest.With("a topic is not valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return channel.ErrBadRequest.With("a topic has a control character")
	}
	return nil
}

// exact reports whether the matcher is for one topic.
func (m *matcher) exact() bool { return m.re == nil && m.text != everything }

// kind returns how the matcher selects, in the words of revision 8, which knows
// no templates.
func (m *matcher) kind() string {
	switch {
	case m.way == kindSelector && m.re != nil:
		return kindTemplate
	case m.way == kindSelector:
		return kindExact
	}
	return m.way
}

// matches reports whether a topic is selected.
func (m *matcher) matches(topic string) bool {
	switch {
	case m.text == everything, m.text == topic && m.read == nil:
		return true
	case m.re == nil:
		return false
	}
	if m.read != nil {
		var ok bool
		if topic, ok = m.read(topic); !ok {
			return false
		}
	}
	return m.re.MatchString(topic)
}

// matchers selects what one of them does.
type matchers []*matcher

func (all matchers) matches(topic string) bool {
	for _, m := range all {
		if m.matches(topic) {
			return true
		}
	}
	return false
}

// The characters of RFC 6570 section 1.5 that an expansion may have; those
// beyond ASCII are in an IRI what they are percent-encoded in a URI.
const (
	unreserved = `(?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])`
	reserved   = `(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])`
)

// template returns the expression of what a URI template may expand to.
func template(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{")
		b.WriteString(regexp.QuoteMeta(before))
		if !found {
			return b.String(), nil
		}
		inside, after, closed := strings.Cut(rest, "}")
		names := strings.TrimLeft(inside, "+#./;?&")
		if !closed || names == "" || len(inside)-len(names) > 1 || strings.ContainsAny(names, "{ ") {
			return "", channel.ErrBadRequest.With("the URI template has an expression that RFC 6570 does not know")
		}
		b.WriteString(expansion(inside, strings.Count(names, ",")+1))
		s = after
	}
}

// expansion returns the expression of what one expression of a template, of n
// variables, may expand to. Each may be undefined.
func expansion(inside string, n int) string {
	list := func(first, sep, value string) string {
		return fmt.Sprintf(`(?:%s%s(?:%s%s)*)?`, first, value, sep, value)
	}
	name := `[A-Za-z0-9_.%]+`
	switch inside[0] {
	case '+':
		return reserved + `*`
	case '#':
		return `(?:#` + reserved + `*)?`
	case '.':
		return list(`\.`, `[.,]`, unreserved+`*`)
	case '/':
		return list(`/`, `[/,]`, unreserved+`*`)
	case ';':
		return list(`;`, `;`, name+`(?:=(?:`+unreserved+`|,)*)?`)
	case '?':
		return list(`\?`, `&`, name+`=(?:`+unreserved+`|,)*`)
	case '&':
		return list(`&`, `&`, name+`=(?:`+unreserved+`|,)*`)
	}
	if n == 1 {
		return `(?:` + unreserved + `|,)*`
	}
	return list(``, `,`, unreserved+`*`)
}
