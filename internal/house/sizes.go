package house

import (
	"go/ast"
	"slices"
)

// The bounds on size, in lines. Above the soft bound the report warns; above
// the hard one the build breaks. A function is counted from its signature to
// its closing brace.
const (
	fileSoftLines = 500
	fileHardLines = 800
	funcSoftLines = 70
	funcHardLines = 100
)

func checkSizes(t *tree, report *Report) {
	for _, s := range t.files {
		if s.generated {
			continue
		}
		switch {
		case s.lines > fileHardLines:
			report.violate(s.name, 0, "size", "%d lines, the wall is at %d: split it by nouns", s.lines, fileHardLines)
		case s.lines > fileSoftLines:
			report.warn(s.name, 0, "size", "%d lines, more than %d", s.lines, fileSoftLines)
		}
		if s.syntax == nil {
			continue
		}
		for _, fn := range functions(s.syntax) {
			lines := t.line(fn.End()) - t.line(fn.Pos()) + 1
			switch {
			case lines > funcHardLines:
				report.violate(s.name, t.line(fn.Pos()), "size", "%s has %d lines, the wall is at %d: give its steps names", fn.Name, lines, funcHardLines)
			case lines > funcSoftLines:
				report.warn(s.name, t.line(fn.Pos()), "size", "%s has %d lines, more than %d", fn.Name, lines, funcSoftLines)
			}
		}
	}
}

// functions returns the functions and methods that a file declares.
func functions(f *ast.File) []*ast.FuncDecl {
	var fns []*ast.FuncDecl
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return slices.Clip(fns)
}
