package swarm_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/bench/swarm"
)

func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var one, other, all swarm.Latencies
		for i, v := range values {
			if i%2 == 0 {
				one.Record(time.Duration(v))
			} else {
				other.Record(time.Duration(v))
			}
		}
		all.Add(&one)
		all.Add(&other)
		slices.Sort(values)
		rank := max(int(math.Ceil(q*float64(len(values)))), 1)
		exact := float64(values[rank-1])
		if got := float64(all.Quantile(q)); got < exact || got > exact*(1+1.0/64)+1 {
			t.Fatalf("quantile %v is %v, want %v to 1/64 more", q, got, exact)
		}
		if all.Count() != uint64(len(values)) || int64(all.Max()) != values[len(values)-1] {
			t.Fatalf("%d values up to %v", all.Count(), all.Max())
		}
	})
	var none swarm.Latencies
	if none.Quantile(0.5) != 0 || none.Max() != 0 {
		t.Error("quantile of nothing is not 0")
	}
	none.Record(-time.Second)
	if none.Count() != 1 || none.Quantile(1) != 0 {
		t.Error("a negative duration is not counted as 0")
	}
}

func TestTallyAddsAll(t *testing.T) {
	a := &swarm.Tally{Deliveries: 1, Recovered: 2, Lost: 3, Repeated: 4, Skipped: 5, Unrecovered: 6, Reads: 7, Bytes: 8, Messages: 9, Pings: 10}
	a.Latency.Record(1)
	a.Ready.Record(1)
	sum := &swarm.Tally{}
	sum.Add(a)
	sum.Add(a)
	want := &swarm.Tally{Deliveries: 2, Recovered: 4, Lost: 6, Repeated: 8, Skipped: 10, Unrecovered: 12, Reads: 14, Bytes: 16, Messages: 18, Pings: 20}
	for range 2 {
		want.Latency.Record(1)
		want.Ready.Record(1)
	}
	if *sum != *want {
		t.Error("a field is not added")
	}
}

// TestLedger compares the ledger with a plain map of what is outstanding.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 5).Draw(t, "window")
		each := rapid.IntRange(1, 4).Draw(t, "each")
		l := swarm.NewLedger(window, int32(each))
		outstanding := map[uint32]int{}
		var next uint32
		completed := 0
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			_, previous := outstanding[next-uint32(window)]
			if free := l.Free(next); free == (previous && next >= uint32(window)) {
				t.Fatalf("slot of %d is free: %v, the one before outstanding: %v", next, free, previous)
			} else if free && rapid.Bool().Draw(t, "open") {
				l.Open(next)
				outstanding[next] = each
				next++
				continue
			}
			if len(outstanding) == 0 {
				continue
			}
			numbers := make([]uint32, 0, len(outstanding))
			for n := range outstanding {
				numbers = append(numbers, n)
			}
			slices.Sort(numbers)
			n := rapid.SampledFrom(numbers).Draw(t, "number")
			outstanding[n]--
			if l.Settle(n) != (outstanding[n] == 0) {
				t.Fatalf("publication %d with %d events to come: wrong completion", n, outstanding[n])
			}
			if outstanding[n] == 0 {
				delete(outstanding, n)
				completed++
			}
		}
		l.Expect(int64(completed + 1))
		if l.Reached() {
			t.Fatal("reached before it was")
		}
		l.Expect(int64(completed))
		if !l.Reached() {
			t.Fatal("not reached although it was")
		}
	})
}
