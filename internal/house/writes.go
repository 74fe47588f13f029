package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
)

// collectWrites notes where the unit writes to package-level variables, its
// own or those of other packages, whole or in part.
func collectWrites(t *tree, u *unit, writes map[global]string) {
	note := func(e ast.Expr) {
		if g, ok := u.globalOf(e); ok {
			if _, seen := writes[g]; !seen {
				at := t.fset.Position(e.Pos())
				writes[g] = at.Filename + ":" + strconv.Itoa(at.Line)
			}
		}
	}
	for _, s := range u.files {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						note(e)
					}
				}
			case *ast.IncDecStmt:
				note(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					note(n.Key)
					note(n.Value)
				}
			case *ast.UnaryExpr:
				// The address of a whole variable is as good as a write.
				if n.Op == token.AND && isName(n.X) {
					note(n.X)
				}
			case *ast.CallExpr:
				if u.isBuiltin(n.Fun, "delete", "clear", "copy") && len(n.Args) > 0 {
					note(n.Args[0])
				}
			}
			return true
		})
	}
}

func isName(e ast.Expr) bool {
	_, isIdent := e.(*ast.Ident)
	return isIdent
}

func (u *unit) isBuiltin(fun ast.Expr, names ...string) bool {
	ident, ok := fun.(*ast.Ident)
	if !ok {
		return false
	}
	b, ok := u.info.Uses[ident].(*types.Builtin)
	return ok && slices.Contains(names, b.Name())
}

// globalOf returns the package-level variable that an assignable expression
// such as v, v.f[i] or pkg.V.f is part of.
func (u *unit) globalOf(e ast.Expr) (global, bool) {
	for e != nil {
		if importPath, name, ok := u.imported(e); ok {
			return global{importPath, name}, true
		}
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.Ident:
			v, ok := u.info.Uses[x].(*types.Var)
			if !ok || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
				return global{}, false
			}
			return global{v.Pkg().Path(), v.Name()}, true
		default:
			return global{}, false
		}
	}
	return global{}, false
}

// checkInit finds init functions: work nobody asked for, in an order nobody
// sees.
func checkInit(t *tree, u *unit, report *Report) {
	for _, s := range u.files {
		for _, fn := range functions(s.syntax) {
			if fn.Recv == nil && fn.Name.Name == "init" {
				report.violate(s.name, t.line(fn.Pos()), "init",
					"no init functions: let a constructor do it, or TestMain in tests")
			}
		}
	}
}
