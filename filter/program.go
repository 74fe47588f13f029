package filter

import (
	"slices"
	"strings"
)

// comparison is what a leaf does.
type comparison uint8

const (
	cmpEqual comparison = iota
	cmpNotEqual
	cmpIn
	cmpNotIn
	cmpExists
	cmpNotExists
	cmpStarts
	cmpEnds
	cmpContains
	cmpLess
	cmpLessEqual
	cmpGreater
	cmpGreaterEqual
)

// comparisons returns the names of all, in their order.
func comparisons() []string {
	return []string{"eq", "neq", "in", "nin", "ex", "nex", "sw", "ew", "ct", "lt", "lte", "gt", "gte"}
}

func comparisonOf(name string) (comparison, bool) {
	i := slices.Index(comparisons(), name)
	return comparison(max(i, 0)), i >= 0
}

func comparisonNames() string { return strings.Join(comparisons(), ", ") }

func (c comparison) String() string { return comparisons()[c] }

// What a comparison compares with.
const (
	takesVal = iota
	takesVals
	takesNothing
)

func (c comparison) takes() int {
	switch c {
	case cmpIn, cmpNotIn:
		return takesVals
	case cmpExists, cmpNotExists:
		return takesNothing
	default:
		return takesVal
	}
}

// Where matching ends.
const (
	accept int16 = -1
	reject int16 = -2
)

// step is one leaf, and where to go on when it holds and when it does not: to
// a lower step, so that matching ends, or to accept or reject.
type step struct {
	cmp  comparison
	key  string
	val  string
	vals []string // sorted
	// num is val as a number, valid where numeric.
	num     number
	numeric bool
	yes, no int16
}

// emit appends the steps of a node and returns its first. Those that come
// after it in time stand before it.
func (f *Filter) emit(n *Node, yes, no int16) int16 {
	switch n.Op {
	case opNot:
		return f.emit(n.Nodes[0], no, yes)
	case opAnd:
		for _, child := range slices.Backward(n.Nodes) {
			yes = f.emit(child, yes, no)
		}
		return yes
	case opOr:
		for _, child := range slices.Backward(n.Nodes) {
			no = f.emit(child, yes, no)
		}
		return no
	}
	s := step{key: n.Key, val: n.Val, vals: n.Vals, yes: yes, no: no}
	s.cmp, _ = comparisonOf(n.Cmp)
	s.num, s.numeric = parseNumber(n.Val)
	f.code = append(f.code, s)
	return int16(len(f.code) - 1)
}

// Match reports whether tags are wanted.
func (f *Filter) Match(tags map[string]string) bool {
	if f == nil {
		return true
	}
	at := f.entry
	for at >= 0 {
		s := &f.code[at]
		if s.holds(tags) {
			at = s.yes
		} else {
			at = s.no
		}
	}
	return at == accept
}

func (s *step) holds(tags map[string]string) bool {
	tag, ok := tags[s.key]
	switch s.cmp {
	case cmpEqual:
		return ok && tag == s.val
	case cmpNotEqual:
		return !ok || tag != s.val
	case cmpIn, cmpNotIn:
		_, found := slices.BinarySearch(s.vals, tag)
		return found == (s.cmp == cmpIn)
	case cmpExists:
		return ok
	case cmpNotExists:
		return !ok
	case cmpStarts:
		return ok && strings.HasPrefix(tag, s.val)
	case cmpEnds:
		return ok && strings.HasSuffix(tag, s.val)
	case cmpContains:
		return ok && strings.Contains(tag, s.val)
	default:
		return ok && s.numeric && s.compares(tag)
	}
}

// compares reports whether a tag is a number on the right side of the step's.
func (s *step) compares(tag string) bool {
	n, ok := parseNumber(tag)
	if !ok {
		return false
	}
	switch d := n.compare(&s.num); s.cmp {
	case cmpLess:
		return d < 0
	case cmpLessEqual:
		return d <= 0
	case cmpGreater:
		return d > 0
	default:
		return d >= 0
	}
}
