package jetstream_test

import (
	"os"
	"path/filepath"
	"testing"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestStopCountsOnce holds after which stops an async channel goes on: a clean
// one, once, on a machine that still runs.
func TestStopCountsOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	boot := filepath.Join(t.TempDir(), "boot")
	reboot := func(id string) {
		if err := os.WriteFile(boot, []byte(id+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reboot("one")
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10}
	run := func() (*jetstream.Engine, string) {
		o := jetstream.Options{Network: h.network, Alone: true}
		o.SetBootFile(boot)
		e := newEngine(t, o)
		if err := e.Start(t.Context(), newSink()); err != nil {
			t.Fatal(err)
		}
		return e, publish(t, e, "stop", p, "x").Epoch
	}
	again := func() {
		h.close(t, h.network)
		h.open(t)
	}
	e, first := run()
	stop(t, e)
	again()
	e, epoch := run()
	if epoch != first {
		t.Errorf("after a clean stop the epoch is %q, it was %q", epoch, first)
	}
	// A crash: the engine has no time, and the testimony before it is used up.
	again()
	stopDead(t, e)
	e, crashed := run()
	if crashed == first {
		t.Error("after a crash the epoch goes on")
	}
	stop(t, e)
	again()
	reboot("two")
	e, rebooted := run()
	if rebooted == crashed {
		t.Error("after the machine was started anew the epoch goes on")
	}
	stop(t, e)
}
