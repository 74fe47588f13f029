package disk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// durabilities returns those that are kept on disk, and the one that is not.
func durabilities() []channel.Durability {
	return []channel.Durability{channel.DurabilitySync, channel.DurabilityAsync, channel.DurabilityMemory}
}

// inBubble runs a test on an engine in virtual time, and holds that the gate
// is empty when it is over.
func inBubble(t *testing.T, o disk.Options, run func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.FS == nil {
			o.FS = vfs.NewMem()
		}
		r := start(t, o)
		run(r)
		if n, bytes := r.InFlight(); n != 0 || bytes != 0 {
			t.Errorf("when all is over %d publications of %d bytes are under way", n, bytes)
		}
		r.stop()
	})
}

// keys returns how many keys of a kind are on disk and in memory together.
func keys(tb testing.TB, r *rig, first byte) int {
	tb.Helper()
	onDisk, inMemory, err := r.Keys(first)
	if err != nil {
		tb.Fatal(err)
	}
	return onDisk + inMemory
}

// The first bytes of keys.
const (
	keyMeta, keyPub, keyEntry, keyID, keyIDDue, keyEntryDue, keyVisit, keyUnflushed = 'c', 'm', 'k', 'i', 'y', 'e', 'v', 'd'
)

// TestNothingIsLeft holds that what has outlived its time leaves the stores,
// whether anybody calls or not.
func TestNothingIsLeft(t *testing.T) {
	for _, d := range durabilities() {
		inBubble(t, disk.Options{}, func(r *rig) {
			log, state := logPolicy(d, 100), statePolicy(d, 100)
			for _, p := range []*channel.Policy{log, state} {
				p.HistoryTTL, p.MetaTTL, p.DedupeWindow, p.KeyTTL = 10*time.Minute, time.Hour, 5*time.Minute, 20*time.Minute
			}
			for n := range 200 {
				r.send(channel.PublishRequest{Channel: fmt.Sprintf("log:%d", n%7), Policy: log, ID: fmt.Sprint(n)})
				r.put(fmt.Sprintf("state:%d", n%7), state, fmt.Sprint(n%50), "v")
			}
			want := map[byte][4]int{
				// At once, after 7, 25 and 100 minutes.
				keyPub: {400, 400, 0, 0}, keyID: {200, 0, 0, 0}, keyIDDue: {200, 0, 0, 0}, keyEntry: {200, 200, 0, 0},
				keyMeta: {14, 14, 14, 0}, keyVisit: {14, 14, 14, 0}, keyUnflushed: {-1, 0, 0, 0},
			}
			want[keyEntry] = [4]int{keys(t, r, keyEntry), keys(t, r, keyEntry), 0, 0}
			want[keyEntryDue] = want[keyEntry]
			for step, wait := range []time.Duration{0, 7 * time.Minute, 18 * time.Minute, 80 * time.Minute} {
				time.Sleep(wait)
				synctest.Wait()
				for first, counts := range want {
					got := keys(t, r, first)
					// The ends of the entries are publications too, with a life of their own.
					if first == keyPub && step == 2 {
						got = 0
					}
					if counts[step] >= 0 && got != counts[step] {
						t.Errorf("durability %d, step %d: %d keys %q, want %d", d, step, got, first, counts[step])
					}
				}
			}
		})
	}
}

// TestTrimming holds that no channel has much more on disk than it keeps.
func TestTrimming(t *testing.T) {
	for _, size := range []int{1, 5, 40, 200} {
		inBubble(t, disk.Options{}, func(r *rig) {
			p := logPolicy(channel.DurabilitySync, size)
			for n := range 100 + 3*size {
				r.publish("c", p, fmt.Sprint(n))
				if got, limit := keys(t, r, keyPub), size+max(size/4, 16)+1; got > limit {
					t.Fatalf("after %d publications %d are on disk, want %d at most", n+1, got, limit)
				}
			}
			if res := r.since("c", p, channel.Position{}); len(res.Pubs) != size {
				t.Errorf("%d publications are kept, want %d", len(res.Pubs), size)
			}
		})
	}
}

// TestHistoryBytes holds that a channel keeps about as many bytes as it may,
// and at least the last publication, also after a restart.
func TestHistoryBytes(t *testing.T) {
	const limit = 10_000
	o := disk.Options{FS: vfs.NewMem(), MaxHistoryBytes: limit}
	p := logPolicy(channel.DurabilitySync, 1000)
	data := strings.Repeat("x", 1000)
	for range 3 {
		inBubble(t, o, func(r *rig) {
			for range 50 {
				r.publish("c", p, data)
			}
			if n := len(r.since("c", p, channel.Position{}).Pubs); n < 8 || n > 13 {
				t.Errorf("%d publications of 1000 bytes are kept, where %d bytes may be", n, limit)
			}
			r.publish("large", p, strings.Repeat("x", 3*limit))
			last := r.publish("large", p, strings.Repeat("x", 3*limit))
			if res := r.since("large", p, channel.Position{}); len(res.Pubs) == 0 || res.Pubs[len(res.Pubs)-1].Position != last.Position {
				t.Errorf("of publications larger than the limit %d are kept", len(res.Pubs))
			}
		})
	}
}

