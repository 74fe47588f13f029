package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The bounds of the input and of the report.
const (
	maxBytes      = 1 << 20
	maxDepth      = 32
	maxNamespaces = 1000
	maxItems      = 256
	maxProblems   = 100
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	// Where is the origin: myelin.yaml:3:5, env MYELIN_A__B, --set a.b. It is
	// empty when nobody but Validate looked.
	Where string
	// Path is the key's full name, empty for the input as a whole.
	Path string
	// Message says what is wrong and what would be right.
	Message string
	// Suggestion is what was probably meant, if something is close.
	Suggestion string

	from origin
}

// String words the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	for _, part := range []string{p.Where, p.Path} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Suggestion)
	}
	return b.String()
}

// Errors is everything wrong with a configuration, in the order of the input.
type Errors struct { //nolint:errname // config.Errors reads better than config.ProblemsError
	// Problems are the first of them, at most 100.
	Problems []Problem
	// More counts those beyond.
	More int
}

// Error lists the problems, one in a line.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(p Problem) {
	if e.full() {
		e.More++
		return
	}
	e.Problems = append(e.Problems, p)
}

func (e *Errors) full() bool { return len(e.Problems) >= maxProblems }

// result is nil, or the problems sorted by origin.
func (e *Errors) result() error {
	if len(e.Problems) == 0 {
		return nil
	}
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.from.layer, b.from.layer),
			cmp.Compare(a.from.line, b.from.line),
			cmp.Compare(a.from.column, b.from.column),
		)
	})
	return e
}

// origin is the exact spot a setting came from.
type origin struct {
	// layer counts the places settings come from in rising precedence: the
	// file is 0, then each variable, then each --set. Problems of no place in
	// particular come last.
	layer        int
	name         string
	inFile       bool
	line, column int
}

func (o origin) at(line, column int) origin {
	o.line, o.column = max(line, 1), max(column, 1)
	return o
}

func (o origin) String() string {
	switch {
	case o.line == 0:
		return o.name
	case o.inFile:
		return fmt.Sprintf("%s:%d:%d", o.name, o.line, o.column)
	default:
		return fmt.Sprintf("%s at %d:%d", o.name, o.line, o.column)
	}
}
