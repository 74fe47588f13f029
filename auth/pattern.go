package auth

import (
	"fmt"
	"strings"
)

// MaxPatternBytes is the longest pattern, and the longest name a pattern
// matches.
const MaxPatternBytes = 255

// channelSeparator is what a single star in a channel pattern does not cross.
const channelSeparator = ':'

// MatchChannel says whether the pattern matches the whole channel name: "*"
// stands for any run of characters but ':', "**" for any run at all, every
// other character for itself. A pattern or a channel longer than
// MaxPatternBytes matches nothing.
func MatchChannel(pattern, channel string) bool {
	return glob(pattern, channel, channelSeparator)
}

func checkPattern(pattern string) error {
	switch {
	case pattern == "":
		return fmt.Errorf("is empty")
	case len(pattern) > MaxPatternBytes:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(pattern), MaxPatternBytes)
	}
	return nil
}

// glob matches in time linear in the lengths, whatever the stars: most
// patterns have none, or one at the end; the rest run as an automaton.
func glob(pattern, name string, sep byte) bool {
	if len(pattern) > MaxPatternBytes || len(name) > MaxPatternBytes {
		return false
	}
	star := strings.IndexByte(pattern, '*')
	switch {
	case star < 0:
		return pattern == name
	case !strings.HasPrefix(name, pattern[:star]):
		return false
	}
	switch rest := name[star:]; pattern[star:] {
	case "*":
		return strings.IndexByte(rest, sep) < 0
	case "**":
		return true
	default:
		a := newAutomaton(pattern[star:])
		return a.accepts(rest, sep)
	}
}

// bits is a set of up to 256 automaton states.
type bits [4]uint64

func (b *bits) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b *bits) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// automaton runs all ways to match a pattern at once, one bit per way. State i
// means that the first i literals of the pattern have been seen. A star in
// front of literal i is a loop on state i, so there is nothing to backtrack.
// high and low hold, per half byte, the literals that have it there: their
// intersection is the literals equal to a byte, for 1 KiB of stack instead of
// the 8 KiB of a table over bytes.
type automaton struct {
	high, low   [16]bits
	within, any bits // states with a "*" loop, states with a "**" loop
	literals    int
}

func newAutomaton(pattern string) (a automaton) {
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c != '*':
			a.high[c>>4].set(a.literals)
			a.low[c&15].set(a.literals)
			a.literals++
		case i+1 < len(pattern) && pattern[i+1] == '*':
			a.any.set(a.literals)
			i++
		default:
			a.within.set(a.literals)
		}
	}
	return a
}

func (a *automaton) accepts(name string, sep byte) bool {
	var now bits
	now.set(0)
	for i := range len(name) {
		c := name[i]
		high, low := &a.high[c>>4], &a.low[c&15]
		var next bits
		var carry uint64
		for w := range now {
			step := now[w] & high[w] & low[w]
			next[w] = step<<1 | carry | now[w]&a.any[w]
			if c != sep {
				next[w] |= now[w] & a.within[w]
			}
			carry = step >> 63
		}
		if next == (bits{}) {
			return false
		}
		now = next
	}
	return now.has(a.literals)
}
