package history_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"myelin/e2e/faults/history"
)

// TestLinearPlanted holds that porcupine notices a reader who is told an old
// position, and a publisher who is told one of somebody before him.
func TestLinearPlanted(t *testing.T) {
	t.Parallel()
	h := good(3)
	for i := range h.Readings {
		if r := &h.Readings[i]; r.Channel == syncChannel && !r.Final && r.Offset > 20 {
			r.Offset = finalOf(h, syncChannel).Kept[0].Offset
			break
		}
	}
	if a := history.Linear(h, syncChannel, time.Minute); a != history.Illegal {
		t.Errorf("of a stale read porcupine says %s", a)
	}
	h = good(3)
	for !bendTime(h, rand.New(rand.NewPCG(uint64(len(h.Faults)), rand.Uint64()))) {
		continue
	}
	if a := history.Linear(h, syncChannel, time.Minute); a != history.Illegal {
		t.Errorf("of calls out of order porcupine says %s", a)
	}
}

// register is one key that keeps its promises.
type register struct {
	calls   []history.KeyCall
	changes []history.Kept
}

func goodRegister(seed uint64) *register {
	r := rand.New(rand.NewPCG(seed, 5))
	g := &register{}
	at, offset := uint64(0), uint64(0)
	for n := range 60 {
		now := time.Duration(n) * time.Millisecond
		c := history.KeyCall{Key: "k", Call: now - upTo(r, 2*time.Millisecond), Return: now + upTo(r, 2*time.Millisecond), Outcome: history.Acked}
		if r.IntN(4) == 0 {
			c.Offset = at
			g.calls = append(g.calls, c)
			continue
		}
		c.ID = fmt.Sprint("v", n)
		expect := at
		if r.IntN(3) == 0 {
			expect = at + 1
		}
		if r.IntN(3) > 0 {
			c.Expect = &expect
		}
		if c.Expect != nil && *c.Expect != at {
			c.Outcome, c.Offset = history.Refused, at
		} else {
			offset += 1 + r.Uint64N(3)
			at, c.Offset = offset, offset
			g.changes = append(g.changes, history.Kept{Offset: at, ID: c.ID})
			if r.IntN(8) == 0 {
				c.Outcome, c.Offset, c.Return = history.Unknown, 0, c.Call
			}
		}
		g.calls = append(g.calls, c)
	}
	// What was never done leaves no trace.
	g.calls = append(g.calls, history.KeyCall{Key: "k", ID: "gone", Outcome: history.Unknown})
	return g
}

// TestRegisters holds that a register that keeps its promises is not accused,
// and that a bug of each kind is caught.
func TestRegisters(t *testing.T) {
	t.Parallel()
	bugs := map[string]func(g *register) bool{
		"":                        func(*register) bool { return true },
		"two win":                 func(g *register) bool { return g.bend(history.Refused, winToo) },
		"a conflict without one":  func(g *register) bool { return g.bend(history.Acked, loseToo) },
		"a conflict with whom?":   func(g *register) bool { return g.bend(history.Refused, func(c *history.KeyCall) { c.Offset += 500 }) },
		"a look that is too old":  func(g *register) bool { return g.look(func(c *history.KeyCall) { c.Offset = 0 }) },
		"a look into the future":  func(g *register) bool { return g.look(func(c *history.KeyCall) { c.Offset += 9 }) },
		"a put that is forgotten": forgetPut,
	}
	for name, bug := range bugs {
		planted := 0
		for seed := range uint64(20) {
			g := goodRegister(seed)
			if !bug(g) {
				continue
			}
			planted++
			want := history.Illegal
			if name == "" {
				want = history.Legal
			}
			if a := history.Registers(g.calls, g.changes, time.Minute); a != want {
				t.Errorf("%q, seed %d: porcupine says %s, want %s", name, seed, a, want)
			}
		}
		if planted == 0 {
			t.Errorf("%q was never planted", name)
		}
	}
}

// bend changes a call in the middle whose expectation had this outcome.
func (g *register) bend(o history.Outcome, how func(*history.KeyCall)) bool {
	for i := len(g.calls) / 2; i < len(g.calls); i++ {
		if c := &g.calls[i]; c.ID != "" && c.Expect != nil && c.Outcome == o {
			how(c)
			return true
		}
	}
	return false
}

func (g *register) look(how func(*history.KeyCall)) bool {
	for i := len(g.calls) / 2; i < len(g.calls); i++ {
		if c := &g.calls[i]; c.ID == "" && c.Offset > 0 {
			how(c)
			return true
		}
	}
	return false
}

func winToo(c *history.KeyCall) { c.Outcome, c.Offset = history.Acked, c.Offset+1 }

func loseToo(c *history.KeyCall) { c.Outcome, c.Offset = history.Refused, *c.Expect }

// forgetPut lets the last half of the calls happen as if a put in the middle had
// not been.
func forgetPut(g *register) bool {
	for i := len(g.calls) / 2; i+1 < len(g.calls); i++ {
		if c, next := &g.calls[i], &g.calls[i+1]; c.ID != "" && c.Outcome == history.Acked && next.ID == "" && c.Return < next.Call {
			for j := i - 1; j >= 0; j-- {
				if before := g.calls[j]; before.ID != "" && before.Outcome == history.Acked {
					next.Offset = before.Offset
					return true
				}
			}
		}
	}
	return false
}
