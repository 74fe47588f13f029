package wheel_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/internal/wheel"
)

// A machine drives a wheel and a naive list side by side: the list holds the
// due tick of every timer, zero for idle.
type machine struct {
	wheel  *wheel.Wheel[int]
	timers []wheel.Timer[int]
	now    time.Duration

	due       []int64
	advanceTo int64
	// On firing, timer i is rearmed after rearm[i] if that is not zero, and
	// victim[i] is cancelled if it is not i.
	rearm  []time.Duration
	victim []int
	// cancelled says that Next may answer with the time of a timer that is
	// gone.
	cancelled bool
	t         *rapid.T
}

// delay draws from all scales: below a tick to months.
func delay() *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		scale := rapid.SampledFrom([]time.Duration{
			tick, 70 * tick, 5000 * tick, time.Hour, 30 * time.Hour, 5000 * time.Hour,
		}).Draw(t, "scale")
		return time.Duration(rapid.Int64Range(0, int64(scale)).Draw(t, "delay"))
	})
}

func newMachine(t *rapid.T) *machine {
	n := rapid.IntRange(1, 40).Draw(t, "timers")
	m := &machine{t: t, timers: make([]wheel.Timer[int], n), due: make([]int64, n)}
	for i := range m.timers {
		m.timers[i].Owner = i
		again, victim := time.Duration(0), i
		if rapid.IntRange(0, 3).Draw(t, "rearms") == 0 {
			again = delay().Draw(t, "rearm")
		}
		if rapid.IntRange(0, 3).Draw(t, "cancels") == 0 {
			victim = rapid.IntRange(0, n-1).Draw(t, "victim")
		}
		m.rearm = append(m.rearm, again)
		m.victim = append(m.victim, victim)
	}
	m.wheel = wheel.NewAt(tick, start, m.expire)
	return m
}

// expire checks a firing against the list: it is the earliest that is due.
func (m *machine) expire(i int) {
	earliest := slices.Min(m.pending())
	if m.due[i] != earliest || earliest > m.advanceTo {
		m.t.Fatalf("timer %d fired at tick %d: it is due at %d, the earliest at %d", i, m.advanceTo, m.due[i], earliest)
	}
	if m.timers[i].Pending() {
		m.t.Fatalf("timer %d is pending while it fires", i)
	}
	m.due[i] = 0
	if m.rearm[i] != 0 {
		m.schedule(i, m.rearm[i])
	}
	if v := m.victim[i]; v != i {
		m.cancel(v)
	}
}

func (m *machine) pending() []int64 {
	return slices.DeleteFunc(slices.Clone(m.due), func(due int64) bool { return due == 0 })
}

func (m *machine) schedule(i int, after time.Duration) {
	m.cancelled = m.cancelled || m.due[i] != 0
	m.wheel.Schedule(&m.timers[i], after)
	m.due[i] = max(int64((m.now+after+tick-1)/tick), int64(m.now/tick)+1)
}

func (m *machine) cancel(i int) {
	if got, want := m.wheel.Cancel(&m.timers[i]), m.due[i] != 0; got != want {
		m.t.Fatalf("Cancel of timer %d says %v, want %v", i, got, want)
	}
	m.cancelled = m.cancelled || m.due[i] != 0
	m.due[i] = 0
}

func (m *machine) advance(d time.Duration) {
	m.now += d
	m.advanceTo = int64(m.now / tick)
	m.wheel.Advance(start.Add(m.now))
	if left := m.pending(); len(left) > 0 && slices.Min(left) <= m.advanceTo {
		m.t.Fatalf("at tick %d a timer due at %d has not fired", m.advanceTo, slices.Min(left))
	}
}

// step sleeps as long as the wheel says.
func (m *machine) step(t *rapid.T) {
	if d, ok := m.wheel.Next(); ok {
		m.advance(d)
	} else {
		t.Skip("nothing to wait for")
	}
}

