package disk_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// tree returns the contents of all files of a directory.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "LOCK" {
			all[path] = string(readAll(tb, path))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// untouched fails unless a directory is as it was.
func untouched(tb testing.TB, dir string, was map[string]string) {
	tb.Helper()
	if now := tree(tb, dir); !maps.Equal(now, was) {
		tb.Errorf("a directory that was refused has changed: %q, was %q", slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(was)))
	}
}

// filled makes a directory with something in it and returns where its log
// channel is.
func filled(tb testing.TB, dir string, clean bool) channel.Position {
	tb.Helper()
	r := start(tb, disk.Options{Path: dir})
	p := logPolicy(channel.DurabilitySync, 1000)
	var at channel.Position
	for n := range 200 {
		at = r.publish("c", p, fmt.Sprint(n)).Position
	}
	r.put("s", statePolicy(channel.DurabilitySync, 10), "k", "v")
	if clean {
		r.stop()
		return at
	}
	// What a kill leaves: a copy that nobody has closed.
	if err := r.Testify(); err != nil {
		tb.Fatal(err)
	}
	copyDir(tb, dir, dir+".killed")
	r.stop()
	return at
}

func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, filepath.Join(dir, "precious.txt"), []byte("mine"))
	was := tree(t, dir)
	refused(t, disk.Options{Path: dir}, "precious.txt", "not Myelin's", "choose an empty one")
	untouched(t, dir, was)
	if len(files(t, vfs.Default, dir, "LOCK")) > 0 {
		t.Error("a foreign directory was locked")
	}

	database := t.TempDir()
	db, err := pebble.Open(database, &pebble.Options{Logger: nil})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	was = tree(t, database)
	refused(t, disk.Options{Path: database}, "not Myelin's")
	untouched(t, database, was)

	file := filepath.Join(t.TempDir(), "file")
	writeAll(t, file, []byte("x"))
	refused(t, disk.Options{Path: file}, file)
	if _, err := disk.Open(disk.Options{}); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("Open without a path: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	filled(t, dir, true)
	if err := disk.SetFormat(vfs.Default, dir, disk.FormatVersion+1); err != nil {
		t.Fatal(err)
	}
	was := tree(t, dir)
	refused(t, disk.Options{Path: dir}, "newer Myelin", "upgrade")
	untouched(t, dir, was)
	if err := disk.SetFormat(vfs.Default, dir, disk.FormatVersion); err != nil {
		t.Fatal(err)
	}
	e, err := disk.Open(disk.Options{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.SetDatabaseFormat(disk.FormatVersion+1), e.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	refused(t, disk.Options{Path: dir}, "newer Myelin", "upgrade")
}

func TestMigration(t *testing.T) {
	e, err := disk.Open(disk.Options{Path: "data", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	add := func(key string) func(*pebble.DB, *pebble.Batch) error {
		return func(_ *pebble.DB, b *pebble.Batch) error { return b.Set([]byte(key), nil, nil) }
	}
	const a, b = "\x01a", "\x02b"
	failing := map[uint64]func(*pebble.DB, *pebble.Batch) error{
		1: add(a),
		2: func(_ *pebble.DB, batch *pebble.Batch) error {
			return errors.Join(batch.Set([]byte(b), nil, nil), os.ErrInvalid)
		},
	}
	format, err := e.Migrate(1, 3, failing)
	if format != 2 || !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "from format 2 to 3") {
		t.Errorf("a migration that fails in its second step came to format %d, %v", format, err)
	}
	first, _, err1 := e.Keys(a[0])
	second, _, err2 := e.Keys(b[0])
	if first != 1 || second != 0 || errors.Join(err1, err2) != nil {
		t.Errorf("a step that was done has left %d keys, one that failed %d", first, second)
	}
	if format, err := e.Migrate(2, 3, map[uint64]func(*pebble.DB, *pebble.Batch) error{2: add(b)}); format != 3 || err != nil {
		t.Errorf("a migration came to format %d, %v", format, err)
	}
	if _, err := e.Migrate(1, 3, nil); err == nil || !strings.Contains(err.Error(), "older one first") {
		t.Errorf("a format that is not known any more: %v", err)
	}
	if _, err := e.Migrate(4, 3, nil); err == nil || !strings.Contains(err.Error(), "newer Myelin") {
		t.Errorf("a newer format: %v", err)
	}
	if err := e.SetDatabaseFormat(disk.FormatVersion); err != nil {
		t.Error(err)
	}
}

func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, disk.Options{Path: dir})
	refused(t, disk.Options{Path: dir}, "in use", "stop that one")
	r.publish("c", logPolicy(channel.DurabilitySync, 10), "still works")
	r.stop()
	start(t, disk.Options{Path: dir}).stop()
}

func TestLostDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	filled(t, dir, true)
	if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
		t.Fatal(err)
	}
	refused(t, disk.Options{Path: dir}, "missing", "backup")
	refused(t, disk.Options{Path: dir}, "missing", "backup")

	for _, text := range []string{"", "{", `{"product":"other"}`, `{"product":"myelin engine/disk","format":1,"state":"odd"}`} {
		dir := filepath.Join(t.TempDir(), "data")
		filled(t, dir, true)
		writeAll(t, filepath.Join(dir, "myelin.json"), []byte(text))
		was := tree(t, dir)
		refused(t, disk.Options{Path: dir}, "damaged myelin.json", "backup")
		untouched(t, dir, was)
	}
}

