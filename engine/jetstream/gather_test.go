package jetstream_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestNoHoleInWhatIsRead reads a channel in batches while others publish, so
// that the oldest make room as they are read: what the reader keeps is one run
// without a hole, up to the last.
func TestNoHoleInWhatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(t, "size")
		last := uint64(0)
		publish := func() { last += uint64(rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 5}).Draw(t, "published")) }
		first := func() uint64 { return max(1, last-min(last, uint64(size))+1) }
		for range 4 {
			publish()
		}
		next := uint64(1)
		var batches [][]uint64
		var pending []uint64
		for range 100 {
			var b []uint64
			for range rapid.IntRange(1, 3).Draw(t, "batch") {
				next = max(next, first())
				if next > last {
					break
				}
				b = append(b, next)
				next++
				publish()
			}
			left := last + 1 - min(last+1, max(next, first()))
			batches, pending = append(batches, b), append(pending, left)
			if left == 0 {
				break
			}
			if len(batches) < 50 {
				publish()
			}
		}
		if pending[len(pending)-1] > 0 {
			t.Skip("the reader never caught up")
		}
		got := jetstream.Gather(size, batches, pending)
		for i, s := range got {
			if s != last-uint64(len(got)-1-i) {
				t.Fatalf("of %d with room for %d the reader keeps %v", last, size, got)
			}
		}
		if len(got) < min(size, int(last)) {
			t.Fatalf("of %d with room for %d the reader keeps %v only", last, size, got)
		}
	})
}

// TestFloor holds that a tick counts only while it must still be there.
func TestFloor(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	const age = time.Minute
	sequences := []uint64{1, 10, 20, 30}
	at := []time.Time{now.Add(-2 * age), now.Add(-age + time.Second), now.Add(-age / 2), now}
	if floor, known := jetstream.FloorOf(sequences, at, age, now); !known || floor != 19 {
		t.Errorf("the floor is %d, %v, want 19: the clocks of nodes differ", floor, known)
	}
	if floor, known := jetstream.FloorOf(sequences, at, 0, now); !known || floor != 0 {
		t.Errorf("where nothing goes by age the floor is %d, %v", floor, known)
	}
	if _, known := jetstream.FloorOf(sequences[:2], at[:2], age, now); known {
		t.Error("ticks that may be gone tell something")
	}
	if _, known := jetstream.FloorOf(nil, nil, 0, now); known {
		t.Error("no ticks tell something")
	}
}

// TestComesTwice holds that what the feed brings a second time, or what is no
// message of a stream, is not delivered.
func TestComesTwice(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	s := newSink()
	e := start(t, jetstream.Options{Network: h.network}, s)
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10}
	var w watched
	if err := e.Watch(t.Context(), p, &w); err != nil {
		t.Fatal(err)
	}
	top := subscribe(t, e, "twin", p)
	first := publish(t, e, "twin", p, "1")
	subject, err := jetstream.LiveSubjectOf(t.Context(), e, p, "twin")
	if err != nil {
		t.Fatal(err)
	}
	for _, sequence := range []string{strconv.FormatUint(first.Offset, 10), "", "x", "0"} {
		m := nats.NewMsg(subject)
		m.Header.Set("Nats-Sequence", sequence)
		m.Data = jetstream.Encode(jetstream.Frame{Kind: publication, Data: []byte("twin")})
		if err := h.network.Conn().PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	last := publish(t, e, "twin", p, "2")
	eventually(t, func() string {
		if got := s.got("twin"); len(got) == 0 || got[len(got)-1].Position != last.Position {
			return "the last one has not come"
		}
		return ""
	})
	if got := s.got("twin"); len(got) != 2 || chained(got, top.Offset) != "" || s.losses("twin") > 0 {
		t.Errorf("%d publications, lost %d times", len(got), s.losses("twin"))
	}
	eventually(t, func() string {
		if got, gaps := w.state(); got != "1 2 " || gaps != 0 {
			return fmt.Sprintf("who watches got %q, with %d gaps", got, gaps)
		}
		return ""
	})
	unreadable := nats.NewMsg(subject)
	unreadable.Header.Set("Nats-Sequence", strconv.FormatUint(last.Offset+1, 10))
	unreadable.Data = []byte("?")
	if err := h.network.Conn().PublishMsg(unreadable); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if _, gaps := w.state(); gaps == 0 {
			return "who watches was not told of what cannot be read"
		}
		return ""
	})
}

// watched is a watcher that keeps what it is told.
type watched struct {
	mu   sync.Mutex
	data string
	gaps int
}

func (w *watched) Watched(p *channel.Publication) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data += string(p.Data) + " "
}

func (w *watched) Gap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaps++
}

func (w *watched) state() (data string, gaps int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.data, w.gaps
}
