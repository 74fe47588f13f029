package disk_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// ledgerOf is what publishers were told, by channel: payloads by position.
type ledgerOf map[string]map[channel.Position]string

// acknowledged notes all that is acknowledged.
type acknowledged struct {
	mu struct {
		sync.Mutex
		all ledgerOf
		n   int
	}
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.n
}

func (a *acknowledged) add(name string, at channel.Position, data string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.all == nil {
		a.mu.all = make(ledgerOf)
	}
	if a.mu.all[name] == nil {
		a.mu.all[name] = make(map[channel.Position]string)
	}
	a.mu.all[name][at] = data
	a.mu.n++
}

// now returns what was acknowledged so far.
func (a *acknowledged) now() ledgerOf {
	a.mu.Lock()
	defer a.mu.Unlock()
	copied := make(ledgerOf)
	for name, acks := range a.mu.all {
		copied[name] = maps.Clone(acks)
	}
	return copied
}

// stage is the channels of a power test.
func stage() map[string]*channel.Policy {
	all := make(map[string]*channel.Policy)
	for i := range 3 {
		all[fmt.Sprintf("sync:%d", i)] = logPolicy(channel.DurabilitySync, 100_000)
		all[fmt.Sprintf("async:%d", i)] = logPolicy(channel.DurabilityAsync, 100_000)
	}
	all["sync:state"] = statePolicy(channel.DurabilitySync, 100_000)
	all["async:state"] = statePolicy(channel.DurabilityAsync, 100_000)
	return all
}

// load publishes on all channels until stop is closed.
func load(r *rig, acks *acknowledged, run string, stop chan struct{}) *sync.WaitGroup {
	var wg sync.WaitGroup
	worker := 0
	for name, p := range stage() {
		for range 2 {
			worker++
			me := worker
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					q := &channel.PublishRequest{Channel: name, Policy: p, Data: fmt.Appendf(nil, "%s/%d/%d", run, me, n)}
					if p.Kind == channel.KindState {
						q.Op, q.Key = channel.OpPut, strconv.Itoa(n%5)
					}
					if n%7 == 0 {
						q.ID = string(q.Data)
					}
					ack, err := r.Publish(context.Background(), q)
					if err != nil {
						r.tb.Errorf("Publish: %v", err)
						return
					}
					acks.add(name, ack.Position, string(q.Data))
				}
			})
		}
	}
	return &wg
}

// judge holds what is there after a crash against what was acknowledged
// before. It returns how many async channels got a new epoch.
func judge(tb testing.TB, r *rig, before ledgerOf) (bumped int) {
	tb.Helper()
	for name, acks := range before {
		p := stage()[name]
		res := r.since(name, p, channel.Position{})
		if !res.Complete {
			tb.Errorf("%s: what is kept is not complete", name)
		}
		found := make(map[channel.Position]string)
		for _, pub := range res.Pubs {
			found[pub.Position] = string(pub.Data)
		}
		lost, epochs := 0, make(map[string]bool)
		for at, data := range acks {
			if at.Epoch != res.Top.Epoch {
				epochs[at.Epoch] = true
				continue
			}
			if found[at] != data {
				lost++
			}
		}
		if lost > 0 {
			tb.Errorf("%s: %d of %d acknowledged publications are not there, and the epoch is the same", name, lost, len(acks))
		}
		if len(epochs) > 0 && p.Durability == channel.DurabilitySync {
			tb.Errorf("%s: the epoch of a sync channel changed", name)
		}
		bumped += len(epochs)
		if p.Kind == channel.KindState {
			replay := make(map[string]string)
			for _, pub := range res.Pubs {
				replay[pub.Key] = string(pub.Data)
			}
			if got := r.entries(name, p); fmt.Sprint(got) != fmt.Sprint(replay) {
				tb.Errorf("%s: entries %v, its history comes to %v", name, got, replay)
			}
		}
	}
	return bumped
}

// rounds returns how often a test is to do it: fewer under the race detector,
// more where the environment says so.
func rounds(tb testing.TB, usual, underRace int) int {
	tb.Helper()
	text := os.Getenv("MYELIN_FAULT_ROUNDS")
	switch {
	case text == "" && raced:
		return underRace
	case text == "":
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatalf("MYELIN_FAULT_ROUNDS is %q, want a number", text)
	}
	return n
}