// whole reports whether the channel of filled is there as it was.
func whole(e *rig, at channel.Position) (bool, error) {
	p := logPolicy(channel.DurabilitySync, 1000)
	res, err := e.Read(context.Background(), &channel.ReadRequest{Channel: "c", Policy: p, Limit: -1})
	if err != nil {
		return false, err
	}
	page, err := e.Snapshot(context.Background(), &channel.SnapshotRequest{Channel: "s", Policy: statePolicy(channel.DurabilitySync, 10)})
	if err != nil {
		return false, err
	}
	return res.Top == at && res.Complete && len(res.Pubs) == 200 && len(page.Items) == 1 && string(page.Items[0].Data) == "v", nil
}

// TestDamage cuts off and changes files of the database, after a clean stop
// and after a kill. Whatever is not as it was is refused by Open, or is an
// error of the call that comes upon it: it never is a shorter answer.
func TestDamage(t *testing.T) {
	for _, clean := range []bool{true, false} {
		home := filepath.Join(t.TempDir(), "data")
		at := filled(t, home, clean)
		if !clean {
			home += ".killed"
		}
		noticed := 0
		for _, name := range files(t, vfs.Default, filepath.Join(home, "db"), "") {
			was := readAll(t, name)
			base := filepath.Base(name)
			if base == "LOCK" {
				continue
			}
			damages := map[string][]byte{"gone": nil}
			if n := len(was); n > 0 {
				damages["half"] = was[:n/2]
				damages["short"] = was[:n-1]
				for _, i := range []int{0, n / 3, n / 2, n - 1} {
					flipped := slices.Clone(was)
					flipped[i] ^= 0x10
					damages[fmt.Sprintf("bit at %d", i)] = flipped
				}
			}
			for what, b := range damages {
				dir := filepath.Join(t.TempDir(), "data")
				copyDir(t, home, dir)
				victim := filepath.Join(dir, "db", base)
				if b == nil {
					if err := os.Remove(victim); err != nil {
						t.Fatal(err)
					}
				} else {
					writeAll(t, victim, b)
				}
				if silent(t, dir, at, fmt.Sprintf("clean %v, %s, %s", clean, base, what)) {
					continue
				}
				noticed++
			}
		}
		if noticed < 5 {
			t.Errorf("clean %v: only %d damages were noticed", clean, noticed)
		}
	}
}

// silent opens a damaged directory and reports whether nobody noticed, which
// is well only where everything is there.
func silent(t *testing.T, dir string, at channel.Position, what string) bool {
	t.Helper()
	e, err := disk.Open(disk.Options{Path: dir})
	if err != nil {
		if !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: refused without saying what to do: %v", what, err)
		}
		return false
	}
	r := &rig{Engine: e, tb: t}
	r.mu.got = make(map[string][]*channel.Publication)
	if err := e.Start(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	good, err := whole(r, at)
	if err == nil && !good {
		t.Errorf("%s: something is gone, and nobody noticed", what)
	}
	if closing := r.Close(context.Background()); closing != nil && err == nil {
		t.Errorf("%s: Close: %v", what, closing)
	}
	return err == nil
}

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
		for name, told := range before {
			found := make(map[string]bool)
			for _, pub := range b.since(name, stage()[name], channel.Position{}).Pubs {
				found[string(pub.Data)] = true
			}
			for _, data := range told {
				if !found[data] {
					t.Errorf("%s: %q was acknowledged before the backup and is not in it", name, data)
				}
			}
		}
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
