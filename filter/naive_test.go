package filter_test

import (
	"math/big"
	"regexp"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"myelin/filter"
)

// numeric is what a number looks like.
var numeric = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]{1,19})?$`)

func rat(s string) (*big.Rat, bool) {
	if len(s) > 200 || !numeric.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// naive is the meaning of a filter, written down from client.proto.
func naive(n *filter.Node, tags map[string]string) bool {
	switch n.Op {
	case "and":
		return !slices.ContainsFunc(n.Nodes, func(c *filter.Node) bool { return !naive(c, tags) })
	case "or":
		return slices.ContainsFunc(n.Nodes, func(c *filter.Node) bool { return naive(c, tags) })
	case "not":
		return !naive(n.Nodes[0], tags)
	}
	tag, ok := tags[n.Key]
	switch n.Cmp {
	case "eq":
		return ok && tag == n.Val
	case "neq":
		return !ok || tag != n.Val
	case "in":
		return slices.Contains(n.Vals, tag)
	case "nin":
		return !slices.Contains(n.Vals, tag)
	case "ex":
		return ok
	case "nex":
		return !ok
	case "sw":
		return ok && strings.HasPrefix(tag, n.Val)
	case "ew":
		return ok && strings.HasSuffix(tag, n.Val)
	case "ct":
		return ok && strings.Contains(tag, n.Val)
	}
	a, okA := rat(tag)
	b, okB := rat(n.Val)
	if !ok || !okA || !okB {
		return false
	}
	switch d := a.Cmp(b); n.Cmp {
	case "lt":
		return d < 0
	case "lte":
		return d <= 0
	case "gt":
		return d > 0
	default:
		return d >= 0
	}
}

// texts are few, so that they meet.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"a", "b", "ab", "ba", "aba", "1", "01", "1.0", "-1", "+1", "-0", "0", "0.10", "10", "9", "1e3", ".5", "5.", "-", "+",
			"0.12345678901234567890", "123456789012345678901234567890", "ä", " 1",
		}),
		rapid.StringMatching(`[+-]?[0-9]{1,3}(\.[0-9]{0,3})?`),
		rapid.StringMatching(`[ab]{1,3}`),
	)
}

// trees returns trees that are valid, of at most some levels.
func trees(levels int) *rapid.Generator[*filter.Node] {
	return rapid.Custom(func(t *rapid.T) *filter.Node {
		if op := rapid.SampledFrom([]string{"", "", "and", "or", "not"}).Draw(t, "op"); op != "" && levels > 1 {
			most := 4
			if op == "not" {
				most = 1
			}
			return &filter.Node{Op: op, Nodes: rapid.SliceOfN(trees(levels-1), 1, most).Draw(t, "nodes")}
		}
		n := &filter.Node{
			Key: rapid.SampledFrom([]string{"k", "l", "m"}).Draw(t, "key"),
			Cmp: rapid.SampledFrom([]string{
				"eq", "neq", "in", "nin", "ex", "nex", "sw", "ew", "ct", "lt", "lte", "gt", "gte",
			}).Draw(t, "cmp"),
		}
		switch n.Cmp {
		case "ex", "nex":
		case "in", "nin":
			n.Vals = rapid.SliceOfN(rapid.OneOf(texts(), rapid.Just("")), 1, 4).Draw(t, "vals")
		default:
			n.Val = texts().Draw(t, "val")
		}
		return n
	})
}

func tags() *rapid.Generator[map[string]string] {
	return rapid.MapOf(rapid.SampledFrom([]string{"k", "l", "m", "n"}), rapid.OneOf(texts(), rapid.Just("")))
}
