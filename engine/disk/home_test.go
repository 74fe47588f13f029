package disk_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

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

// TestNewerDatabase holds that a database that a later library has written is
// not taken for a damaged one.
func TestNewerDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	filled(t, dir, true)
	for _, name := range files(t, vfs.Default, filepath.Join(dir, "db"), "marker.format-version.") {
		if err := os.Rename(name, filepath.Join(dir, "db", "marker.format-version.000099.199")); err != nil {
			t.Fatal(err)
		}
	}
	was := tree(t, dir)
	refused(t, disk.Options{Path: dir}, "newer Myelin", "upgrade", "format 199")
	untouched(t, dir, was)
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
