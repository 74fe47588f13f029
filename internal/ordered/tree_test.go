package ordered_test

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"myelin/internal/ordered"
)

type pair struct{ key, value int }

func byKey(a, b pair) int { return cmp.Compare(a.key, b.key) }

// version is a tree and what was in it when it was the newest.
type version struct {
	tree ordered.Tree[pair]
	want map[int]int
}

func (v *version) check(t *rapid.T) {
	keys := slices.Sorted(maps.Keys(v.want))
	var want []pair
	for _, k := range keys {
		want = append(want, pair{k, v.want[k]})
	}
	if got := slices.Collect(v.tree.All()); !slices.Equal(got, want) {
		t.Fatalf("the tree holds %v, want %v", got, want)
	}
	if v.tree.Len() != len(want) {
		t.Fatalf("Len is %d, want %d", v.tree.Len(), len(want))
	}
	from, limit := rapid.IntRange(0, len(want)+1).Draw(t, "rank"), rapid.IntRange(0, 5).Draw(t, "limit")
	page := want[min(from, len(want)):]
	if got := v.tree.Page(from, limit); !slices.Equal(got, page[:min(limit, len(page))]) {
		t.Fatalf("Page(%d, %d) is %v of %v", from, limit, got, want)
	}
	k := rapid.IntRange(0, 60).Draw(t, "probe")
	rank, found := slices.BinarySearch(keys, k)
	if got := v.tree.Rank(pair{key: k}); got != rank {
		t.Fatalf("Rank(%d) is %d, want %d", k, got, rank)
	}
	if got, ok := v.tree.Get(pair{key: k}); ok != found || ok && got.value != v.want[k] {
		t.Fatalf("Get(%d) is %v, %v", k, got, ok)
	}
}

// TestVersionsAreAsTheyWere changes a tree at random, and holds every version
// that it ever was against a map.
func TestVersionsAreAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []version{{ordered.New(byKey), map[int]int{}}}
		for i := range rapid.IntRange(1, 120).Draw(t, "steps") {
			old := all[rapid.IntRange(max(0, len(all)-3), len(all)-1).Draw(t, "from")]
			next := version{old.tree, maps.Clone(old.want)}
			p := pair{rapid.IntRange(0, 60).Draw(t, "key"), i}
			if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
				next.tree = next.tree.Without(p)
				delete(next.want, p.key)
			} else {
				next.tree = next.tree.With(p)
				next.want[p.key] = i
			}
			all = append(all, next)
		}
		for i := range all {
			all[i].check(t)
		}
		a, b := all[rapid.IntRange(0, len(all)-1).Draw(t, "a")], all[rapid.IntRange(0, len(all)-1).Draw(t, "b")]
		made := maps.Clone(a.want)
		for p, put := range ordered.Changes(a.tree, b.tree, func(x, y pair) bool { return x == y }) {
			old, there := a.want[p.key]
			switch {
			case !put:
				delete(made, p.key)
			case there && old == p.value:
				t.Fatalf("%v did not change", p)
			default:
				made[p.key] = p.value
			}
		}
		if !maps.Equal(made, b.want) {
			t.Fatalf("the changes make %v of %v, want %v", made, a.want, b.want)
		}
	})
}

// TestDepth adds in order, the worst way to grow a tree, and takes half away
// again: reaching any item takes few comparisons all the same.
func TestDepth(t *testing.T) {
	const n = 10_000
	steps := 0
	counted := ordered.New(func(a, b int) int { steps++; return cmp.Compare(a, b) })
	tree := counted
	for i := range n {
		tree = tree.With(i)
	}
	for i := range n / 2 {
		tree = tree.Without(i)
	}
	for _, v := range []int{n / 2, n - 1, 3 * n / 4} {
		steps = 0
		if _, ok := tree.Get(v); !ok || steps > 3*bits.Len(n) {
			t.Errorf("Get(%d) took %d comparisons, found %v", v, steps, ok)
		}
	}
}

func TestFromSorted(t *testing.T) {
	for n := range 40 {
		items := make([]int, n)
		for i := range items {
			items[i] = 2 * i
		}
		tree := ordered.FromSorted(cmp.Compare[int], items)
		for i := range items {
			tree = tree.With(2*i + 1)
		}
		if got := slices.Collect(tree.All()); len(got) != 2*n || !slices.IsSorted(got) {
			t.Fatalf("%d items became %v", n, got)
		}
	}
}

func BenchmarkWith(b *testing.B) {
	items := make([]int, 10_000)
	for i := range items {
		items[i] = i
	}
	tree := ordered.FromSorted(cmp.Compare[int], items)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tree = tree.With(i % 10_000)
		i += 7919
	}
}