// check holds Next and Len against the list.
func (m *machine) check(t *rapid.T) {
	left := m.pending()
	if m.wheel.Len() != len(left) {
		t.Fatalf("Len is %d, want %d", m.wheel.Len(), len(left))
	}
	for i := range m.timers {
		if m.timers[i].Pending() != (m.due[i] != 0) {
			t.Fatalf("timer %d: Pending is %v, due %d", i, m.timers[i].Pending(), m.due[i])
		}
	}
	next, ok := m.wheel.Next()
	if ok != (len(left) > 0) {
		t.Fatalf("Next says %v with %d timers", ok, len(left))
	}
	if !ok {
		m.cancelled = false
		return
	}
	want := time.Duration(slices.Min(left))*tick - m.now
	if next > want || next <= 0 || next != want && !m.cancelled {
		t.Fatalf("Next is %v, want %v (timers cancelled: %v)", next, want, m.cancelled)
	}
}

func TestWheelIsASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		pick := rapid.IntRange(0, len(m.timers)-1)
		t.Repeat(map[string]func(*rapid.T){
			"schedule": func(t *rapid.T) { m.schedule(pick.Draw(t, "timer"), delay().Draw(t, "after")) },
			"cancel":   func(t *rapid.T) { m.cancel(pick.Draw(t, "timer")) },
			"advance":  func(t *rapid.T) { m.advance(delay().Draw(t, "by")) },
			"step":     m.step,
			"":         m.check,
		})
	})
}

// However many timers were cancelled, sleeping as Next says reaches the next
// firing in a few wake-ups: at most one too many per level of the wheel.
func TestCancelledTimersCostFewWakeups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fired := 0
		w := wheel.NewAt(tick, start, func(int) { fired++ })
		now := time.Duration(0)
		last := time.Duration(rapid.Int64Range(1, int64(90*24*time.Hour)).Draw(t, "last"))
		w.Schedule(&wheel.Timer[int]{}, last)
		for range rapid.IntRange(0, 1000).Draw(t, "cancelled") {
			var timer wheel.Timer[int]
			w.Schedule(&timer, time.Duration(rapid.Int64Range(0, int64(last)).Draw(t, "after")))
			w.Cancel(&timer)
		}
		wakeups := 0
		for fired == 0 {
			d, _ := w.Next()
			now += d
			w.Advance(start.Add(now))
			wakeups++
		}
		if wakeups > 8 {
			t.Fatalf("%d wake-ups for one timer", wakeups)
		}
		if late := now - last; late < 0 || late >= tick {
			t.Fatalf("fired %v after its time", late)
		}
	})
}

func BenchmarkScheduleCancel(b *testing.B) {
	w := wheel.New(tick, func(int) {})
	timers := make([]wheel.Timer[int], 100_000)
	for i := range timers {
		w.Schedule(&timers[i], time.Duration(i)*time.Millisecond)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		t := &timers[i%len(timers)]
		w.Cancel(t)
		w.Schedule(t, time.Duration(i&0xffff)*time.Millisecond)
		i++
	}
}

// BenchmarkPings is what a shard does all day: 100,000 timers of 25 seconds,
// each rearmed when it fires. The figure is per firing.
func BenchmarkPings(b *testing.B) {
	const every = 25 * time.Second
	timers := make([]wheel.Timer[int], 100_000)
	fired := 0
	var pings *wheel.Wheel[int]
	pings = wheel.New(tick, func(i int) {
		fired++
		pings.Schedule(&timers[i], every)
	})
	for i := range timers {
		timers[i].Owner = i
		pings.Schedule(&timers[i], time.Duration(float64(every)*float64(i)/float64(len(timers))))
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		for target := fired + 1; fired < target; {
			d, ok := pings.Next()
			if !ok {
				b.Fatal("the wheel stood still")
			}
			now = now.Add(d)
			pings.Advance(now)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fired), "ns/firing")
}
