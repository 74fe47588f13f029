package disk

import (
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// retryEvery is how long a write that found no room waits for its next try.
const retryEvery = 250 * time.Millisecond

// guard is a file system that stands between the database and the disk. The
// database cannot survive that a write of its log or its manifest fails, so
// it never hears of it: a write that finds no room waits for room, and one
// that fails otherwise waits for ever, as nobody can tell how much of it was
// done. Publishers are told by health meanwhile.
//
// A table that cannot be written is another matter: the database tries again
// by itself.
type guard struct {
	vfs.FS
	health  *health
	witness *witness
	// dir is where the database lives. What is written elsewhere, which is
	// backups, is none of the guard's.
	dir string
	// armed is unset while the database opens, whose errors are told as they
	// are.
	armed atomic.Bool
	// left is closed when the database is left as it is.
	left chan struct{}
}

// pause lets some time pass before another try. It never returns once there
// is nobody to try for.
func (g *guard) pause() {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.left:
		select {}
	}
}

// patient reports whether writes of a file have to wait rather than fail.
func patient(name string) bool {
	return !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob")
}

// ours reports whether a file belongs to the database.
func (g *guard) ours(name string) bool {
	return g.FS.PathDir(name) == g.dir || name == g.dir
}

// try does a thing to a file until it need not be done again.
func (g *guard) try(name string, do func() error) error {
	held := false
	for {
		err := do()
		if err == nil {
			if held {
				g.health.improve(conditionFull)
			}
			return nil
		}
		if !g.armed.Load() || !g.ours(name) {
			return err
		}
		if !patient(name) {
			// The database tries again at once, so this takes its time.
			g.pause()
			return err
		}
		if !isFull(err) {
			g.fail(err)
		}
		held = true
		g.health.worsen(conditionFull, err)
		g.pause()
	}
}

// fail never returns.
func (g *guard) fail(err error) {
	g.health.worsen(conditionFailed, err)
	select {}
}

func (g *guard) file(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := g.try(name, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if !g.ours(name) {
		return f, nil
	}
	return &guarded{File: f, guard: g, name: name}, nil
}

// Create creates a file.
func (g *guard) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if g.ours(name) {
		g.witness.begin(name)
	}
	return g.file(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

// OpenReadWrite opens a file for reading and writing.
func (g *guard) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.file(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

// OpenDir opens a directory for syncing.
func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.file(name, func() (vfs.File, error) { return g.FS.OpenDir(name) })
	if err != nil {
		return nil, err
	}
	if !g.ours(name) {
		return f, nil
	}
	return &guardedDir{File: f, witness: g.witness}, nil
}

// ReuseForWrite gives an old file a new name and opens it. A second try finds
// the name already given.
func (g *guard) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	g.witness.end(old)
	g.witness.begin(name)
	return g.file(name, func() (vfs.File, error) {
		f, err := g.FS.ReuseForWrite(old, name, c)
		if err == nil {
			return f, nil
		}
		if _, gone := g.FS.Stat(old); gone != nil {
			if again, err := g.FS.OpenReadWrite(name, c); err == nil {
				return again, nil
			}
		}
		return nil, err
	})
}

// Remove removes a file.
func (g *guard) Remove(name string) error {
	if g.ours(name) {
		g.witness.end(name)
	}
	return g.FS.Remove(name)
}

// Link makes a hard link.
func (g *guard) Link(old, name string) error {
	return g.try(name, func() error { return g.FS.Link(old, name) })
}

// Rename renames a file.
func (g *guard) Rename(old, name string) error {
	return g.try(name, func() error { return g.FS.Rename(old, name) })
}

// MkdirAll makes directories.
func (g *guard) MkdirAll(dir string, perm os.FileMode) error {
	return g.try(dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

// Unwrap returns the file system below.
func (g *guard) Unwrap() vfs.FS { return g.FS }

// guarded is a file of a guard.
type guarded struct {
	vfs.File
	guard *guard
	name  string
}

// Write writes all of p.
func (f *guarded) Write(p []byte) (int, error) {
	done := 0
	// Whoever writes may change p.
	sum, ours := f.guard.witness.sumOf(f.name, p)
	err := f.guard.try(f.name, func() error {
		n, err := f.File.Write(p[done:])
		done += n
		if err == nil && done < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err == nil && ours {
		f.guard.witness.wrote(f.name, sum, done)
	}
	return done, err
}

// Preallocate is an optimization, so its failures are none.
func (f *guarded) Preallocate(offset, length int64) error {
	if err := f.File.Preallocate(offset, length); err != nil && !f.guard.armed.Load() {
		return err
	}
	return nil
}

// Sync makes the file durable. After a failure nobody can say what is on disk,
// and a second try would lie.
func (f *guarded) Sync() error { return f.whole(f.sync(f.File.Sync)) }

// SyncData makes the data of the file durable.
func (f *guarded) SyncData() error { return f.whole(f.sync(f.File.SyncData)) }

// whole tells the witness of a file that is on disk whole.
func (f *guarded) whole(err error) error {
	if err == nil {
		f.guard.witness.synced(f.name)
	}
	return err
}

// SyncTo makes the front of the file durable.
func (f *guarded) SyncTo(length int64) (bool, error) {
	whole := false
	err := f.sync(func() (err error) {
		whole, err = f.File.SyncTo(length)
		return err
	})
	return whole, err
}

func (f *guarded) sync(do func() error) error {
	err := do()
	if err == nil || !f.guard.armed.Load() {
		return err
	}
	if patient(f.name) {
		f.guard.fail(err)
	}
	f.guard.pause()
	return err
}

// guardedDir is a directory of a guard.
type guardedDir struct {
	vfs.File
	witness *witness
}

// Sync makes the names in the directory durable.
func (d *guardedDir) Sync() error { return d.witness.anchor(d.File.Sync) }
