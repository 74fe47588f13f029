package jetstream_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"myelin/engine/jetstream"
)

// TestEnds holds the ends of entries against a plain map.
func TestEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e jetstream.Ends
		want := make(map[string]int64)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			key := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "key"))
			at := rapid.Int64Range(0, 20).Draw(t, "at")
			e.Set(key, at)
			want[key] = at
			if at == 0 {
				delete(want, key)
			}
			first := int64(0)
			if len(want) > 0 {
				first = slices.Min(slices.Collect(maps.Values(want)))
			}
			if got := e.First(); got != first {
				t.Fatalf("the first of %v is %d", want, got)
			}
			now := rapid.Int64Range(0, 20).Draw(t, "now")
			over := e.Over(now)
			n := 0
			for _, at := range want {
				if at <= now {
					n++
				}
			}
			if len(over) != n || !slices.IsSortedFunc(over, func(x, y string) int { return int(want[x] - want[y]) }) || len(slices.Compact(slices.Sorted(slices.Values(over)))) != n {
				t.Fatalf("at %d of %v these are over: %v", now, want, over)
			}
		}
		if e.Size() > 2*len(want)+65 {
			t.Fatalf("%d are remembered for %d", e.Size(), len(want))
		}
	})
}
