package house

import (
	"path"
	"slices"
	"strings"
)

// checkRooms wants every package in a room of the table, named for what it is,
// with a comment that says so.
func checkRooms(t *tree, report *Report) {
	for _, p := range t.packages {
		if len(p.files) == 0 {
			continue
		}
		where := p.files[0].name
		if _, _, ok := place(p.path); !ok {
			report.violate(where, 0, "rooms",
				"package %s is in no room of the floor table: move it into a room, or add its room to internal/house/floors.go and to the design", p.path)
		}
		for dir := range strings.SplitSeq(p.path, "/") {
			if slices.Contains(badNames, dir) {
				report.violate(where, 0, "rooms",
					"%q in %s says nothing about what is inside: name the package for its noun", dir, p.path)
			}
		}
		if !hasComment(p) {
			report.violate(path.Dir(where)+"/", 0, "rooms",
				"package %s has no package comment: say in doc.go what it is, its nouns and its promises", p.name)
		}
	}
}

// hasComment reports whether a file of the package says what the package is:
// one that ships, unless the package consists of tests.
func hasComment(p *pkg) bool {
	isTestFile := func(s *source) bool { return strings.HasSuffix(s.name, "_test.go") }
	onlyTests := !slices.ContainsFunc(p.files, func(s *source) bool { return !isTestFile(s) })
	return slices.ContainsFunc(p.files, func(s *source) bool {
		return (onlyTests || !isTestFile(s)) && strings.TrimSpace(s.syntax.Doc.Text()) != ""
	})
}
