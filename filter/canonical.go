package filter

import (
	"encoding/json"
	"slices"
	"strings"
)

// form is a node in canonical form, and its text.
type form struct {
	node *Node
	text string
}

func formOf(n *Node) form {
	b, err := json.Marshal(n)
	if err != nil {
		panic("filter: a node is not JSON") // strings and lists always are
	}
	return form{n, string(b)}
}

// canonical returns a checked node in the form that all nodes of its meaning
// and shape have: children sorted, each once, none of the operator of its
// parent, no operator over a single child, no double negation.
func canonical(n *Node) form {
	switch n.Op {
	case "":
		return canonicalLeaf(n)
	case opNot:
		return negate(canonical(n.Nodes[0]).node)
	}
	var children []form
	for _, child := range n.Nodes {
		c := canonical(child)
		if c.node.Op != n.Op {
			children = append(children, c)
			continue
		}
		for _, grandchild := range c.node.Nodes {
			children = append(children, formOf(grandchild))
		}
	}
	slices.SortFunc(children, func(a, b form) int { return strings.Compare(a.text, b.text) })
	children = slices.CompactFunc(children, func(a, b form) bool { return a.text == b.text })
	if len(children) == 1 {
		return children[0]
	}
	out := &Node{Op: n.Op, Nodes: make([]*Node, len(children))}
	for i, c := range children {
		out.Nodes[i] = c.node
	}
	return formOf(out)
}

// canonicalLeaf sorts the values. One value that is not empty is compared with
// it: there a missing tag, which counts as empty, is different too.
func canonicalLeaf(n *Node) form {
	out := &Node{Key: n.Key, Cmp: n.Cmp, Val: n.Val}
	if len(n.Vals) > 0 {
		vals := slices.Clone(n.Vals)
		slices.Sort(vals)
		out.Vals = slices.Compact(vals)
	}
	if len(out.Vals) == 1 && out.Vals[0] != "" {
		out.Cmp, out.Val, out.Vals = single(out.Cmp), out.Vals[0], nil
	}
	return formOf(out)
}

func single(cmp string) string {
	if cmp == cmpIn.String() {
		return cmpEqual.String()
	}
	return cmpNotEqual.String()
}

// negate returns the opposite of a canonical node. Only comparisons that have
// an opposite of their own are turned: neither 1 < x nor 1 >= x holds where x
// is no number.
func negate(n *Node) form {
	if n.Op == opNot {
		return formOf(n.Nodes[0])
	}
	if n.Op == "" {
		if cmp, _ := comparisonOf(n.Cmp); cmp <= cmpNotExists {
			// The opposites stand side by side.
			out := *n
			out.Cmp = (cmp ^ 1).String()
			return formOf(&out)
		}
	}
	return formOf(&Node{Op: opNot, Nodes: []*Node{n}})
}