// TestPowerLoss cuts the power at random moments, several times in a row for
// each disk. What was not synced is there or not, as chance has it.
func TestPowerLoss(t *testing.T) {
	bumped := 0
	for round := range rounds(t, 12, 4) {
		seed := uint64(round)
		random := rand.New(rand.NewPCG(seed, 7))
		fs := vfs.NewCrashableMem()
		acks := &acknowledged{}
		for life := range 3 {
			r := start(t, disk.Options{FS: fs, FlushInterval: 5 * time.Millisecond, MemtableBytes: 256 << 10})
			bumped += judge(t, r, acks.now())
			stop := make(chan struct{})
			wg := load(r, acks, fmt.Sprint(life), stop)
			moment := acks.count() + random.IntN(3000)
			eventually(t, "publications", func() bool { return acks.count() >= moment })
			before := acks.now()
			left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(life)))})
			close(stop)
			wg.Wait()
			r.stop()
			// What was acknowledged after the cut belongs to another world.
			fs, acks = left, &acknowledged{}
			acks.mu.all = before
			if t.Failed() {
				t.Fatalf("seed %d, life %d", seed, life)
			}
		}
		r := start(t, disk.Options{FS: fs})
		bumped += judge(t, r, acks.now())
		r.stop()
	}
	if bumped == 0 {
		t.Error("no crash cost an async channel its epoch: the test did not test")
	}
}

// TestCrashOfTheQuiet holds that a crash costs nobody an epoch who had time to
// be flushed: a quiet async channel keeps it, as does one that was only read.
func TestCrashOfTheQuiet(t *testing.T) {
	fs := vfs.NewCrashableMem()
	r := start(t, disk.Options{FS: fs, FlushInterval: time.Millisecond})
	p := logPolicy(channel.DurabilityAsync, 100)
	var at channel.Position
	for n := range 50 {
		at = r.publish("busy", p, fmt.Sprint(n)).Position
	}
	slow := r.publish("slow", p, "1").Position
	unused := r.since("unused", p, channel.Position{}).Top
	busy := fs.CrashClone(vfs.CrashCloneCfg{})
	deadline := time.Now().Add(10 * time.Second)
	for !quiet(t, fs, p, at) {
		if time.Now().After(deadline) {
			t.Fatal("a channel that is quiet is not flushed for good")
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.stop()

	r = start(t, disk.Options{FS: busy})
	if top := r.since("busy", p, channel.Position{}).Top; top.Epoch == at.Epoch && top != at {
		t.Errorf("a crash under load left the top at %v, it was at %v", top, at)
	}
	if res := r.since("slow", p, slow); res.Top != slow || !res.Complete {
		t.Errorf("one async publication is at %v after a crash, complete %v, it was at %v", res.Top, res.Complete, slow)
	}
	if top := r.since("unused", p, channel.Position{}).Top; top != unused {
		t.Errorf("a channel that was only read is at %v after a crash, was at %v", top, unused)
	}
	r.stop()
}

// quiet reports whether a crash now would leave a channel as it is.
func quiet(tb testing.TB, fs *vfs.MemFS, p *channel.Policy, at channel.Position) bool {
	tb.Helper()
	r := start(tb, disk.Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	defer r.stop()
	return r.since("busy", p, channel.Position{}).Top == at
}

// TestGivenUpWhileTheDiskIsAtWork holds that a context that ends late gives
// an unknown outcome, and that a retry with the id finds out.
func TestGivenUpWhileTheDiskIsAtWork(t *testing.T) {
	fs := newSlowFS()
	r := start(t, disk.Options{FS: fs})
	defer r.stop()
	p := logPolicy(channel.DurabilitySync, 10)
	r.publish("c", p, "0")
	release := fs.hold()
	ctx, cancel := context.WithCancel(t.Context())
	q := &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("1"), ID: "one"}
	done := make(chan error, 1)
	go func() {
		_, err := r.Publish(ctx, q)
		done <- err
	}()
	fs.awaitHeld(t)
	if res := r.since("c", p, channel.Position{}); datas(res.Pubs) != "0" {
		t.Errorf("what is not on disk can be read: %q", datas(res.Pubs))
	}
	cancel()
	if err := <-done; !errors.Is(err, channel.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("a publish that was given up: %v", err)
	}
	release()
	if ack := r.send(*q); !ack.Duplicate || ack.Offset != 2 {
		t.Errorf("the retry gave %+v, want a duplicate at 2", ack)
	}
}
