package disk_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

func TestBackup(t *testing.T) {
	base := t.TempDir()
	dir, copied := filepath.Join(base, "data"), filepath.Join(base, "backups", "monday")
	r := start(t, disk.Options{Path: dir})
	p, async := logPolicy(channel.DurabilitySync, 10_000), logPolicy(channel.DurabilityAsync, 10_000)
	state := statePolicy(channel.DurabilitySync, 10)
	for n := range 500 {
		r.publish("c", p, fmt.Sprint(n))
		r.publish("a", async, fmt.Sprint(n))
		r.put("s", state, fmt.Sprint(n%10), fmt.Sprint(n))
	}
	unused := r.since("unused", p, channel.Position{}).Top
	acks := &acknowledged{}
	stop := make(chan struct{})
	wg := load(r, acks, "during", stop)
	eventually(t, "publications", func() bool { return acks.count() > 500 })
	before := acks.now()
	if err := r.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	if err := r.Backup(t.Context(), copied); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("a backup over a backup: %v", err)
	}
	top := r.since("c", p, channel.Position{}).Top
	r.stop()

	restored := filepath.Join(base, "restored")
	copyDir(t, copied, restored)
	epochs := make(map[string]bool)
	{
		b := start(t, disk.Options{Path: restored})
		res := b.since("c", p, channel.Position{})
		if res.Top.Offset != 500 || len(res.Pubs) != 500 || res.Pubs[499].Epoch != res.Top.Epoch || string(res.Pubs[499].Data) != "499" {
			t.Errorf("the backup holds %d publications up to %v", len(res.Pubs), res.Top)
		}
		epochs[res.Top.Epoch] = true
		if res.Top.Epoch == top.Epoch {
			t.Error("a channel that was restored goes on in its old epoch")
		}
		if behind := b.since("c", p, top); behind.Complete || len(behind.Pubs) > 0 {
			t.Error("a subscriber from before the restore is told that he missed nothing")
		}
		if again := b.since("unused", p, unused); again.Complete {
			t.Error("an unused channel that was restored goes on in its old epoch")
		}
		if got := b.entries("s", state); len(got) != 10 || got["9"] != "499" {
			t.Errorf("entries %v", got)
		}
		hasAll(b, before)
		if ack := b.publish("c", p, "more"); ack.Epoch != res.Top.Epoch || ack.Offset != 501 {
			t.Errorf("a publication after the restore got %v", ack.Position)
		}
		if err := b.Remove(t.Context(), "c", p); err != nil {
			t.Error(err)
		}
		b.stop()
	}
	b := start(t, disk.Options{Path: restored})
	if now := b.since("c", p, channel.Position{}).Top; !epochs[now.Epoch] || now.Offset != 501 {
		t.Errorf("after another restart the restored channel is at %v", now)
	}
	b.stop()
}

// hasAll fails unless all that was acknowledged is there.
func hasAll(r *rig, acks ledgerOf) {
	r.tb.Helper()
	for name, told := range acks {
		found := make(map[string]bool)
		for _, pub := range r.since(name, stage()[name], channel.Position{}).Pubs {
			found[string(pub.Data)] = true
		}
		for _, data := range told {
			if !found[data] {
				r.tb.Errorf("%s: %q was acknowledged before the backup and is not in it", name, data)
			}
		}
	}
}

