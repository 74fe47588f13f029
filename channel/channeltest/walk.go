package channeltest

import (
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

// Walks has rapid take many walks, in the bubble of virtual time that t is of.
// Rapid is not to ask for the deadline of the test, which a bubble does not let
// one.
func Walks(t *testing.T, walk func(t testing.TB, rt *rapid.T)) {
	t.Helper()
	rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { walk(through{t, rt}, rt) })
}