// TestIdleChannels holds that channels without subscribers leave the memory,
// and are as they were when they come back.
func TestIdleChannels(t *testing.T) {
	for _, d := range durabilities() {
		inBubble(t, disk.Options{MaxIdle: 64}, func(r *rig) {
			p, state := logPolicy(d, 10), statePolicy(d, 10)
			tops := make(map[string]channel.Position)
			for n := range 500 {
				name := fmt.Sprintf("c:%d", n)
				tops[name] = r.publish(name, p, "1").Position
				tops["unused:"+name] = r.since("unused:"+name, p, channel.Position{}).Top
				r.put("s:"+name, state, "k", name)
				time.Sleep(10 * time.Second)
			}
			if n := r.Books(); n > 3*64 {
				t.Errorf("of 1500 idle channels %d are in memory, want about 64", n)
			}
			for name, top := range tops {
				if res := r.since(name, p, top); res.Top != top || !res.Complete {
					t.Errorf("%s was at %v and is at %v", name, top, res.Top)
				}
			}
			for n := range 500 {
				name := fmt.Sprintf("c:%d", n)
				if got := r.entries("s:"+name, state); got["k"] != name {
					t.Errorf("%s has the entries %v", name, got)
				}
			}
		})
	}
}

// TestEntriesEndUnseen holds that entries end when nobody calls, after a
// restart, of a channel that nobody has used since.
func TestEntriesEndUnseen(t *testing.T) {
	fs := vfs.NewMem()
	p := statePolicy(channel.DurabilitySync, 10)
	p.KeyTTL = time.Hour
	var top channel.Position
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		r.put("s", p, "a", "1")
		time.Sleep(30 * time.Minute)
		top = r.put("s", p, "b", "2").Position
	})
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		// The bubble begins in the same year again; the engine's clock does not.
		time.Sleep(45 * time.Minute)
		synctest.Wait()
		if n := keys(t, r, keyEntry); n != 1 {
			t.Errorf("%d entries are left, want 1", n)
		}
		res := r.since("s", p, top)
		if len(res.Pubs) != 1 || res.Pubs[0].Op != channel.OpExpire || res.Pubs[0].Key != "a" || !res.Complete {
			t.Errorf("the end of an entry is not in the history: %d publications", len(res.Pubs))
		}
		r.subscribe("s", p)
		time.Sleep(time.Hour)
		if got := r.delivered("s"); len(got) != 1 || got[0].Key != "b" || got[0].Op != channel.OpExpire {
			t.Errorf("the end of an entry was not delivered: %d publications", len(got))
		}
	})
}

// TestPolicyChanges opens channels with other policies than they had.
func TestPolicyChanges(t *testing.T) {
	fs := vfs.NewMem()
	p := logPolicy(channel.DurabilitySync, 100)
	var at channel.Position
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		for n := range 50 {
			at = r.publish("c", p, fmt.Sprint(n)).Position
		}
	})
	shorter := logPolicy(channel.DurabilityAsync, 10)
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		if res := r.since("c", shorter, channel.Position{}); len(res.Pubs) != 10 || res.Top != at || res.Complete {
			t.Errorf("a history that became shorter has %d publications at %v", len(res.Pubs), res.Top)
		}
		r.publish("c", shorter, "50")
		if n := keys(t, r, keyPub); n != 11 {
			t.Errorf("a history that became shorter has %d publications on disk", n)
		}
	})
	var memory channel.Position
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		memory = r.publish("c", logPolicy(channel.DurabilityMemory, 10), "51").Position
		if memory.Epoch == at.Epoch || memory.Offset != 1 {
			t.Errorf("a channel that is kept in memory now goes on at %v", memory)
		}
	})
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		top := r.since("c", p, channel.Position{}).Top
		if top.Epoch == at.Epoch || top.Epoch == memory.Epoch {
			t.Errorf("a channel that is kept on disk again has an old epoch, over what it missed")
		}
		r.publish("c", p, "52")
		state := statePolicy(channel.DurabilitySync, 10)
		if res, err := r.Read(t.Context(), &channel.ReadRequest{Channel: "c", Policy: state, Limit: -1}); err != nil || res.Top.Epoch != top.Epoch {
			t.Errorf("with another kind in the same process the channel is at %v, %v", res.Top, err)
		}
	})
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		state := statePolicy(channel.DurabilitySync, 10)
		if res := r.since("c", state, channel.Position{}); len(res.Pubs) != 0 || res.Top.Offset != 0 {
			t.Errorf("a channel of another kind has %d publications of the old one", len(res.Pubs))
		}
		r.put("c", state, "k", "v")
		if got := r.entries("c", state); got["k"] != "v" {
			t.Errorf("entries %v", got)
		}
	})
}

