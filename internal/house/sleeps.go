package house

import (
	"go/ast"
	"go/token"
	"go/types"
)

// realTime names packages of tests that may sleep in real time, and why.
var realTime = map[string]string{
	"channel/channeltest": "engines that cannot live in a bubble are examined in real time",
	"engine/disk":         "processes that are killed and a database with goroutines of its own live in real time",
	"engine/jetstream":    "NATS servers, with sockets and elections, live in real time",
}

// A call is one use of time.Sleep or of a function of the package.
type call struct {
	from     types.Object // the declared function it happens in
	inBubble bool         // lexically inside synctest.Test
	pos      token.Pos
	file     *source
}

// A sleepWatch is what checkSleeps knows about one unit.
type sleepWatch struct {
	*unit
	// runners are the functions that run what they are given in a bubble.
	runners map[types.Object]bool
	sleeps  []call
	uses    map[types.Object][]call
}

// checkSleeps forbids time.Sleep except in virtual time: in tests, inside
// synctest.Test, directly or in functions that are used nowhere else. Product
// code waits on timers that it can stop.
func checkSleeps(t *tree, u *unit, report *Report) {
	w := &sleepWatch{unit: u, runners: map[types.Object]bool{}}
	for known := -1; known < len(w.runners); {
		known = len(w.runners)
		w.findRunners()
	}
	w.collect()
	for _, c := range w.sleeps {
		switch {
		case !c.file.isTest():
			report.violate(c.file.name, t.line(c.pos), "sleep",
				"product code does not sleep: select on a timer and on what ends the wait early")
		case realTime[u.pkg.path] != "":
		case !c.inBubble && !w.onlyInBubbles(c.from, map[types.Object]bool{}):
			report.violate(c.file.name, t.line(c.pos), "sleep",
				"tests do not sleep in real time: run inside synctest.Test, or wait for the event itself")
		}
	}
}

// bubble reports whether the call runs the functions it is given in a bubble.
func (w *sleepWatch) bubble(n *ast.CallExpr) bool {
	if importPath, name, ok := w.imported(n.Fun); ok {
		return importPath == "testing/synctest" && name == "Test"
	}
	var name *ast.Ident
	switch fun := ast.Unparen(n.Fun).(type) {
	case *ast.Ident:
		name = fun
	case *ast.SelectorExpr:
		name = fun.Sel
	default:
		return false
	}
	return w.runners[w.info.Uses[name]]
}

// findRunners notes the functions that use a parameter of a function type in a
// bubble, and only there: helpers that set the stage for a test in virtual
// time.
func (w *sleepWatch) findRunners() {
	for _, s := range w.files {
		for _, fn := range functions(s.syntax) {
			if fn.Body == nil {
				continue
			}
			for _, field := range fn.Type.Params.List {
				if _, isFunc := field.Type.(*ast.FuncType); !isFunc {
					continue
				}
				for _, name := range field.Names {
					inside, outside := w.usesOf(w.info.Defs[name], fn.Body)
					if inside > 0 && outside == 0 {
						w.runners[w.info.Defs[fn.Name]] = true
					}
				}
			}
		}
	}
}

// usesOf counts the uses of an object inside and outside of bubbles.
func (w *sleepWatch) usesOf(obj types.Object, body ast.Node) (inside, outside int) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if w.bubble(n) {
				in, out := w.usesOf(obj, &ast.CompositeLit{Elts: n.Args})
				inside += in + out
				return false
			}
		case *ast.Ident:
			if w.info.Uses[n] == obj {
				outside++
			}
		}
		return true
	})
	return inside, outside
}

// collect notes the sleeps, and the uses of the unit's functions.
func (w *sleepWatch) collect() {
	w.uses = map[types.Object][]call{}
	for _, s := range w.files {
		for _, fn := range functions(s.syntax) {
			if fn.Body != nil {
				w.collectCalls(call{from: w.info.Defs[fn.Name], file: s}, fn.Body)
			}
		}
		for _, spec := range varSpecs(s.syntax) {
			for _, value := range spec.Values {
				w.collectCalls(call{file: s}, value)
			}
		}
	}
}

// collectCalls walks a body. The body of a function literal belongs to the
// function it is written in.
func (w *sleepWatch) collectCalls(at call, body ast.Node) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if w.bubble(n) {
				inside := at
				inside.inBubble = true
				for _, arg := range n.Args {
					w.collectCalls(inside, arg)
				}
				return false
			}
		case *ast.SelectorExpr:
			if importPath, name, ok := w.imported(n); ok && importPath == "time" && name == "Sleep" {
				c := at
				c.pos = n.Pos()
				w.sleeps = append(w.sleeps, c)
			}
		case *ast.Ident:
			if fn, ok := w.info.Uses[n].(*types.Func); ok {
				w.uses[fn.Origin()] = append(w.uses[fn.Origin()], at)
			}
		}
		return true
	})
}

// onlyInBubbles reports whether every use of fn is in virtual time. Functions
// that are used nowhere, such as tests, are not. visiting breaks recursion: a
// function that calls itself is as good as its other uses.
func (w *sleepWatch) onlyInBubbles(fn types.Object, visiting map[types.Object]bool) bool {
	if fn == nil || len(w.uses[fn]) == 0 {
		return false
	}
	visiting[fn] = true
	outer := 0
	for _, c := range w.uses[fn] {
		if visiting[c.from] {
			continue
		}
		outer++
		if !c.inBubble && !w.onlyInBubbles(c.from, visiting) {
			return false
		}
	}
	return outer > 0
}
