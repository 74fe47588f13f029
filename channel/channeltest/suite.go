package channeltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
)

// Factory makes the engine under test and says what it can take. Only New is
// required.
type Factory struct {
	// New returns a fresh engine that has not been started. It is called
	// inside the bubble, from the goroutine of the test, and may register
	// cleanups. The suite closes the engine.
	New func(tb testing.TB) channel.Engine
	// Durability is that of all policies in the suite. An engine with several
	// passes the suite once for each.
	Durability channel.Durability
	// RealTime says that the engine cannot live in a testing/synctest bubble,
	// having sockets or files to wait for. Checks that wait then really do.
	RealTime bool
	// Window is the unit of time: what expires lives for a few and a half of
	// it. 0 takes ten seconds of virtual time, or half a second of real time.
	Window time.Duration
	// Patience is how long a delivery may take. 0 takes ten seconds.
	Patience time.Duration
	// MaxPayload is the size of the largest payload tried; 0 takes 1 MiB.
	MaxPayload int
	// Channels is how many channels are subscribed at once; 0 takes 100,000.
	Channels int
	// Restart ends the engine's process, as a clean shutdown or as a crash,
	// and returns an engine on what it left behind, not started. Nil leaves
	// these checks out.
	Restart func(tb testing.TB, e channel.Engine, clean bool) channel.Engine
	// Cut breaks the engine's feed to its Sink, so that publications may go
	// missing until heal is called. Nil leaves these checks out.
	Cut func(tb testing.TB, e channel.Engine) (heal func())
}

func (f Factory) withDefaults() Factory {
	if f.Window == 0 {
		f.Window = 10 * time.Second
		if f.RealTime {
			f.Window = 500 * time.Millisecond
		}
	}
	if f.Patience == 0 {
		f.Patience = 10 * time.Second
	}
	if f.MaxPayload == 0 {
		f.MaxPayload = 1 << 20
	}
	if f.Channels == 0 {
		f.Channels = 100_000
	}
	return f
}

// check is one promise. It fails by calling exam.failf.
type check struct {
	name string
	run  func(x *exam)
}

// checks lists the suite.
func checks() []check {
	var all []check
	for _, family := range [][]check{
		orderChecks(), subscribeChecks(), readChecks(), expiryChecks(), dedupeChecks(),
		stateChecks(), casChecks(), snapshotChecks(), modelChecks(), removeChecks(),
		refusalChecks(), lifeChecks(), restartChecks(), scaleChecks(), watchChecks(),
	} {
		all = append(all, family...)
	}
	return all
}

// Checks returns the names of all checks.
func Checks() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// Run holds the factory's engines against every check.
func Run(t *testing.T, f Factory) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			err := f.withDefaults().examine(t, c)
			if errors.Is(err, ErrLeftOut) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Examine runs one check and returns what it found, nil where the engine
// passes. t is for bubbles and resources; it does not fail. A check that does
// not apply to the engine is an error too.
func Examine(t *testing.T, f Factory, name string) error {
	for _, c := range checks() {
		if c.name == name {
			return f.withDefaults().examine(t, c)
		}
	}
	return fmt.Errorf("there is no check %q", name)
}

func (f Factory) examine(t *testing.T, c check) (err error) {
	if f.RealTime {
		return f.sit(t, c)
	}
	synctest.Test(t, func(t *testing.T) { err = f.sit(t, c) })
	return err
}

// ErrLeftOut is what a check that does not apply to an engine comes to.
var ErrLeftOut = errors.New("left out")

// failure is what failf panics with: the way out of a check, however deep.
type failure struct{ err error }

// caught turns a failure that is on its way out into an error.
func caught(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.err
	default:
		panic(r)
	}
}

// try runs a part of a check and returns how it failed.
func try(run func()) (err error) {
	defer caught(&err)
	run()
	return nil
}

// sit runs one check on an engine of its own.
func (f Factory) sit(tb testing.TB, c check) (err error) {
	// What an engine may do with the context of its start ends here, not
	// before the end of the check.
	x := &exam{tb: tb, f: f, ctx: context.Background(), sink: newRecorder()}
	defer x.close()
	defer caught(&err)
	x.open(f.New(tb))
	c.run(x)
	x.sink.verify(x)
	return nil
}