// TestAfterBackup holds that a backup leaves the directory as it was: what is
// published after it survives a crash, and damage to it is noticed. And a disk
// that has no room for a backup is not the engine's.
func TestAfterBackup(t *testing.T) {
	crashable := vfs.NewCrashableMem()
	fs := newFailingFS(crashable)
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilitySync, 100)
	r.publish("c", p, "1")
	if err := r.Backup(t.Context(), "monday"); err != nil {
		t.Fatal(err)
	}
	r.publish("c", p, "2")
	fs.begin(func(op errorfs.Op) error {
		if strings.HasPrefix(op.Path, "tuesday/db") {
			return full(op)
		}
		return nil
	})
	if err := r.Backup(t.Context(), "tuesday"); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "remove tuesday") {
		t.Errorf("a backup without room: %v", err)
	}
	at := r.publish("c", p, "3")
	if err := r.Testify(); err != nil {
		t.Fatal(err)
	}
	left := crashable.CrashClone(vfs.CrashCloneCfg{})
	damaged := left.CrashClone(vfs.CrashCloneCfg{})
	r.stop()
	again := start(t, disk.Options{FS: left})
	if res := again.since("c", p, channel.Position{}); res.Top != at.Position || datas(res.Pubs) != "1 2 3" {
		t.Errorf("after a backup and a crash the channel is at %v with %q", res.Top, datas(res.Pubs))
	}
	again.stop()
	for _, name := range files(t, damaged, "data/db", ".log") {
		if err := damaged.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, disk.Options{FS: damaged}, "missing", "backup")
}

// kinds are channels of every kind of epoch: written down, marked, in a state
// channel, and derived.
func kinds() map[string]*channel.Policy {
	return map[string]*channel.Policy{
		"c": logPolicy(channel.DurabilitySync, 100), "a": logPolicy(channel.DurabilityAsync, 100),
		"s": statePolicy(channel.DurabilitySync, 100), "unused": logPolicy(channel.DurabilitySync, 100),
	}
}

// positions returns where channels of all kinds are.
func positions(r *rig) map[string]channel.Position {
	r.tb.Helper()
	all := make(map[string]channel.Position)
	for name, p := range kinds() {
		all[name] = r.since(name, p, channel.Position{}).Top
	}
	return all
}

// otherEpochs fails unless all channels are at the same offsets in other
// epochs.
func otherEpochs(tb testing.TB, what string, got, than map[string]channel.Position) {
	tb.Helper()
	for name, at := range than {
		if got[name].Epoch == at.Epoch || got[name].Offset != at.Offset {
			tb.Errorf("%s: %s is at %v, was at %v", what, name, got[name], at)
		}
	}
}

// backedUp makes a directory with a bit of everything and a backup of it.
func backedUp(tb testing.TB, fs vfs.FS) map[string]channel.Position {
	tb.Helper()
	r := start(tb, disk.Options{FS: fs})
	for n := range 20 {
		r.publish("c", kinds()["c"], fmt.Sprint(n))
		r.publish("a", kinds()["a"], fmt.Sprint(n))
		r.put("s", kinds()["s"], fmt.Sprint(n%3), fmt.Sprint(n))
	}
	at := positions(r)
	if err := r.Backup(tb.Context(), "copy"); err != nil {
		tb.Fatal(err)
	}
	r.stop()
	return at
}

// TestBackupsOpenApart holds that copies of one backup are apart from each
// other, from the original and from a backup of their own, and that each stays
// with its epochs, while the original goes on.
func TestBackupsOpenApart(t *testing.T) {
	fs := vfs.NewMem()
	was := backedUp(t, fs)
	twin := vfs.NewMem()
	if _, err := vfs.Clone(fs, twin, "copy", "copy"); err != nil {
		t.Fatal(err)
	}
	first := start(t, disk.Options{FS: fs, Path: "copy"})
	mine := positions(first)
	otherEpochs(t, "a backup", mine, was)
	first.publish("c", kinds()["c"], "mine")
	if err := first.Backup(t.Context(), "copy-of-copy"); err != nil {
		t.Fatal(err)
	}
	mine = positions(first)
	first.stop()

	second := start(t, disk.Options{FS: twin, Path: "copy"})
	otherEpochs(t, "another copy", positions(second), was)
	second.publish("c", kinds()["c"], "yours")
	otherEpochs(t, "another copy", positions(second), mine)
	second.stop()

	third := start(t, disk.Options{FS: fs, Path: "copy-of-copy"})
	otherEpochs(t, "a backup of a backup", positions(third), mine)
	third.stop()

	again := start(t, disk.Options{FS: fs, Path: "copy"})
	if now := positions(again); !maps.Equal(now, mine) {
		t.Errorf("opened again a backup is at %v, was at %v", now, mine)
	}
	again.stop()
	original := start(t, disk.Options{FS: fs})
	if now := positions(original); !maps.Equal(now, was) {
		t.Errorf("after its backup was opened the original is at %v, was at %v", now, was)
	}
	original.stop()
}

