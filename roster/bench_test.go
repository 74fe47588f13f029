package roster_test

import (
	"fmt"
	"runtime"
	"testing"

	"myelin/channel"
	"myelin/roster"
)

// footprint returns how many bytes a member costs a roster, with so many
// members in each channel.
func footprint(t testing.TB, members, perChannel int) float64 {
	j, r := roster.NewJournal(1), roster.New(members)
	for i := range members {
		j.Join(roster.Member{
			Channel: fmt.Sprint("room:number-", i/perChannel), Present: true, Announced: true,
			Info: &channel.ClientInfo{User: fmt.Sprint("user-", i), Client: fmt.Sprintf("%022d", i)},
		})
	}
	node := channel.Node{ID: "a", Incarnation: 1}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fill(t, r, node, j)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if r.Len() != members {
		t.Fatalf("%d members", r.Len())
	}
	runtime.KeepAlive(j)
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(members)
}

func BenchmarkFootprint(b *testing.B) {
	for _, per := range []int{100, 1} {
		b.Run(fmt.Sprint(per, " in a channel"), func(b *testing.B) {
			bytes := 0.0
			for b.Loop() {
				bytes = footprint(b, 200_000, per)
			}
			b.ReportMetric(bytes, "B/member")
		})
	}
}

// BenchmarkJoin is what a join and a leave cost their own node, and what they
// cost each of the others.
func BenchmarkJoin(b *testing.B) {
	const batch = 100
	member := func(i int) roster.Member {
		return roster.Member{
			Channel: fmt.Sprint("room:number-", i%1000), Present: true, Announced: true,
			Info: &channel.ClientInfo{User: fmt.Sprint("user-", i), Client: fmt.Sprintf("%022d", i)},
		}
	}
	b.Run("own", func(b *testing.B) {
		j := roster.NewJournal(1)
		m := member(1)
		n := 0
		for b.Loop() {
			j.Leave(j.Join(m))
			if n++; n%batch == 0 {
				j.Flush(false)
			}
		}
	})
	b.Run("other", func(b *testing.B) {
		r := roster.New(1 << 20)
		node := channel.Node{ID: "a", Incarnation: 1}
		j := roster.NewJournal(1)
		fill(b, r, node, j)
		var frames [][]byte
		i := 0
		size := 0
		for b.Loop() {
			if len(frames) == 0 {
				b.StopTimer()
				for range batch {
					var places []roster.Place
					for range batch {
						i++
						places = append(places, j.Join(member(i)))
					}
					for _, p := range places {
						j.Leave(p)
					}
					f, _ := j.Flush(false)
					frames = append(frames, f...)
				}
				b.StartTimer()
			}
			size += len(frames[0])
			r.Hear(node, frames[0])
			frames = frames[1:]
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/join+leave")
		b.ReportMetric(float64(size)/float64(b.N*batch), "B/join+leave")
	})
}
