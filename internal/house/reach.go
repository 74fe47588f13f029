package house

import (
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An edge is the first import of one package by the product code of another.
type edge struct {
	to   string
	file string
	pos  token.Pos
}

// checkReach follows the imports of garden rooms to their end: a promise such
// as "client brings in protocol and channel and nothing else" is worth
// something only if it holds for what those bring in.
func checkReach(t *tree, report *Report) {
	graph := t.graph()
	for _, p := range t.packages {
		room, level, ok := place(p.path)
		if !ok || level != Garden {
			continue
		}
		plot := plotOf(room)
		for _, path := range foreign(graph, p.path, plot) {
			first, last := path[0], path[len(path)-1]
			chain := []string{p.path}
			for _, e := range path {
				chain = append(chain, e.to)
			}
			report.violate(first.file, t.line(first.pos), "reach", "%s reaches %s (%s): the garden table allows %s",
				room, last.to, strings.Join(chain, " -> "), listOf(plot.reaches))
		}
	}
}

// graph maps every package to what its product code imports of this module.
func (t *tree) graph() map[string][]edge {
	graph := map[string][]edge{}
	for _, p := range t.packages {
		seen := map[string]edge{}
		for _, s := range p.files {
			if s.isTest() {
				continue
			}
			for _, spec := range s.syntax.Imports {
				importPath, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					continue
				}
				to, isOwn := t.own(importPath)
				if _, again := seen[to]; isOwn && !again {
					seen[to] = edge{to, s.name, spec.Pos()}
				}
			}
		}
		for _, to := range slices.Sorted(maps.Keys(seen)) {
			graph[p.path] = append(graph[p.path], seen[to])
		}
	}
	return graph
}

// foreign walks breadth first from a package and returns the shortest path to
// each package outside the plot and its list. It does not look beyond those.
func foreign(graph map[string][]edge, from string, p plot) [][]edge {
	var found [][]edge
	seen := map[string]bool{from: true}
	queue := [][]edge{nil}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		at := from
		if len(path) > 0 {
			at = path[len(path)-1].to
		}
		for _, e := range graph[at] {
			if seen[e.to] {
				continue
			}
			seen[e.to] = true
			longer := append(slices.Clip(path), e)
			_, own := roomIn(p.room, e.to)
			if own || covered(p.reaches, e.to) {
				queue = append(queue, longer)
			} else {
				found = append(found, longer)
			}
		}
	}
	return found
}
