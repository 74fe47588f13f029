package wheel_test

import (
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"myelin/internal/wheel"
)

const tick = 5 * time.Millisecond

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A bench is a wheel with its own time, and the names of what has fired.
type bench struct {
	*wheel.Wheel[string]
	now   time.Time
	fired []string
}

func newBench() *bench {
	b := &bench{now: start}
	b.Wheel = wheel.NewAt(tick, start, func(name string) { b.fired = append(b.fired, name) })
	return b
}

func (b *bench) advance(d time.Duration) []string {
	b.now = b.now.Add(d)
	b.fired = nil
	b.Advance(b.now)
	return b.fired
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("fired %v, want %v", got, want)
	}
}

func TestFiresAtTheTickAtOrAfterItsTime(t *testing.T) {
	for _, after := range []time.Duration{
		1, tick - 1, tick, tick + 1, 63 * tick, 64 * tick, 65 * tick, 4096 * tick, 4097*tick - 1,
		time.Hour + 1, 100 * time.Hour, 10000 * time.Hour,
	} {
		b := newBench()
		b.Schedule(&wheel.Timer[string]{Owner: "x"}, after)
		due := (after + tick - 1).Truncate(tick)
		if next, ok := b.Next(); !ok || next != due {
			t.Fatalf("after %v: Next is %v, %v, want %v", after, next, ok, due)
		}
		expect(t, b.advance(due-1))
		expect(t, b.advance(1), "x")
		if next, ok := b.Next(); ok {
			t.Fatalf("an empty wheel wants to be woken in %v", next)
		}
	}
}

func TestNowMeansTheNextTick(t *testing.T) {
	b := newBench()
	b.advance(tick / 2)
	b.Schedule(&wheel.Timer[string]{Owner: "zero"}, 0)
	b.Schedule(&wheel.Timer[string]{Owner: "past"}, -time.Hour)
	expect(t, b.advance(tick/2-1))
	if got := b.advance(1); len(got) != 2 {
		t.Fatalf("fired %v, want both", got)
	}
}

