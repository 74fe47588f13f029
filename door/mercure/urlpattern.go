package mercure

import (
	"regexp"
	"strings"

	"myelin/channel"
)

// pattern returns the expression of what a URL pattern matches. It knows what
// the constructor string of the standard has: named groups, wildcards, groups
// in braces and in parentheses, and the modifiers ?, * and +. The query and the
// fragment, where the pattern has none, may be anything.
func pattern(s string) (string, error) {
	p := &patternReader{rest: s, stop: `[^/?#]`}
	if scheme, _, absolute := strings.Cut(s, "://"); absolute && !strings.ContainsAny(scheme, "/?#") {
		p.stop, p.host = `[^./?#]`, true // until its end
	}
	if err := p.read(0); err != nil {
		return "", err
	}
	if !p.query {
		p.out.WriteString(`(?:\?[^#]*)?`)
	}
	if !p.fragment {
		p.out.WriteString(`(?:#.*)?`)
	}
	return p.out.String(), nil
}

// patternReader turns a pattern into an expression, from left to right.
type patternReader struct {
	rest string
	out  strings.Builder
	// stop is what a named group does not go beyond, by where it stands.
	stop string
	// host: what stands there is a host's name, in which case means nothing.
	host            bool
	slashes         int
	query, fragment bool
}

func badPattern(why string) error { return channel.ErrBadRequest.With("the URL pattern " + why) }

// maxBraces is how deep groups may stand in each other.
const maxBraces = 8

// read reads to the end, or to that of the group it is in.
func (p *patternReader) read(depth int) error {
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == '}' && depth > 0:
			return nil
		case c == '}':
			return badPattern("has a } without a {")
		case c == '{':
			if err := p.group(depth); err != nil {
				return err
			}
		case c == '\\':
			if len(p.rest) < 2 {
				return badPattern(`ends with a \`)
			}
			p.literal(p.rest[1:2])
			p.rest = p.rest[2:]
		case c == '*':
			p.rest = p.rest[1:]
			p.out.WriteString(`(?:.*)` + p.modifier())
		case c == ':' && len(p.rest) > 1 && isName(p.rest[1], true):
			p.named()
		case c == '(':
			if err := p.expression(); err != nil {
				return err
			}
		default:
			p.plain(c)
		}
	}
	return nil
}

// plain takes one byte as it is.
func (p *patternReader) plain(c byte) {
	switch c {
	case '?':
		p.query, p.stop = true, `[^&#]`
	case '#':
		p.fragment, p.stop = true, `.`
	case '/':
		if p.slashes++; p.slashes == 3 {
			p.stop, p.host = `[^/?#]`, false
		}
	}
	if p.host {
		p.literal(strings.ToLower(p.rest[:1]))
		p.rest = p.rest[1:]
		return
	}
	p.literal(p.rest[:1])
	p.rest = p.rest[1:]
}

// literal adds text. A rune of several bytes comes byte by byte, and none of
// its bytes means anything to an expression.
func (p *patternReader) literal(s string) { p.out.WriteString(regexp.QuoteMeta(s)) }

// modifier takes what says how often, "" for once.
func (p *patternReader) modifier() string {
	if p.rest != "" && strings.IndexByte("?*+", p.rest[0]) >= 0 {
		m := p.rest[:1]
		p.rest = p.rest[1:]
		return m
	}
	return ""
}

func (p *patternReader) group(depth int) error {
	if depth == maxBraces {
		return badPattern("has groups too deep in each other")
	}
	p.rest = p.rest[1:]
	p.out.WriteString(`(?:`)
	if err := p.read(depth + 1); err != nil {
		return err
	}
	if p.rest == "" {
		return badPattern("has a { without a }")
	}
	p.rest = p.rest[1:]
	p.out.WriteString(`)` + p.modifier())
	return nil
}

func isName(c byte, first bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80 || !first && c >= '0' && c <= '9'
}

// named takes a named group, and the expression behind it where there is one.
func (p *patternReader) named() {
	end := 1
	for end < len(p.rest) && isName(p.rest[end], end == 1) {
		end++
	}
	p.rest = p.rest[end:]
	if strings.HasPrefix(p.rest, "(") {
		return // it says itself what it matches
	}
	p.out.WriteString(`(?:` + p.stop + `+)` + p.modifier())
}

// expression takes a regular expression in parentheses.
func (p *patternReader) expression() error {
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				inside := p.rest[1:i]
				if _, err := regexp.Compile(inside); err != nil || inside == "" {
					return badPattern("has an expression that cannot be read; it is one of RE2")
				}
				p.rest = p.rest[i+1:]
				p.out.WriteString(`(?:` + inside + `)` + p.modifier())
				return nil
			}
		}
	}
	return badPattern("has a ( without a )")
}
