package house

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// bannedEverywhere are standard packages with a better successor.
var bannedEverywhere = map[string]string{
	"log":       "log with log/slog",
	"io/ioutil": "use io and os",
	"math/rand": "use math/rand/v2, or crypto/rand for secrets",
}

// checkImports holds every single import against the floors, the libraries and
// the bans. What garden rooms reach through others is for checkReach.
func checkImports(t *tree, report *Report) {
	for _, p := range t.packages {
		room, level, ok := place(p.path)
		if !ok {
			continue // checkRooms has said so
		}
		for _, s := range p.files {
			v := visitor{t: t, report: report, source: s, room: room, level: level}
			for _, spec := range s.syntax.Imports {
				v.check(spec)
			}
		}
	}
}

// A visitor is a file looking at the packages it wants to import.
type visitor struct {
	t      *tree
	report *Report
	source *source
	room   string
	level  int
}

func (v *visitor) violate(spec *ast.ImportSpec, rule, format string, args ...any) {
	v.report.violate(v.source.name, v.t.line(spec.Pos()), rule, format, args...)
}

func (v *visitor) check(spec *ast.ImportSpec) {
	importPath, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return // a syntax error, reported as such
	}
	own, isOwn := v.t.own(importPath)
	switch {
	case isOwn:
		v.checkOwn(spec, own)
		v.checkBans(spec, own)
	case isStandard(importPath):
		v.checkStandard(spec, importPath)
		v.checkBans(spec, importPath)
	default:
		v.checkLibrary(spec, importPath)
	}
}

// own returns the path of a package of this module relative to the module.
func (t *tree) own(importPath string) (string, bool) {
	if importPath == t.module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.module+"/")
}

func (v *visitor) checkOwn(spec *ast.ImportSpec, to string) {
	room, level, ok := place(to)
	switch {
	case !ok:
		v.violate(spec, "imports", "%s is in no room of the floor table", to)
	case !v.source.isTest() && strings.HasSuffix(to, "test"):
		v.violate(spec, "imports", "%s exists for tests: product code may not import it", to)
	case room == v.room, v.source.isTest() && v.isFixture(room):
	case v.level == Garden:
		v.checkGarden(spec, room)
	case level == Garden:
		if !slices.Contains(gardeners[v.room], room) {
			v.violate(spec, "imports", "%s imports %s, a room of the garden: only server and cmd/myelin may use client, demo and bench", v.room, room)
		}
	case level == v.level:
		v.violate(spec, "imports",
			"%s imports %s sideways (both on floor %d): siblings are strangers, move what both need to a lower floor", v.room, room, level)
	case level > v.level:
		v.violate(spec, "imports",
			"%s (floor %d) imports %s (floor %d) uphill: declare the interface it needs down here and let the upper room provide it",
			v.room, v.level, room, level)
	}
}

// checkGarden holds the tests of a garden room to its list; its product code
// is followed further by checkReach.
func (v *visitor) checkGarden(spec *ast.ImportSpec, to string) {
	p := plotOf(v.room)
	if v.source.isTest() && !covered(p.reaches, to) {
		v.violate(spec, "imports", "tests of %s import %s: the garden table allows %s", v.room, to, listOf(p.reaches))
	}
}

func (v *visitor) isFixture(room string) bool {
	return slices.ContainsFunc(fixtures, func(f fixture) bool {
		return f.room == room && covered(f.users, v.room)
	})
}

func (v *visitor) checkBans(spec *ast.ImportSpec, importPath string) {
	if v.source.isTest() {
		return
	}
	for _, b := range bans {
		if b.room == v.room && slices.Contains(b.imports, importPath) {
			v.violate(spec, "imports", "%s imports %s: %s", v.room, importPath, b.why)
		}
	}
}

func (v *visitor) checkStandard(spec *ast.ImportSpec, importPath string) {
	if better, ok := bannedEverywhere[importPath]; ok {
		v.violate(spec, "imports", "do not import %s: %s", importPath, better)
	}
	isTesting := importPath == "testing" || strings.HasPrefix(importPath, "testing/")
	if isTesting && !v.source.isTest() {
		v.violate(spec, "imports", "product code imports %s: it belongs in tests and in packages named ...test", importPath)
	}
}

func (v *visitor) checkLibrary(spec *ast.ImportSpec, importPath string) {
	l, ok := libraryOf(importPath)
	switch {
	case !ok:
		v.violate(spec, "libraries",
			"%s is in no row of internal/house/libraries.go: a new module needs a room there and a sentence in the commit", importPath)
	case l.testOnly && !v.source.isTest():
		v.violate(spec, "libraries", "%s is for tests and packages named ...test only", importPath)
	case v.source.isTest() && slices.Contains(l.testRooms, v.room):
	case !l.testOnly && !covered(l.rooms, v.room):
		v.violate(spec, "libraries", "%s imports %s: only %s may see it, go through that room", v.room, importPath, listOf(l.rooms))
	}
}

// listOf joins names for a message.
func listOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
