package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// The operators that join nodes; a leaf has none.
const (
	opAnd = "and"
	opOr  = "or"
	opNot = "not"
)

// Bounds that no filter may be over.
const (
	// MaxNodes is how many nodes there may be, leaves and others.
	MaxNodes = 128
	// MaxDepth is how deep they may be nested; a leaf alone is 1 deep.
	MaxDepth = 16
	// MaxVals is how many values all leaves together may list.
	MaxVals = 1024
	// MaxBytes is how long all keys and values together may be, and a filter
	// in JSON.
	MaxBytes = 16 << 10
)

// Node is a filter as it is written. A leaf has no Op and compares the tag Key
// by Cmp with Val or Vals; another node joins Nodes by Op.
type Node struct {
	Op    string   `json:"op,omitempty"`
	Key   string   `json:"key,omitempty"`
	Cmp   string   `json:"cmp,omitempty"`
	Val   string   `json:"val,omitempty"`
	Vals  []string `json:"vals,omitempty"`
	Nodes []*Node  `json:"nodes,omitempty"`
}

// Error says what is wrong with a filter, and what would be right.
type Error struct {
	// Limit names the limit that was hit: "nodes", "depth", "vals" or "bytes";
	// empty where the filter is malformed.
	Limit   string
	message string
}

// Error returns the message.
func (e *Error) Error() string { return e.message }

func malformed(format string, args ...any) error {
	return &Error{message: fmt.Sprintf(format, args...)}
}

// Limits are what a filter may be at most, where that is less than the Max
// constants say. Zero is no less.
type Limits struct {
	Nodes int
}

// Filter is a compiled filter. The nil Filter matches everything.
type Filter struct {
	tree *Node
	text string
	code []step
	// entry is where matching begins.
	entry int16
}

// Compile checks a tree and compiles it. The tree is not kept.
func Compile(n *Node, l Limits) (*Filter, error) {
	c := checker{nodes: MaxNodes, vals: MaxVals, bytes: MaxBytes}
	if l.Nodes > 0 {
		c.nodes = min(c.nodes, l.Nodes)
	}
	c.most = c.nodes
	if err := c.check(n, 1); err != nil {
		return nil, err
	}
	return build(n), nil
}

// build compiles a tree that has been checked.
func build(n *Node) *Filter {
	tree := canonical(n)
	f := &Filter{tree: tree.node, text: tree.text}
	f.entry = f.emit(tree.node, accept, reject)
	return f
}

// Parse reads a filter from JSON, in which unknown fields are refused, and
// compiles it.
func Parse(raw []byte, l Limits) (*Filter, error) {
	n, err := ParseNode(raw)
	if err != nil {
		return nil, err
	}
	return Compile(n, l)
}

