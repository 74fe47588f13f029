package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"myelin/channel"
)

// The structures have no face outside the package, so their tests are inside.

func numbered(n uint64) *kept {
	return &kept{Publication: channel.Publication{Position: channel.Position{Offset: n}}}
}

func TestRingIsAQueueWithALimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 9).Draw(t, "limit")
		var r ring
		var model []uint64
		for i := range uint64(rapid.IntRange(1, 60).Draw(t, "steps")) {
			if len(model) > 0 && rapid.IntRange(0, 3).Draw(t, "shift") == 0 {
				if got := r.shift(); got.Offset != model[0] {
					t.Fatalf("shift gives %d, want %d", got.Offset, model[0])
				}
				model = model[1:]
			} else {
				r.push(numbered(i), limit)
				model = append(model, i)
				model = model[max(0, len(model)-limit):]
			}
			if r.len() != len(model) || len(r.slots) > limit || len(model) == 0 && r.slots != nil {
				t.Fatalf("%d in %d slots, want %d in at most %d, and none where it is empty", r.len(), len(r.slots), len(model), limit)
			}
			for i, want := range model {
				if got := r.at(i); got.Offset != want {
					t.Fatalf("at %d is %d, want %d", i, got.Offset, want)
				}
			}
		}
	})
}

func TestHeapIsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h heap[*entry]
		due := make(map[*entry]int64)
		var all []*entry
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				e := &entry{where: -1}
				all = append(all, e)
				due[e] = rapid.Int64Range(0, 50).Draw(t, "due")
				h.set(e, due[e])
			case 1:
				if len(all) > 0 {
					e := rapid.SampledFrom(all).Draw(t, "moved")
					due[e] = rapid.Int64Range(0, 50).Draw(t, "due")
					h.set(e, due[e])
				}
			case 2:
				if len(all) > 0 {
					e := rapid.SampledFrom(all).Draw(t, "removed")
					h.remove(e)
					delete(due, e)
				}
			case 3:
				if len(due) > 0 {
					first := h.first()
					e := h.pop()
					if due[e] != first {
						t.Fatalf("popped what is due at %d, the first is due at %d", due[e], first)
					}
					delete(due, e)
				}
			}
			first := int64(never)
			for e, d := range due {
				first = min(first, d)
				if h.items[e.where].v != e || h.items[e.where].due != d {
					t.Fatalf("an entry is not at its place %d", e.where)
				}
			}
			if h.first() != first || len(h.items) != len(due) {
				t.Fatalf("%d items, the first due at %d; want %d, %d", len(h.items), h.first(), len(due), first)
			}
		}
	})
}

func TestIndexIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var model []string
		// Enough keys for many chunks, and phases that only add or remove.
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range rapid.IntRange(1, 6).Draw(t, "phases") {
			adding := rapid.IntRange(0, 10).Draw(t, "adding of 10")
			for range rapid.IntRange(1, 1000).Draw(t, "steps") {
				key := fmt.Sprint(random.IntN(2000))
				i, ok := slices.BinarySearch(model, key)
				if (x.get(key) != nil) != ok {
					t.Fatalf("key %q is there: %v, want %v", key, !ok, ok)
				}
				switch add := random.IntN(10) < adding; {
				case add && !ok:
					x.add(&entry{pub: &kept{Publication: channel.Publication{Key: key}}})
					model = slices.Insert(model, i, key)
				case !add && ok:
					x.remove(key)
					model = slices.Delete(model, i, i+1)
				}
			}
			checkIndex(t, &x, model, fmt.Sprint(random.IntN(2000)))
		}
	})
}

func checkIndex(t *rapid.T, x *index, model []string, after string) {
	keys := func(page []*entry) []string {
		all := []string{}
		for _, e := range page {
			all = append(all, e.pub.Key)
		}
		return all
	}
	page, more := x.after("", true, len(model)+1)
	if more || !slices.Equal(keys(page), model) || x.n != len(model) {
		t.Fatalf("%d keys, want %d", len(page), len(model))
	}
	i, ok := slices.BinarySearch(model, after)
	if ok {
		i++
	}
	want := model[i:min(i+10, len(model))]
	if page, more = x.after(after, false, 10); !slices.Equal(keys(page), want) || more != (i+10 < len(model)) {
		t.Fatalf("after %q come %q and more %v, want %q", after, keys(page), more, want)
	}
	for _, chunk := range x.chunks {
		if len(chunk) == 0 || len(chunk) > chunkMax {
			t.Fatalf("a chunk has %d entries", len(chunk))
		}
	}
}
