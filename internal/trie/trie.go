package trie

import (
	"fmt"
	"strings"
)

// MaxSegments is how many segments a pattern may have.
const MaxSegments = 12

// MaxStars is how many times "*" a pattern may have, the "**" at its end aside.
const MaxStars = 4

const separators = "./:"

// Reason is why a pattern is none.
type Reason struct {
	// Limit: it has more of something than it may.
	Limit bool
	text  string
}

// Error says what is wrong, and what would be right.
func (r *Reason) Error() string { return r.text }

func wrong(format string, args ...any) *Reason { return &Reason{text: fmt.Sprintf(format, args...)} }

// Check returns nil for what can be a pattern, else a *Reason.
func Check(pattern string) error {
	segments, stars := 0, 0
	for at, more := 0, true; more; {
		end, segment := cut(pattern, at)
		more = end < len(pattern)
		segments++
		switch {
		case segment == "**" && more:
			return wrong("\"**\" stands for all that follows, so nothing may follow it")
		case segment == "*":
			stars++
		case segment != "**" && strings.Contains(segment, "*"):
			return wrong("\"*\" stands for a whole segment between \".\", \"/\" and \":\", %q has it beside other characters", segment)
		}
		at = end + 1
	}
	switch {
	case segments > MaxSegments:
		return &Reason{Limit: true, text: fmt.Sprintf("the pattern has %d segments, at most %d are allowed", segments, MaxSegments)}
	case stars > MaxStars:
		return &Reason{Limit: true, text: fmt.Sprintf("the pattern has %d times \"*\", at most %d are allowed; \"**\" at the end does not count", stars, MaxStars)}
	}
	return nil
}

// cut returns the segment that begins at, and where it ends.
func cut(name string, at int) (end int, segment string) {
	end = at
	for end < len(name) && name[end] != '.' && name[end] != '/' && name[end] != ':' {
		end++
	}
	return end, name[at:end]
}

// Trie is patterns with a value each.
type Trie[V any] struct {
	root node[V]
	size int
}

// gap is what stands before a segment: nothing, or a separator.
type gap uint8

const gaps = 1 + len(separators)

// gapAt returns what stands before the segment behind place at of a name, -1
// being before its beginning.
func gapAt(name string, at int) gap {
	if at < 0 {
		return 0
	}
	return gap(1 + strings.IndexByte(separators, name[at]))
}

// node is a place between two segments.
type node[V any] struct {
	// literal is what goes on with a certain segment, by the separator and it.
	literal map[string]*node[V]
	star    [gaps]*node[V]
	rest    [gaps]*V
	end     *V
}

func (n *node[V]) empty() bool {
	return len(n.literal) == 0 && n.star == [gaps]*node[V]{} && n.rest == [gaps]*V{} && n.end == nil
}

// Len returns how many patterns there are.
func (t *Trie[V]) Len() int { return t.size }

// Add sets the value of a pattern, which [Check] has let pass.
func (t *Trie[V]) Add(pattern string, v V) {
	n := &t.root
	for before := -1; before < len(pattern); {
		end, segment := cut(pattern, before+1)
		g := gapAt(pattern, before)
		switch segment {
		case "**":
			t.set(&n.rest[g], v)
			return
		case "*":
			if n.star[g] == nil {
				n.star[g] = &node[V]{}
			}
			n = n.star[g]
		default:
			key := pattern[max(before, 0):end]
			next := n.literal[key]
			if next == nil {
				next = &node[V]{}
				if n.literal == nil {
					n.literal = make(map[string]*node[V], 1)
				}
				n.literal[key] = next
			}
			n = next
		}
		before = end
	}
	t.set(&n.end, v)
}

func (t *Trie[V]) set(place **V, v V) {
	if *place == nil {
		t.size++
	}
	*place = &v
}

// Remove takes a pattern out. One that is not in is no error.
func (t *Trie[V]) Remove(pattern string) { t.remove(&t.root, pattern, -1) }

// remove takes out what is left of a pattern below n.
func (t *Trie[V]) remove(n *node[V], pattern string, before int) {
	if before >= len(pattern) {
		t.unset(&n.end)
		return
	}
	end, segment := cut(pattern, before+1)
	g := gapAt(pattern, before)
	switch segment {
	case "**":
		t.unset(&n.rest[g])
	case "*":
		if next := n.star[g]; next != nil {
			if t.remove(next, pattern, end); next.empty() {
				n.star[g] = nil
			}
		}
	default:
		key := pattern[max(before, 0):end]
		if next := n.literal[key]; next != nil {
			if t.remove(next, pattern, end); next.empty() {
				delete(n.literal, key)
			}
		}
	}
}

func (t *Trie[V]) unset(place **V) {
	if *place != nil {
		t.size--
		*place = nil
	}
}

// Matches reports whether a pattern, which [Check] has let pass, matches a name.
func Matches(pattern, name string) (found bool) {
	var t Trie[bool]
	t.Add(pattern, true)
	t.Match(name, func(bool) { found = true })
	return found
}

// Match calls visit with the value of each pattern that matches a name, in no
// order.
func (t *Trie[V]) Match(name string, visit func(V)) { t.root.match(name, -1, visit) }

func (n *node[V]) match(name string, before int, visit func(V)) {
	if before >= len(name) {
		if n.end != nil {
			visit(*n.end)
		}
		return
	}
	g := gapAt(name, before)
	if n.rest[g] != nil {
		visit(*n.rest[g])
	}
	if n.star[g] == nil && n.literal == nil {
		return
	}
	end, _ := cut(name, before+1)
	if next := n.star[g]; next != nil {
		next.match(name, end, visit)
	}
	if next := n.literal[name[max(before, 0):end]]; next != nil {
		next.match(name, end, visit)
	}
}