// ParseNode reads a tree from JSON, for Compile to check.
func ParseNode(raw []byte) (*Node, error) {
	if len(raw) > MaxBytes {
		return nil, tooLong()
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var n *Node
	if err := dec.Decode(&n); err != nil {
		return nil, malformed("is not a filter in JSON: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("is not one JSON object: there is more behind it")
	}
	return n, nil
}

// And returns the filter that matches what both match. Nil matches all.
func And(a, b *Filter) *Filter {
	switch {
	case a == nil || a.Equal(b):
		return b
	case b == nil:
		return a
	}
	return build(&Node{Op: opAnd, Nodes: []*Node{a.tree, b.tree}})
}

// Equal reports whether two filters have the same canonical form.
func (f *Filter) Equal(o *Filter) bool {
	if f == nil || o == nil {
		return f == o
	}
	return f == o || f.text == o.text
}

// String returns the canonical form, which is JSON; "" of the nil Filter.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// MarshalJSON returns the canonical form.
func (f *Filter) MarshalJSON() ([]byte, error) {
	if f == nil {
		return []byte("null"), nil
	}
	return []byte(f.text), nil
}

// UnmarshalJSON reads what MarshalJSON has written. Two filters joined by And
// may be over the limits of one, so none but that of the nodes' number, times
// what joining comes to, is asked for.
func (f *Filter) UnmarshalJSON(raw []byte) error {
	var n *Node
	if err := json.Unmarshal(raw, &n); err != nil {
		return malformed("is not a filter in JSON: %v", err)
	}
	c := checker{nodes: joined * MaxNodes, vals: joined * MaxVals, bytes: joined * MaxBytes, slack: joined}
	if err := c.check(n, 1); err != nil {
		return err
	}
	*f = *build(n)
	return nil
}

// joined is how many filters are ever joined: of a client, its subscription
// token and its connection token.
const joined = 4

// checker counts down what a tree may still have.
type checker struct {
	nodes, vals, bytes int
	most               int // nodes at first, for the message
	slack              int // levels beyond MaxDepth
}

func tooLong() error {
	return &Error{"bytes", fmt.Sprintf("is longer than %d bytes", MaxBytes)}
}

// check refuses a tree that is malformed or too large. It goes no deeper than
// it may.
func (c *checker) check(n *Node, depth int) error {
	if n == nil {
		return malformed("has a node that is null")
	}
	if depth > MaxDepth+c.slack {
		return &Error{"depth", fmt.Sprintf("is nested deeper than %d", MaxDepth)}
	}
	if c.nodes--; c.nodes < 0 {
		return &Error{"nodes", fmt.Sprintf("has more than %d nodes", c.most)}
	}
	switch n.Op {
	case "":
		return c.checkLeaf(n)
	case opAnd, opOr, opNot:
	default:
		return malformed("has the op %q, want \"and\", \"or\", \"not\" or none", clip(n.Op))
	}
	switch {
	case n.Cmp != "" || n.Key != "" || n.Val != "" || len(n.Vals) > 0:
		return malformed("has a node %q that also compares: put the comparison into its nodes", n.Op)
	case len(n.Nodes) == 0:
		return malformed("has a node %q without nodes", n.Op)
	case n.Op == opNot && len(n.Nodes) != 1:
		return malformed("has a node \"not\" of %d nodes, want 1", len(n.Nodes))
	}
	for _, child := range n.Nodes {
		if err := c.check(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkLeaf(n *Node) error {
	cmp, ok := comparisonOf(n.Cmp)
	switch takes := cmp.takes(); {
	case !ok:
		return malformed("has the cmp %q, want one of %s", clip(n.Cmp), comparisonNames())
	case len(n.Nodes) > 0:
		return malformed("has nodes without an op: want \"and\", \"or\" or \"not\"")
	case n.Key == "" && takes != takesNothing:
		return malformed("has a %q without the key of a tag", n.Cmp)
	case n.Val == "" && takes == takesVal:
		return malformed("has a %q without a val", n.Cmp)
	case n.Val != "" && takes != takesVal:
		return malformed("has a %q with a val", n.Cmp)
	case len(n.Vals) == 0 && takes == takesVals:
		return malformed("has a %q without vals", n.Cmp)
	case len(n.Vals) > 0 && takes != takesVals:
		return malformed("has a %q with vals", n.Cmp)
	}
	if c.vals -= len(n.Vals); c.vals < 0 {
		return &Error{"vals", fmt.Sprintf("has more than %d vals", MaxVals)}
	}
	c.bytes -= len(n.Key) + len(n.Val)
	for _, v := range n.Vals {
		c.bytes -= len(v)
	}
	if c.bytes < 0 {
		return tooLong()
	}
	if !utf8.ValidString(n.Key) || !utf8.ValidString(n.Val) {
		return malformed("has text that is not UTF-8")
	}
	for _, v := range n.Vals {
		if !utf8.ValidString(v) {
			return malformed("has text that is not UTF-8")
		}
	}
	return nil
}

// clip keeps what somebody wrote short in a message.
func clip(s string) string {
	const most = 32
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
