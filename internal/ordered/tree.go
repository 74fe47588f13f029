// Package ordered is a sorted set whose versions share what they have in common.
//
// A [Tree] is a value: With and Without return another one and leave the old as
// it was, so whoever keeps one has a snapshot that costs nothing to take and
// cannot change under him. What a change costs is a path to the root, O(log n).
// Items have ranks, so a page of a snapshot is found by number.
//
// Trees are safe for concurrent use as any immutable value is. Items that
// compare as equal are the same one; the comparison must never change its mind.
package ordered

import "iter"

// Tree is a set in order. The zero Tree is empty, and useless without an order:
// see New.
type Tree[V any] struct {
	root    *node[V]
	compare func(a, b V) int
}

// node is the root of a subtree of size items. It never changes. The sizes of
// its two sides differ by a factor of three at most.
type node[V any] struct {
	left, right *node[V]
	item        V
	size        int
}

// New returns an empty tree in the given order.
func New[V any](compare func(a, b V) int) Tree[V] { return Tree[V]{compare: compare} }

// Len returns how many items there are.
func (t Tree[V]) Len() int { return t.root.len() }

// Same reports whether two trees are one version.
func (t Tree[V]) Same(o Tree[V]) bool { return t.root == o.root }

// Get returns the item that compares as equal to v.
func (t Tree[V]) Get(v V) (item V, ok bool) {
	for n := t.root; n != nil; {
		switch c := t.compare(v, n.item); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.item, true
		}
	}
	return item, false
}

// With returns the tree with v in it, in the place of what it equals.
func (t Tree[V]) With(v V) Tree[V] {
	t.root = t.with(t.root, v)
	return t
}

func (t Tree[V]) with(n *node[V], v V) *node[V] {
	if n == nil {
		return join(nil, v, nil)
	}
	switch c := t.compare(v, n.item); {
	case c < 0:
		return balance(t.with(n.left, v), n.item, n.right)
	case c > 0:
		return balance(n.left, n.item, t.with(n.right, v))
	default:
		return join(n.left, v, n.right)
	}
}

// Without returns the tree without the item that equals v, itself where there is
// none.
func (t Tree[V]) Without(v V) Tree[V] {
	t.root = t.without(t.root, v)
	return t
}

func (t Tree[V]) without(n *node[V], v V) *node[V] {
	if n == nil {
		return nil
	}
	switch c := t.compare(v, n.item); {
	case c < 0:
		if left := t.without(n.left, v); left != n.left {
			return balance(left, n.item, n.right)
		}
	case c > 0:
		if right := t.without(n.right, v); right != n.right {
			return balance(n.left, n.item, right)
		}
	default:
		return glue(n.left, n.right)
	}
	return n
}

// Page returns up to limit items from rank on.
func (t Tree[V]) Page(rank, limit int) []V {
	limit = min(limit, t.Len()-max(rank, 0))
	if limit <= 0 {
		return nil
	}
	page := make([]V, 0, limit)
	t.root.walk(max(rank, 0), func(v V) bool {
		page = append(page, v)
		return len(page) < limit
	})
	return page
}

// Rank returns how many items come before v.
func (t Tree[V]) Rank(v V) int {
	rank := 0
	for n := t.root; n != nil; {
		switch c := t.compare(v, n.item); {
		case c < 0:
			n = n.left
		case c > 0:
			rank += n.left.len() + 1
			n = n.right
		default:
			return rank + n.left.len()
		}
	}
	return rank
}

// All goes through the items in order.
func (t Tree[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) { t.root.walk(0, yield) }
}

// Changes goes through what is to be done to a to make it b: put is false for
// an item of a that b has no equal of, true for one of b that a has no equal of
// or another one, as same says. It costs a walk through both.
func Changes[V any](a, b Tree[V], same func(old, now V) bool) iter.Seq2[V, bool] {
	return func(yield func(v V, put bool) bool) {
		if a.Same(b) {
			return
		}
		next, stop := iter.Pull(b.All())
		defer stop()
		now, more := next()
		for old := range a.All() {
			for more && b.compare(now, old) < 0 {
				if !yield(now, true) {
					return
				}
				now, more = next()
			}
			if !more || b.compare(now, old) != 0 {
				if !yield(old, false) {
					return
				}
				continue
			}
			if !same(old, now) && !yield(now, true) {
				return
			}
			now, more = next()
		}
		for ; more; now, more = next() {
			if !yield(now, true) {
				return
			}
		}
	}
}

func (n *node[V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

// walk calls yield for the items from rank on until it has had enough, and
// reports whether it wants more.
func (n *node[V]) walk(rank int, yield func(V) bool) bool {
	if n == nil {
		return true
	}
	before := n.left.len()
	if rank < before && !n.left.walk(rank, yield) {
		return false
	}
	if rank <= before && !yield(n.item) {
		return false
	}
	return n.right.walk(max(rank-before-1, 0), yield)
}

func join[V any](left *node[V], v V, right *node[V]) *node[V] {
	return &node[V]{left: left, right: right, item: v, size: left.len() + right.len() + 1}
}

// weight is how many times as large one side may be than the other, and ratio
// says which of two rotations mends it (Hirai and Yamamoto, 2011).
const (
	weight = 3
	ratio  = 2
)

// balance joins two sides one of which has lost or won an item.
func balance[V any](left *node[V], v V, right *node[V]) *node[V] {
	l, r := left.len(), right.len()
	switch {
	case l+r <= 1:
	case r > weight*l:
		if right.left.len() < ratio*right.right.len() {
			return join(join(left, v, right.left), right.item, right.right)
		}
		mid := right.left
		return join(join(left, v, mid.left), mid.item, join(mid.right, right.item, right.right))
	case l > weight*r:
		if left.right.len() < ratio*left.left.len() {
			return join(left.left, left.item, join(left.right, v, right))
		}
		mid := left.right
		return join(join(left.left, left.item, mid.left), mid.item, join(mid.right, v, right))
	}
	return join(left, v, right)
}

// glue joins two sides that are in balance with each other.
func glue[V any](left, right *node[V]) *node[V] {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	case left.size > right.size:
		rest, last := popLast(left)
		return balance(rest, last, right)
	}
	rest, first := popFirst(right)
	return balance(left, first, rest)
}

func popFirst[V any](n *node[V]) (rest *node[V], first V) {
	if n.left == nil {
		return n.right, n.item
	}
	left, first := popFirst(n.left)
	return balance(left, n.item, n.right), first
}

func popLast[V any](n *node[V]) (rest *node[V], last V) {
	if n.right == nil {
		return n.left, n.item
	}
	right, last := popLast(n.right)
	return balance(n.left, n.item, right), last
}

// FromSorted returns a tree of items that are in order and differ from each
// other.
func FromSorted[V any](compare func(a, b V) int, items []V) Tree[V] {
	return Tree[V]{root: build(items), compare: compare}
}

func build[V any](items []V) *node[V] {
	if len(items) == 0 {
		return nil
	}
	mid := len(items) / 2
	return join(build(items[:mid]), items[mid], build(items[mid+1:]))
}