func TestFiresInOrderOfTicksAcrossALongSleep(t *testing.T) {
	b := newBench()
	for _, name := range []string{"90h", "1s", "300ms", "48h", "20ms", "25s"} {
		after, err := time.ParseDuration(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Schedule(&wheel.Timer[string]{Owner: name}, after)
	}
	expect(t, b.advance(49*time.Hour), "20ms", "300ms", "1s", "25s", "48h")
	expect(t, b.advance(1000*time.Hour), "90h")
}

func TestCancelAndMove(t *testing.T) {
	b := newBench()
	timer := &wheel.Timer[string]{Owner: "x"}
	if b.Cancel(timer) || timer.Pending() {
		t.Fatal("a timer that was never scheduled is pending")
	}
	b.Schedule(timer, time.Second)
	b.Schedule(timer, time.Minute)
	if !timer.Pending() || b.Len() != 1 {
		t.Fatalf("moved: pending %v, Len %d", timer.Pending(), b.Len())
	}
	expect(t, b.advance(2*time.Second))
	if !b.Cancel(timer) || b.Cancel(timer) || b.Len() != 0 {
		t.Fatal("Cancel did not take the timer out exactly once")
	}
	expect(t, b.advance(time.Hour))
	b.Schedule(timer, time.Second)
	expect(t, b.advance(time.Second), "x")
	if timer.Pending() {
		t.Fatal("pending after it fired")
	}
}

func TestTheHandlerMayScheduleAndCancel(t *testing.T) {
	timers := map[string]*wheel.Timer[string]{}
	var fired []string
	var w *wheel.Wheel[string]
	w = wheel.NewAt(tick, start, func(name string) {
		fired = append(fired, name)
		switch name {
		case "again":
			w.Schedule(timers["again"], tick)
		case "left", "right": // of the same tick: one takes the other out
			w.Cancel(timers["left"])
			w.Cancel(timers["right"])
		}
	})
	for _, name := range []string{"again", "left", "right"} {
		timers[name] = &wheel.Timer[string]{Owner: name}
		w.Schedule(timers[name], 10*tick)
	}
	w.Advance(start.Add(1000 * tick))
	if len(fired) != 2 || w.Len() != 1 {
		t.Fatalf("fired %v with %d left: want again once, and left or right", fired, w.Len())
	}
	if next, _ := w.Next(); next != tick {
		t.Fatalf("rearmed for %v after the Advance, want one tick", next)
	}
}

func TestAdvanceFromTheHandlerPanics(t *testing.T) {
	var w *wheel.Wheel[int]
	w = wheel.New(tick, func(int) { w.Advance(time.Now()) })
	w.Schedule(new(wheel.Timer[int]), 0)
	defer func() {
		if recover() == nil {
			t.Error("a nested Advance went unnoticed")
		}
	}()
	w.Advance(time.Now().Add(tick))
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	b := newBench()
	b.advance(time.Hour)
	b.advance(-30 * time.Minute)
	b.Schedule(&wheel.Timer[string]{Owner: "x"}, time.Minute)
	expect(t, b.advance(30*time.Minute))
	expect(t, b.advance(time.Minute), "x")
}

func TestTheLongestDelay(t *testing.T) {
	for _, resolution := range []time.Duration{wheel.MinTick, tick, time.Hour} {
		for _, elapsed := range []time.Duration{0, time.Hour} {
			fired := 0
			w := wheel.NewAt(resolution, start, func(int) { fired++ })
			w.Advance(start.Add(elapsed))
			w.Schedule(new(wheel.Timer[int]), math.MaxInt64)
			w.Schedule(new(wheel.Timer[int]), math.MaxInt64-1)
			if next, ok := w.Next(); !ok || next < math.MaxInt64-2*time.Hour {
				t.Fatalf("Next is %v, %v", next, ok)
			}
			w.Advance(start.Add(math.MaxInt64 / 2))
			if fired != 0 || w.Len() != 2 {
				t.Fatalf("%d fired after half the time, %d left", fired, w.Len())
			}
		}
	}
}

func TestNextKnowsTheEarliestOfACoarseSlot(t *testing.T) {
	b := newBench()
	for _, after := range []time.Duration{63 * time.Minute, 61 * time.Minute, 62 * time.Minute} {
		b.Schedule(&wheel.Timer[string]{Owner: "x"}, after)
	}
	if next, _ := b.Next(); next != 61*time.Minute {
		t.Errorf("Next is %v, want 61m", next)
	}
}

func TestATickMayNotBeTooFine(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New took a tick below MinTick")
		}
	}()
	wheel.New(wheel.MinTick-1, func(int) {})
}

func TestSizes(t *testing.T) {
	if size := unsafe.Sizeof(wheel.Timer[*int]{}); size > 32 {
		t.Errorf("a timer takes %d bytes, want at most 32", size)
	}
	if size := unsafe.Sizeof(wheel.Wheel[*int]{}); size > 8<<10+256 {
		t.Errorf("a wheel takes %d bytes, want about 8 KiB", size)
	}
}

func TestScheduleAndCancelDoNotAllocate(t *testing.T) {
	fired := 0
	w := wheel.New(tick, func(*int) { fired++ })
	timer := wheel.Timer[*int]{Owner: new(int)}
	now := time.Now()
	if allocs := testing.AllocsPerRun(1000, func() {
		w.Schedule(&timer, time.Hour)
		w.Cancel(&timer)
		w.Schedule(&timer, time.Second)
		now = now.Add(2 * time.Second)
		w.Advance(now)
	}); allocs != 0 {
		t.Errorf("%v allocations per round", allocs)
	}
	if fired != 1001 {
		t.Errorf("fired %d times", fired)
	}
}
