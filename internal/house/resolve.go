package house

import (
	"go/ast"
	"go/types"
	"path"
	"strings"
)

// A unit is a set of files that the compiler sees as one package: a package
// with its inside tests, or its outside tests.
type unit struct {
	pkg    *pkg
	path   string // the full import path
	module string
	files  []*source
	info   *types.Info
}

// resolve finds out what the names in a package's files stand for. Imports are
// left opaque, so it needs nothing but the sources and survives code that does
// not compile: what cannot be known stays unknown.
func (t *tree) resolve(p *pkg) []*unit {
	var units []*unit
	for _, outside := range []bool{false, true} {
		u := &unit{pkg: p, path: path.Join(t.module, p.path), module: t.module}
		var syntax []*ast.File
		for _, s := range p.files {
			if !s.generated && strings.HasSuffix(s.syntax.Name.Name, "_test") == outside {
				u.files = append(u.files, s)
				syntax = append(syntax, s.syntax)
			}
		}
		if len(syntax) == 0 {
			continue
		}
		u.info = &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{},
			Defs:  map[*ast.Ident]types.Object{},
			Uses:  map[*ast.Ident]types.Object{},
		}
		config := types.Config{Importer: opaque{}, Error: func(error) {}}
		// The error only repeats that imports are opaque.
		_, _ = config.Check(u.path, t.fset, syntax, u.info)
		units = append(units, u)
	}
	return units
}

// opaque is an importer of packages with nothing in them.
type opaque struct{}

// Import returns an empty package. The name is a guess that only matters where
// the import is not named and its path does not end in the package's name.
func (opaque) Import(importPath string) (*types.Package, error) {
	if importPath == "unsafe" {
		return types.Unsafe, nil
	}
	name := path.Base(importPath)
	if isVersion(name) {
		name = path.Base(path.Dir(importPath))
	}
	p := types.NewPackage(importPath, name)
	p.MarkComplete()
	return p, nil
}

// isVersion reports whether a path element is a major version such as v2.
func isVersion(element string) bool {
	digits, ok := strings.CutPrefix(element, "v")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// imported returns the package and the name when the expression is a qualified
// identifier such as time.Sleep.
func (u *unit) imported(e ast.Expr) (importPath, name string, ok bool) {
	sel, isSel := ast.Unparen(e).(*ast.SelectorExpr)
	if !isSel {
		return "", "", false
	}
	x, isIdent := sel.X.(*ast.Ident)
	if !isIdent {
		return "", "", false
	}
	p, isPkg := u.info.Uses[x].(*types.PkgName)
	if !isPkg {
		return "", "", false
	}
	return p.Imported().Path(), sel.Sel.Name, true
}
