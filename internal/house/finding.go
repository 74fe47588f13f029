package house

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Finding is one place where the tree and the law differ.
type Finding struct {
	// File is relative to the inspected directory, with forward slashes.
	File string
	// Line is zero when the finding is about a file or package as a whole.
	Line int
	// Rule is the short name of the broken rule, for example "imports".
	Rule string
	// Message says what is wrong and what would be right.
	Message string
}

// String renders the finding as file:line: rule: message.
func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Rule, f.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Message)
}

// A Report is what an inspection found.
type Report struct {
	// Violations break the build.
	Violations []Finding
	// Warnings are near a bound: worth a look before they become violations.
	Warnings []Finding
	// Packages and Files count what was read, so that a test can prove that
	// the inspector saw anything at all.
	Packages, Files int
}

func (r *Report) violate(file string, line int, rule, format string, args ...any) {
	r.Violations = append(r.Violations, Finding{file, line, rule, fmt.Sprintf(format, args...)})
}

func (r *Report) warn(file string, line int, rule, format string, args ...any) {
	r.Warnings = append(r.Warnings, Finding{file, line, rule, fmt.Sprintf(format, args...)})
}

func (r *Report) sort() {
	for _, list := range [][]Finding{r.Violations, r.Warnings} {
		slices.SortFunc(list, func(a, b Finding) int {
			return cmp.Or(
				strings.Compare(a.File, b.File),
				cmp.Compare(a.Line, b.Line),
				strings.Compare(a.Rule, b.Rule),
				strings.Compare(a.Message, b.Message),
			)
		})
	}
}
