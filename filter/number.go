package filter

import "strings"

// Bounds of a number, which are those of the public reference server.
const (
	maxNumberBytes = 200
	maxFraction    = 19
)

// number is a decimal number: its digits before the point without leading
// zeros, and those behind it without trailing ones.
type number struct {
	negative    bool
	whole, part string
}

// parseNumber reads a number and reports whether s is one.
func parseNumber(s string) (number, bool) {
	if s == "" || len(s) > maxNumberBytes {
		return number{}, false
	}
	var n number
	switch s[0] {
	case '-':
		n.negative = true
		s = s[1:]
	case '+':
		s = s[1:]
	}
	whole, part, point := strings.Cut(s, ".")
	if !digits(whole) || (point && (!digits(part) || len(part) > maxFraction)) {
		return number{}, false
	}
	n.whole = strings.TrimLeft(whole, "0")
	n.part = strings.TrimRight(part, "0")
	if n.whole == "" && n.part == "" {
		n.negative = false
	}
	return n, true
}

// digits reports whether s is one digit or more and nothing else.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// compare returns less than 0, 0 or more, as n is less than o, o or more.
func (n *number) compare(o *number) int {
	if n.negative != o.negative {
		if n.negative {
			return -1
		}
		return 1
	}
	d := len(n.whole) - len(o.whole)
	if d == 0 {
		d = strings.Compare(n.whole, o.whole)
	}
	if d == 0 {
		d = strings.Compare(n.part, o.part)
	}
	if n.negative {
		return -d
	}
	return d
}
