package disk_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

type steps = map[uint64]func(*pebble.DB, *pebble.Batch) error

// counted is a step that must be done once: it adds one to a number.
func counted(key string) func(*pebble.DB, *pebble.Batch) error {
	return func(db *pebble.DB, b *pebble.Batch) error {
		value, closer, err := db.Get([]byte(key))
		if errors.Is(err, pebble.ErrNotFound) {
			return b.Set([]byte(key), []byte{1}, nil)
		}
		if err != nil {
			return err
		}
		return errors.Join(b.Set([]byte(key), []byte{value[0] + 1}, nil), closer.Close())
	}
}

// later returns the steps of an engine two formats on.
func laterSteps() steps {
	return steps{disk.FormatVersion: counted("\x01a"), disk.FormatVersion + 1: counted("\x01b")}
}

// startAs starts an engine of another format.
func startAs(tb testing.TB, fs vfs.FS, format uint64, by steps) *rig {
	tb.Helper()
	e, err := disk.OpenAs(disk.Options{Path: "data", FS: fs}, format, by)
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{Engine: e, tb: tb}
	r.mu.got = make(map[string][]*channel.Publication)
	if err := e.Start(tb.Context(), r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// done fails unless each step was done once.
func (r *rig) done() {
	r.tb.Helper()
	for _, key := range []string{"\x01a", "\x01b"} {
		if value, err := r.Value(key); err != nil || len(value) != 1 || value[0] != 1 {
			r.tb.Errorf("step %q was done %v times, %v", key, value, err)
		}
	}
}

// older makes a directory of today's format and returns what is in it.
func older(tb testing.TB, fs vfs.FS) (map[string]channel.Position, map[string]string) {
	tb.Helper()
	r := start(tb, disk.Options{FS: fs})
	defer r.stop()
	for n := range 20 {
		r.publish("c", kinds()["c"], fmt.Sprint(n))
		r.publish("a", kinds()["a"], fmt.Sprint(n))
		r.put("s", kinds()["s"], fmt.Sprint(n%3), fmt.Sprint(n))
	}
	return positions(r), r.contents()
}

// TestMigration has an engine of a later format open a directory of today's:
// all is there, in the same epochs, each step was done once, and from then on
// today's engine refuses it.
func TestMigration(t *testing.T) {
	fs := vfs.NewMem()
	at, contents := older(t, fs)
	const to = disk.FormatVersion + 2
	for range 2 {
		r := startAs(t, fs, to, laterSteps())
		if now := positions(r); !maps.Equal(now, at) {
			t.Errorf("after a migration channels are at %v, were at %v", now, at)
		}
		if now := r.contents(); !maps.Equal(now, contents) {
			t.Errorf("after a migration there is %v, was %v", now, contents)
		}
		r.done()
		if err := r.Backup(t.Context(), "copy"); err != nil && !errors.Is(err, channel.ErrBadRequest) {
			t.Error(err)
		}
		r.stop()
	}
	refused(t, disk.Options{FS: fs}, "newer Myelin", "upgrade")
	refused(t, disk.Options{FS: fs, Path: "copy"}, "newer Myelin", "upgrade")
	if _, err := disk.OpenAs(disk.Options{Path: "data", FS: fs}, to+2, nil); err == nil || !strings.Contains(err.Error(), "older one first") {
		t.Errorf("a format that is not known any more: %v", err)
	}
	r := startAs(t, fs, to, nil)
	if now := positions(r); !maps.Equal(now, at) {
		t.Errorf("after two refusals channels are at %v, were at %v", now, at)
	}
	r.stop()
}

// TestMigrationFails holds that a step that fails is not done, that the ones
// before it stay, and that it goes on from there.
func TestMigrationFails(t *testing.T) {
	fs := vfs.NewMem()
	at, _ := older(t, fs)
	failing := laterSteps()
	second := failing[disk.FormatVersion+1]
	failing[disk.FormatVersion+1] = func(db *pebble.DB, b *pebble.Batch) error { return errors.Join(second(db, b), os.ErrInvalid) }
	for range 2 {
		_, err := disk.OpenAs(disk.Options{Path: "data", FS: fs}, disk.FormatVersion+2, failing)
		if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "from format 2 to 3") {
			t.Fatalf("a migration that fails in its second step: %v", err)
		}
	}
	r := startAs(t, fs, disk.FormatVersion+2, laterSteps())
	r.done()
	if now := positions(r); !maps.Equal(now, at) {
		t.Errorf("after a migration channels are at %v, were at %v", now, at)
	}
	r.stop()
}

// TestCrashWhileMigrating cuts the power before every change that a migration
// makes to the disk: each step is done once all the same.
func TestCrashWhileMigrating(t *testing.T) {
	base := vfs.NewCrashableMem()
	at, contents := older(t, base)
	fs := newFailingFS(base)
	random := rand.New(rand.NewPCG(5, 6))
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
	const to = disk.FormatVersion + 2
	e, err := disk.OpenAs(disk.Options{Path: "data", FS: fs}, to, laterSteps())
	if err != nil {
		t.Fatal(err)
	}
	fs.end()
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, crashed := range left {
		r := startAs(t, crashed, to, laterSteps())
		if now := positions(r); !maps.Equal(now, at) || !maps.Equal(r.contents(), contents) {
			t.Errorf("after a crash before change %d channels are at %v, were at %v", i, now, at)
		}
		r.done()
		r.stop()
	}
	if len(left) < 10 {
		t.Errorf("a migration made %d changes only: the test did not test", len(left))
	}
}

// TestFormats opens a directory of each format there ever was, as it was left
// by a kill. Where the format is new it makes one, to be kept.
func TestFormats(t *testing.T) {
	for format := 1; format <= disk.FormatVersion; format++ {
		golden := filepath.Join("testdata", fmt.Sprintf("format-%d", format))
		if _, err := os.Stat(golden); errors.Is(err, os.ErrNotExist) {
			makeGolden(t, golden)
			t.Errorf("made %s; look at it and keep it", golden)
		}
		dir := filepath.Join(t.TempDir(), "data")
		copyDir(t, golden, dir)
		r := start(t, disk.Options{Path: dir})
		want := string(readAll(t, golden+".txt"))
		if got := goldenText(r); got != want {
			t.Errorf("%s holds\n%s, want\n%s", golden, got, want)
		}
		r.stop()
	}
}

// goldenText shows what is in a directory. The async channel is busy in it.
func goldenText(r *rig) string {
	var all strings.Builder
	at, contents := positions(r), r.contents()
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		position := at[name]
		if name == "a" {
			position.Epoch = "(another)"
		}
		fmt.Fprintln(&all, name, position.Epoch, position.Offset, contents[name])
	}
	return all.String()
}

func makeGolden(t *testing.T, golden string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, disk.Options{Path: dir})
	fill := func(from, to int) {
		for n := from; n < to; n++ {
			r.send(channel.PublishRequest{
				Channel: "c", Policy: kinds()["c"], Data: fmt.Append(nil, n), ID: fmt.Sprint(n), ContentType: channel.ContentBytes,
				Tags: map[string]string{"n": fmt.Sprint(n)}, Info: &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte("{}")},
			})
			r.publish("a", kinds()["a"], fmt.Sprint(n))
			r.put("s", kinds()["s"], fmt.Sprint(n%3), fmt.Sprint(n))
		}
	}
	fill(0, 10)
	r.stop()
	r = start(t, disk.Options{Path: dir})
	fill(10, 20)
	if err := r.Testify(); err != nil {
		t.Fatal(err)
	}
	copyDir(t, dir, golden)
	writeAll(t, golden+".txt", []byte(goldenText(r)))
	r.stop()
}
