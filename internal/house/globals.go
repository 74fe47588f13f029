package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// A global is one package-level variable, by package path and name.
type global struct{ pkg, name string }

// checkGlobals wants package-level variables to be as good as constants: given
// a fixed value where they are declared, of a kind that has no state of its
// own, and never written to from anywhere in the module.
func checkGlobals(t *tree, units []*unit, report *Report) {
	writes := map[global]string{}
	for _, u := range units {
		collectWrites(t, u, writes)
	}
	for _, u := range units {
		for _, s := range u.files {
			if s.isTest() {
				continue
			}
			for _, spec := range varSpecs(s.syntax) {
				for i, name := range spec.Names {
					if name.Name == "_" {
						continue
					}
					line := t.line(name.Pos())
					if reason := u.whyMutable(spec, i); reason != "" {
						report.violate(s.name, line, "globals",
							"%s %s: let a struct own it, or make it a value fixed where it is declared", name.Name, reason)
					} else if at, ok := writes[global{u.path, name.Name}]; ok {
						report.violate(s.name, line, "globals",
							"%s is written at %s: package-level variables hold constants, state belongs to a struct", name.Name, at)
					}
				}
			}
		}
	}
}

// varSpecs returns the package-level variable declarations of a file, with the
// comment of a lone declaration moved to its spec.
func varSpecs(f *ast.File) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, spec := range decl.Specs {
			v := *spec.(*ast.ValueSpec)
			if v.Doc == nil {
				v.Doc = decl.Doc
			}
			specs = append(specs, &v)
		}
	}
	return specs
}

// errorName is how sentinels are called; they may be pointers, since their
// identity is their value.
var errorName = regexp.MustCompile(`^(?:Err|err)(?:[A-Z].*)?$|Error$`)

// whyMutable says what makes the i-th variable of the declaration mutable, or
// nothing.
func (u *unit) whyMutable(spec *ast.ValueSpec, i int) string {
	switch {
	case spec.Doc != nil && slices.ContainsFunc(spec.Doc.List, isEmbed):
		return ""
	case u.isPool(spec.Type):
		return ""
	case len(spec.Values) == 0:
		return "is declared without a value"
	}
	// In "a, b = f()" one call stands for all.
	value := spec.Values[min(i, len(spec.Values)-1)]
	return u.stateOf(value, errorName.MatchString(spec.Names[i].Name))
}

func isEmbed(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }

// isPool allows sync.Pool: what is in a pool cannot be told from what is not.
func (u *unit) isPool(typ ast.Expr) bool {
	if typ == nil {
		return false
	}
	importPath, name, ok := u.imported(typ)
	return ok && importPath == "sync" && name == "Pool"
}

// stateOf says what in the expression brings state with it, or nothing.
func (u *unit) stateOf(e ast.Expr, isError bool) string {
	switch e := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		return u.stateOfLiteral(e, isError)
	case *ast.UnaryExpr:
		if _, isLit := ast.Unparen(e.X).(*ast.CompositeLit); e.Op == token.AND && isLit && !isError {
			return "is a pointer that anybody may write through"
		}
		return u.stateOf(e.X, isError)
	case *ast.CallExpr:
		return u.stateOfCall(e, isError)
	case *ast.BinaryExpr:
		if reason := u.stateOf(e.X, isError); reason != "" {
			return reason
		}
		return u.stateOf(e.Y, isError)
	case *ast.StarExpr, *ast.TypeAssertExpr:
		return "is computed in a way the house cannot follow"
	}
	return ""
}

// stateful are types of the standard library whose zero value exists to be
// changed.
var stateful = []string{
	"sync.Mutex", "sync.RWMutex", "sync.Map", "sync.Once", "sync.WaitGroup", "sync.Cond",
	"bytes.Buffer", "strings.Builder",
}

func (u *unit) stateOfLiteral(lit *ast.CompositeLit, isError bool) string {
	if lit.Type != nil && !u.isPool(lit.Type) {
		importPath, name, ok := u.imported(lit.Type)
		if ok && (importPath == "sync/atomic" || slices.Contains(stateful, importPath+"."+name)) {
			return "is a " + importPath + "." + name + ", which exists to be changed"
		}
	}
	for _, element := range lit.Elts {
		if kv, ok := element.(*ast.KeyValueExpr); ok {
			element = kv.Value
		}
		// Tables may hold pointers to their rows.
		if lit, ok := pointee(element); ok {
			element = lit
		}
		if reason := u.stateOf(element, isError); reason != "" {
			return reason
		}
	}
	return ""
}

func pointee(e ast.Expr) (*ast.CompositeLit, bool) {
	u, ok := e.(*ast.UnaryExpr)
	if !ok || u.Op != token.AND {
		return nil, false
	}
	lit, ok := u.X.(*ast.CompositeLit)
	return lit, ok
}

// pureCalls are functions of other packages whose result is as good as a
// constant.
var pureCalls = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`errors\.(?:New|Join)`,
	`fmt\.(?:Errorf|Sprintf?)`,
	`regexp\.MustCompile(?:POSIX)?`,
	`(?:text|html)/template\.Must`,
	`strings\..*`,
	`slices\.(?:Sorted|Concat|Collect)`,
	`maps\.Keys`,
	`sync\.Once(?:Func|Values?)`,
	`time\.(?:Date|Unix|Duration)`,
	`net/netip\.Must.*`,
	`hash/(?:crc32|crc64)\.MakeTable`,
	`encoding/base(?:32|64)\.NewEncoding`,
	`encoding/json\.RawMessage`,
	`reflect\.Type(?:For|Of)`,
	`math\..*`,
	`math/big\.New.*`,
	`github\.com/prometheus/client_golang/prometheus\.(?:NewDesc|BuildFQName)`,
}, "|") + `)$`)

func (u *unit) stateOfCall(call *ast.CallExpr, isError bool) string {
	fun := ast.Unparen(call.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok { // an instantiation: f[T](...)
		fun = index.X
	}
	if tv, ok := u.info.Types[fun]; ok && tv.IsType() {
		return u.stateOfArgs(call, isError)
	}
	if importPath, name, ok := u.imported(fun); ok {
		isOwn := strings.HasPrefix(importPath, u.module+"/")
		if pureCalls.MatchString(importPath+"."+name) || isError || isOwn && strings.HasPrefix(name, "Must") {
			return ""
		}
		return "is the result of " + importPath + "." + name + ", which the house does not know as free of state"
	}
	switch fun := fun.(type) {
	case *ast.FuncLit: // a table computed on the spot
		return ""
	case *ast.SelectorExpr: // a method: as good as what it is called on
		return u.stateOf(fun.X, isError)
	case *ast.Ident:
		return u.stateOfOwnCall(fun, isError)
	}
	return u.stateOfArgs(call, isError)
}

func (u *unit) stateOfArgs(call *ast.CallExpr, isError bool) string {
	for _, arg := range call.Args {
		if reason := u.stateOf(arg, isError); reason != "" {
			return reason
		}
	}
	return ""
}

// stateOfOwnCall judges builtins, and functions of the package itself by what
// they return.
func (u *unit) stateOfOwnCall(fun *ast.Ident, isError bool) string {
	switch obj := u.info.Uses[fun].(type) {
	case *types.Builtin:
		if obj.Name() == "make" || obj.Name() == "new" {
			return "is made empty, to be filled later"
		}
	case *types.Func:
		results := obj.Signature().Results()
		for v := range results.Variables() {
			switch v.Type().Underlying().(type) {
			case *types.Pointer, *types.Chan:
				if !isError {
					return "is a pointer or channel that anybody may write through"
				}
			}
		}
	}
	return ""
}
