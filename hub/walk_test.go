package hub_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// through is a test whose failures are those of a walk of rapid, which then
// looks for a shorter one that fails. So it may be given to helpers that know
// nothing of rapid.
type through struct {
	testing.TB
	walk *rapid.T
}

func (x through) Helper()                           { x.walk.Helper() }
func (x through) Log(args ...any)                   { x.walk.Log(args...) }
func (x through) Logf(format string, args ...any)   { x.walk.Logf(format, args...) }
func (x through) Error(args ...any)                 { x.walk.Error(args...) }
func (x through) Errorf(format string, args ...any) { x.walk.Errorf(format, args...) }
func (x through) Fatal(args ...any)                 { x.walk.Fatal(args...) }
func (x through) Fatalf(format string, args ...any) { x.walk.Fatalf(format, args...) }
func (x through) Fail()                             { x.walk.Fail() }
func (x through) FailNow()                          { x.walk.FailNow() }
func (x through) Failed() bool                      { return x.walk.Failed() }

// walks has rapid take many walks, all in one bubble. Rapid is not to ask for
// the deadline of the test, which a bubble does not let one.
func walks(t *testing.T, walk func(t testing.TB, rt *rapid.T)) {
	bubble(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { walk(through{t, rt}, rt) })
	})
}

// pick chooses one of n, from 0, wherever the choice comes from.
type pick func(what string, n int) int

// drawn is a pick that rapid makes, and makes simpler where a walk fails.
func drawn(rt *rapid.T) pick {
	return func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
}

// random is a pick by a seed, for walks that are too long to be made shorter.
func random(seed uint64) pick {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(_ string, n int) int { return r.IntN(n) }
}
