package rate_test

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/internal/rate"
)

// Whatever comes whenever, no span of time holds more than the burst and what
// the pace allows within it; and who waits as long as he was told is admitted.
func TestMeterHoldsItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := rate.Limit{
			N:     rapid.Int64Range(1, 5000).Draw(t, "n"),
			Per:   time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(time.Minute)).Draw(t, "per")),
			Burst: rapid.Int64Range(1, 100).Draw(t, "burst"),
		}
		type admitted struct {
			at time.Duration
			n  int64
		}
		var meter rate.Meter
		var all []admitted
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(l.Per)/l.N*20+1).Draw(t, "pause"))
			n := rapid.Int64Range(1, l.Burst).Draw(t, "units")
			wait, ok := meter.Take(l, n, now)
			if !ok {
				if wait <= 0 {
					t.Fatalf("refused, and to wait for %v", wait)
				}
				copied := meter
				if _, early := copied.Take(l, n, now+wait-wait/4-2); early && wait > 8 {
					t.Fatalf("admitted before the %v it was told to wait", wait)
				}
				now += wait
				if _, ok = meter.Take(l, n, now); !ok {
					t.Fatalf("refused after the %v it was told to wait", wait)
				}
			}
			all = append(all, admitted{now, n})
		}
		for i, first := range all {
			var sum int64
			for _, a := range all[i:] {
				sum += a.n
				span := a.at - first.at
				most := float64(l.Burst) + float64(l.N)*float64(span)/float64(l.Per)
				if float64(sum) > most+0.01 {
					t.Fatalf("%d units within %v, at most %.2f are allowed (%+v)", sum, span, most, l)
				}
			}
		}
	})
}

// At twice the limit for ten seconds exactly the limit and the burst pass.
func TestMeterPassesItsLimit(t *testing.T) {
	for _, l := range []rate.Limit{{N: 10, Burst: 20}, rate.PerSecond(100), {N: 3, Per: time.Minute, Burst: 1}, {N: 1_000_000, Burst: 1}, {N: 7, Burst: 7}} {
		var m rate.Meter
		per := l.Per
		if per == 0 {
			per = time.Second
		}
		passed, span := int64(0), 10*per
		step := per / time.Duration(2*l.N)
		if l.N > 1000 {
			span = per
		}
		for now := time.Duration(0); now < span; now += step {
			if _, ok := m.Take(l, 1, now); ok {
				passed++
			}
		}
		burst := l.Burst
		if burst == 0 {
			burst = l.N
		}
		want := l.N*int64(span/per) + burst
		if passed < want-2 || passed > want {
			t.Errorf("%+v: %d passed, want %d", l, passed, want)
		}
	}
}

// Who wants more than the burst at once gets it when nothing is owed, and pays.
func TestMoreThanTheBurst(t *testing.T) {
	l := rate.PerSecond(1000)
	var m rate.Meter
	if _, ok := m.Take(l, 5000, 0); !ok {
		t.Error("refused for ever")
	}
	if wait, ok := m.Take(l, 1, 0); ok || wait < 4*time.Second {
		t.Errorf("the next one: %v, wait %v", ok, wait)
	}
	if _, ok := m.Take(l, 5000, time.Second); ok {
		t.Error("admitted while much is owed")
	}
}

func TestGiveUndoesTake(t *testing.T) {
	l := rate.Limit{N: 1, Burst: 1}
	var m rate.Meter
	for range 100 {
		if _, ok := m.Take(l, 1, 0); !ok {
			t.Fatal("refused")
		}
		m.Give(l, 1)
	}
}

// What was admitted elsewhere is paid off at the pace, and never takes longer
// than the bound.
func TestChargesArePaidOff(t *testing.T) {
	l := rate.PerSecond(10)
	var m rate.Meter
	m.Charge(l.Cost(50), 0)
	if wait, ok := m.Take(l, 1, 0); ok || wait < 4*time.Second || wait > 4200*time.Millisecond {
		t.Errorf("with five seconds owed: %v, wait %v", ok, wait)
	}
	m.Charge(l.Cost(1<<40), 0)
	if wait, ok := m.Take(l, 1, 0); ok || wait > 25*time.Hour {
		t.Errorf("with years owed: %v, wait %v", ok, wait)
	}
}

// A million keys take the memory of the few that a table may hold, and a busy
// key that stays busy keeps its meter among idle ones.
func TestTableIsBounded(t *testing.T) {
	const most = 1024
	table := rate.NewTable[string](most, true)
	l := rate.PerSecond(1)
	busy := rate.Limit{N: 1, Per: time.Hour, Burst: 1}
	if _, ok := table.Take("busy", busy, 1, 0); !ok {
		t.Fatal("refused")
	}
	for i := range 1_000_000 {
		now := time.Duration(i) * 10 * time.Millisecond // a hundred are busy at a time
		if _, ok := table.Take(strconv.Itoa(i), l, 1, now); !ok {
			t.Fatal("a new key is refused")
		}
		if n := table.Len(); i%100_000 == 0 && n > most {
			t.Fatalf("%d meters are held", n)
		}
	}
	if n := table.Forgotten(); n != 0 {
		t.Errorf("%d busy meters were forgotten with room for them", n)
	}
	if used, more := table.Used(100); len(used) != 100 || !more {
		t.Errorf("%d used, more %v", len(used), more)
	}
	for more := true; more; {
		var used map[string]time.Duration
		used, more = table.Used(100)
		for key, n := range used {
			if n != time.Second && key != "busy" {
				t.Fatalf("%s used %v", key, n)
			}
		}
	}
	// All busy at once: some must go, and they are counted.
	for i := range 4 * most {
		table.Take("crowd"+strconv.Itoa(i), busy, 1, 3*time.Hour)
	}
	if n := table.Len(); n > most {
		t.Errorf("%d meters are held", n)
	}
	if table.Forgotten() == 0 {
		t.Error("no busy meter was forgotten")
	}
}

func TestTableTakesGivesAndCharges(t *testing.T) {
	table := rate.NewTable[int](100, true)
	l := rate.PerSecond(2)
	for i, want := range []bool{true, true, false} {
		if _, ok := table.Take(1, l, 1, 0); ok != want {
			t.Errorf("take %d: %v", i, ok)
		}
	}
	table.Give(1, l, 1)
	table.Give(2, l, 1)
	if used, _ := table.Used(10); used[1] != time.Second/2 || len(used) != 1 {
		t.Errorf("used %v", used)
	}
	table.Charge(1, l.Cost(1), 0)
	if _, ok := table.Take(1, l, 1, 0); ok {
		t.Error("admitted what was used elsewhere")
	}
	if _, ok := table.Take(1, l, 1, time.Second); !ok {
		t.Error("refused a second later")
	}
	if used, _ := table.Used(10); used[1] != time.Second/2 {
		t.Errorf("used %v: charges are not this table's own", used)
	}
}
