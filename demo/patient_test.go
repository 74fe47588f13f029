package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/client"
)

// ward answers myelin.publish as a server does: in order, each id once.
type ward struct {
	t    *testing.T
	mu   sync.Mutex
	fail func(n int) error // of the n-th call; what it returns follows execution
	deaf func(n int) bool  // whether the n-th call never reaches the server
	n    int
	seen map[string]bool
	got  []wardPublication
}

type wardPublication struct {
	Channel string          `json:"channel"`
	ID      string          `json:"id"`
	Data    json.RawMessage `json:"data"`
	at      time.Time
}

func newWard(t *testing.T) *ward {
	return &ward{t: t, seen: map[string]bool{}, fail: func(int) error { return nil }, deaf: func(int) bool { return false }}
}

func (w *ward) RPC(ctx context.Context, method string, data []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var p wardPublication
	if err := json.Unmarshal(data, &p); err != nil || method != "myelin.publish" || p.ID == "" {
		w.t.Errorf("%s %s: %v", method, data, err)
	}
	w.n++
	if w.deaf(w.n) {
		return nil, client.ErrConnectionLost
	}
	err := w.fail(w.n)
	if e, ok := errors.AsType[*client.Error](err); ok {
		return nil, e
	}
	duplicate := w.seen[p.ID]
	if !duplicate {
		w.seen[p.ID] = true
		p.at = time.Now()
		w.got = append(w.got, p)
	}
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"epoch":"e","offset":%d,"duplicate":%v}`, len(w.got), duplicate), nil
}

type ecgBatch struct {
	T  int64     `json:"t"`
	N  int64     `json:"n"`
	FS int       `json:"fs"`
	MV []float64 `json:"mv"`
}

// split decodes what arrived by channel, and checks that it came in order.
func (w *ward) split() (batches []ecgBatch, at []time.Time, rates []rate) {
	w.t.Helper()
	for _, p := range w.got {
		switch p.Channel {
		case "ward:bed1.ecg":
			var b ecgBatch
			if err := json.Unmarshal(p.Data, &b); err != nil {
				w.t.Fatal(err)
			}
			batches, at = append(batches, b), append(at, p.at)
		case "ward:bed1.hr":
			var r rate
			if err := json.Unmarshal(p.Data, &r); err != nil {
				w.t.Fatal(err)
			}
			rates = append(rates, r)
		default:
			w.t.Fatalf("publication in %s", p.Channel)
		}
	}
	return batches, at, rates
}

// play runs a patient for some virtual time.
func play(t *testing.T, c caller, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	newPatient(mustLoad(t), time.Now(), "run", slog.New(slog.DiscardHandler)).play(ctx, c)
}

// An hour at exactly ten batches a second, each at its time, none twice.
func TestPatientKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWard(t)
		play(t, w, time.Hour+time.Millisecond)
		batches, at, rates := w.split()
		if len(batches) != 36_000 {
			t.Fatalf("%d batches in an hour, want 36000", len(batches))
		}
		ecg := mustLoad(t)
		for k, b := range batches {
			if want := start.Add(time.Duration(k+1) * 100 * time.Millisecond); !at[k].Equal(want) {
				t.Fatalf("batch %d at %v, want %v", k, at[k], want)
			}
			if want := start.Add(time.Duration(k) * 100 * time.Millisecond).UnixMilli(); b.T != want || b.N != int64(36*k) || b.FS != 360 || len(b.MV) != 36 {
				t.Fatalf("batch %d: %+v, want t %d", k, b, want)
			}
			for i, mv := range b.MV {
				if want := float64(ecg.microvolts(b.N+int64(i))) / 1000; mv != want {
					t.Fatalf("sample %d is %v, want %v", b.N+int64(i), mv, want)
				}
			}
		}
		// 12 rounds of the recording; a beat is known within two seconds.
		if n := len(rates); n < 12*450 || n > 12*520 {
			t.Fatalf("%d heart beats in an hour", n)
		}
		for i, r := range rates {
			if i > 0 && r.T <= rates[i-1].T {
				t.Fatalf("beat at %d after one at %d", r.T, rates[i-1].T)
			}
			if r.BPM < 30 || r.BPM > 223 || r.RR < 270 || r.RR > 2000 {
				t.Fatalf("beat %+v", r)
			}
		}
	})
}

// A slow network delays, but what is late is made up and nothing drifts.
func TestPatientMakesUpForDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWard(t)
		w.deaf = func(n int) bool {
			if n%50 == 0 {
				time.Sleep(1500 * time.Millisecond)
			}
			return false
		}
		play(t, w, 10*time.Minute+time.Millisecond)
		batches, at, _ := w.split()
		if n := len(batches); n < 5_980 {
			t.Fatalf("%d batches, want about 6000", n)
		}
		onTime := 0
		for k, b := range batches {
			if b.N != int64(36*k) {
				t.Fatalf("batch %d begins with sample %d", k, b.N)
			}
			late := at[k].Sub(start.Add(time.Duration(k+1) * 100 * time.Millisecond))
			if late < 0 || late > 2*time.Second {
				t.Fatalf("batch %d is %v late", k, late)
			}
			if late == 0 {
				onTime++
			}
		}
		if onTime < len(batches)/2 {
			t.Fatalf("only %d of %d batches on time", onTime, len(batches))
		}
	})
}

// Replies are lost, connections break and the server is busy: every batch still
// arrives once and in order.
func TestPatientRepeatsUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.deaf = func(n int) bool { return n%7 == 0 }
		w.fail = func(n int) error {
			switch {
			case n%11 == 0:
				return client.ErrConnectionLost // after execution
			case n%13 == 0:
				return &client.Error{Code: 100, Message: "internal server error", Temporary: true}
			}
			return nil
		}
		play(t, w, time.Minute)
		batches, _, _ := w.split()
		if len(batches) < 250 {
			t.Fatalf("%d batches", len(batches))
		}
		for k, b := range batches {
			if b.N != int64(36*k) {
				t.Fatalf("batch %d begins with sample %d", k, b.N)
			}
		}
	})
}

func TestSpoolKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		down := true
		w.deaf = func(int) bool { return down }
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			newPatient(mustLoad(t), time.Now(), "run", slog.New(slog.DiscardHandler)).play(ctx, w)
		})
		time.Sleep(20 * time.Second)
		w.mu.Lock()
		down = false
		w.mu.Unlock()
		time.Sleep(time.Second + 50*time.Millisecond)
		w.mu.Lock()
		if batches, _, _ := w.split(); len(batches) != 210 {
			t.Errorf("%d batches after 20 s without a server, want all 210", len(batches))
		}
		down = true
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		down = false
		w.mu.Unlock()
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		batches, _, _ := w.split()
		kept := batches[210:]
		// The one that was under way, a gap, and at least thirty seconds.
		if n := len(kept); n < 300 || n > spoolLimit+12 {
			t.Errorf("%d batches kept, want at least 300 and at most %d", n, spoolLimit)
		}
		for i := 2; i < len(kept); i++ {
			if kept[i].N != kept[i-1].N+batchSamples {
				t.Fatalf("sample %d after %d", kept[i].N, kept[i-1].N)
			}
		}
	})
}

// What the server will never have must not stop what it will.
func TestSpoolDropsWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.fail = func(n int) error {
			if n <= 3 {
				return &client.Error{Code: 107, Message: "bad request"}
			}
			return nil
		}
		play(t, w, 5*time.Second)
		batches, _, _ := w.split()
		if len(batches) < 45 || batches[0].N != 3*batchSamples {
			t.Fatalf("%d batches, the first begins with sample %d", len(batches), batches[0].N)
		}
	})
}

// After a long stall the patient goes on with what is now.
func TestPatientSkipsAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		p := newPatient(mustLoad(t), time.Now().Add(-10*time.Minute), "run", slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		p.play(ctx, w)
		batches, _, rates := w.split()
		if first := batches[0].N; first != (6000-maxBatches)*batchSamples {
			t.Fatalf("first sample %d", first)
		}
		for _, r := range rates {
			if r.BPM < 60 || r.BPM > 140 {
				t.Fatalf("%+v", r)
			}
			if r.T < batches[0].T {
				t.Fatalf("beat at %d before the first sample at %d", r.T, batches[0].T)
			}
		}
		if len(rates) < 60 {
			t.Fatalf("%d beats in 50 seconds", len(rates))
		}
	})
}