// TestCrashWhileABackupOpens cuts the power before every change that the first
// opening of a backup makes to the disk: no epoch of the original ever comes
// back, and one that was seen once stays.
func TestCrashWhileABackupOpens(t *testing.T) {
	base := vfs.NewCrashableMem()
	was := backedUp(t, base)
	random := rand.New(rand.NewPCG(1, 2))
	fs := newFailingFS(base)
	var mu sync.Mutex
	var left []*vfs.MemFS
	fs.begin(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			left = append(left, base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * random.IntN(2), RNG: random}))
		}
		return nil
	})
	r := start(t, disk.Options{FS: fs, Path: "copy"})
	mine := positions(r)
	fs.end()
	after := base.CrashClone(vfs.CrashCloneCfg{})
	r.stop()
	otherEpochs(t, "a backup", mine, was)
	if len(left) < 10 {
		t.Errorf("opening a backup made %d changes only: the test did not test", len(left))
	}
	for i, crashed := range left {
		once := start(t, disk.Options{FS: crashed, Path: "copy"})
		at := positions(once)
		otherEpochs(t, fmt.Sprintf("after a crash before change %d", i), at, was)
		seen := crashed.CrashClone(vfs.CrashCloneCfg{})
		once.stop()
		twice := start(t, disk.Options{FS: seen, Path: "copy"})
		if now := positions(twice); !maps.Equal(now, at) {
			t.Errorf("after a crash before change %d and another one a backup is at %v, was at %v", i, now, at)
		}
		twice.stop()
	}
	again := start(t, disk.Options{FS: after, Path: "copy"})
	if now := positions(again); !maps.Equal(now, mine) {
		t.Errorf("after a crash a backup is at %v, was seen at %v", now, mine)
	}
	again.stop()
}

// TestUnfinishedBackup cuts the power at every change that a backup makes: it
// is whole then, or refused with words.
func TestUnfinishedBackup(t *testing.T) {
	base := vfs.NewCrashableMem()
	fs := newFailingFS(base)
	r := start(t, disk.Options{FS: fs})
	for n := range 20 {
		r.publish("c", kinds()["c"], fmt.Sprint(n))
	}
	random := rand.New(rand.NewPCG(3, 4))
	var left []*vfs.MemFS
	fs.begin(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "copy") {
			left = append(left, base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * random.IntN(2), RNG: random}))
		}
		return nil
	})
	if err := r.Backup(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	fs.end()
	left = append(left, base.CrashClone(vfs.CrashCloneCfg{}))
	r.stop()
	refusals := 0
	for i, crashed := range left {
		names, err := crashed.List("copy")
		if err != nil || len(names) == 0 {
			continue
		}
		e, err := disk.Open(disk.Options{FS: crashed, Path: "copy"})
		if err != nil {
			refusals++
			if !strings.Contains(err.Error(), "not finished; remove it") && !strings.Contains(err.Error(), "myelin.json") {
				t.Errorf("a backup that was cut off before change %d: %v", i, err)
			}
			continue
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		whole := start(t, disk.Options{FS: crashed, Path: "copy"})
		// Where there was no database yet, it is an empty directory like any other.
		if res := whole.since("c", kinds()["c"], channel.Position{}); len(res.Pubs) != 20 && slices.Contains(names, "db") {
			t.Errorf("a backup that was cut off before change %d of %d opens and holds %d publications", i, len(left), len(res.Pubs))
		}
		whole.stop()
	}
	if refusals < 5 {
		t.Errorf("%d of %d unfinished backups were refused only", refusals, len(left))
	}
}