// TestLastOffset holds what becomes of a channel that runs out of offsets.
func TestLastOffset(t *testing.T) {
	for _, d := range durabilities() {
		fs := vfs.NewMem()
		var next channel.Ack
		p, state := logPolicy(d, 10), statePolicy(d, 10)
		inBubble(t, disk.Options{FS: fs}, func(r *rig) {
			r.publish("c", p, "1")
			r.put("s", state, "k", "v")
			r.subscribe("c", p)
			r.FillUp("c")
			r.FillUp("s")
			last := r.publish("c", p, "last")
			if last.Offset != channel.MaxOffset {
				t.Errorf("the last offset is %d", last.Offset)
			}
			next = r.publish("c", p, "next")
			if next.Offset != 1 || next.Epoch == last.Epoch || len(r.mu.lost) != 1 {
				t.Errorf("after the last offset came %v, and %d times Lost", next.Position, len(r.mu.lost))
			}
			r.put("s", state, "l", "w")
			r.put("s", state, "m", "x")
			if got := r.entries("s", state); len(got) != 3 {
				t.Errorf("entries %v", got)
			}
		})
		if d == channel.DurabilityMemory {
			continue
		}
		inBubble(t, disk.Options{FS: fs}, func(r *rig) {
			if res := r.since("c", p, channel.Position{}); res.Top != next.Position || datas(res.Pubs) != "next" {
				t.Errorf("after a restart it is at %v with %q", res.Top, datas(res.Pubs))
			}
			if got := r.entries("s", state); len(got) != 3 {
				t.Errorf("entries %v", got)
			}
		})
	}
}

// TestLimits holds the limits that Options name.
func TestLimits(t *testing.T) {
	inBubble(t, disk.Options{MaxChannels: 3, MaxEntries: 2, MaxMemoryIDs: 100}, func(r *rig) {
		p := statePolicy(channel.DurabilitySync, 10)
		r.put("s", p, "a", "1")
		r.put("s", p, "b", "1")
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "s", Policy: p, Op: channel.OpPut, Key: "c"})
		if !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("an entry too many: %v", err)
		}
		r.put("s", p, "a", "2")
		memory := logPolicy(channel.DurabilityMemory, 1)
		for n := range 1000 {
			r.send(channel.PublishRequest{Channel: "m", Policy: memory, ID: fmt.Sprint(n)})
			synctest.Wait()
		}
		if n := keys(t, r, keyID); n > 100 {
			t.Errorf("%d ids are remembered in memory, want 100 at most", n)
		}
		if ack := r.send(channel.PublishRequest{Channel: "m", Policy: memory, ID: "999"}); !ack.Duplicate {
			t.Error("the last id is forgotten")
		}
		r.subscribe("1", p)
		if _, err := r.Subscribe(t.Context(), "2", p); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a channel too many: %v", err)
		}
	})
}

// TestGate holds that no more is under way than may be, that those beyond wait
// for their turn, and that giving up does not take a place along.
func TestGate(t *testing.T) {
	fs := newSlowFS()
	r := start(t, disk.Options{FS: fs, MaxInFlight: 4})
	p := logPolicy(channel.DurabilitySync, 1000)
	r.publish("c", p, "0")
	release := fs.hold()
	const publishers = 20
	results := make(chan error, publishers)
	ctx, cancel := context.WithCancel(t.Context())
	for i := range publishers {
		mine := context.Background()
		if i%2 == 0 {
			mine = ctx
		}
		go func() {
			_, err := r.Publish(mine, &channel.PublishRequest{Channel: fmt.Sprint(i % 3), Policy: p, Data: []byte("x")})
			results <- err
		}()
	}
	eventually(t, "the gate to be full", func() bool { n, _ := r.InFlight(); return n == 4 })
	cancel()
	for range publishers / 2 {
		if err := <-results; !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
			t.Errorf("a publish that was given up: %v", err)
		}
	}
	release()
	for range publishers / 2 {
		if err := <-results; err != nil {
			t.Errorf("a publish that waited: %v", err)
		}
	}
	if n, bytes := r.InFlight(); n != 0 || bytes != 0 {
		t.Errorf("when all is over %d publications of %d bytes are under way", n, bytes)
	}
	r.stop()
}

// TestClockGoesBack holds that a wall clock that was set back while the engine
// was down makes nothing live longer than the time that was seen.
func TestClockGoesBack(t *testing.T) {
	fs := vfs.NewMem()
	p := logPolicy(channel.DurabilitySync, 10)
	p.HistoryTTL = time.Hour
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour)
		r := start(t, disk.Options{FS: fs})
		r.publish("c", p, "1")
		r.stop()
	})
	// This bubble begins a day earlier.
	inBubble(t, disk.Options{FS: fs}, func(r *rig) {
		if got := datas(r.since("c", p, channel.Position{}).Pubs); got != "1" {
			t.Errorf("a day back in time the channel reads as %q", got)
		}
		time.Sleep(61 * time.Minute)
		if got := datas(r.since("c", p, channel.Position{}).Pubs); got != "" {
			t.Errorf("an hour later the channel reads as %q", got)
		}
	})
}
