package disk

import (
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// retryEvery is how long a write that found no room waits for its next try.
const retryEvery = 250 * time.Millisecond

// openTries is how often tables may fail to be written while the database
// opens, before it is given up.
const openTries = 3

// guard is a file system that stands between a database and the disk. The
// database cannot survive that a write of its log or its manifest fails, so
// it never hears of it: a write that finds no room waits for room, and one
// that fails otherwise waits for ever, as nobody can tell how much of it was
// done. Publishers are told by health meanwhile.
//
// A table that cannot be written is another matter: the database tries again
// by itself.
//
// A guard that was abandoned lets nothing through any more, so that another
// database can take over the directory.
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
	// stuck hears of a database that cannot open and does not say so.
	stuck chan error
	mu    struct {
		sync.Mutex
		// changes is how many changes to the disk are under way.
		changes int
		// failures counts the tables that were not written while it opens.
		failures int
		// broken is why the database cannot go on.
		broken error
		left   bool
	}
	// copies counts the backups that are being made.
	copies sync.WaitGroup
	// left is closed when the guard is abandoned, and quiet when nothing that
	// came before is under way any more.
	left, quiet chan struct{}
}

func newGuard(fs vfs.FS, h *health, w *witness, dir string) *guard {
	return &guard{
		FS: fs, health: h, witness: w, dir: dir,
		stuck: make(chan error, 1), left: make(chan struct{}), quiet: make(chan struct{}),
	}
}

// park never returns: a goroutine of the database has nowhere to go.
func park() { select {} }

// enter begins a change to the disk, and never returns where the guard was
// abandoned.
func (g *guard) enter() {
	g.mu.Lock()
	if g.mu.left {
		g.mu.Unlock()
		park()
	}
	g.mu.changes++
	g.mu.Unlock()
}

// exit ends a change to the disk, and notes what it says about the disk.
func (g *guard) exit(condition condition, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.noteLocked(condition, err)
	}
	g.mu.changes--
	if g.mu.left && g.mu.changes == 0 {
		close(g.quiet)
	}
}

// abandon lets nothing through any more. quiet is closed when that is so.
func (g *guard) abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.left {
		return
	}
	g.mu.left = true
	close(g.left)
	if g.mu.changes == 0 {
		close(g.quiet)
	}
}

func (g *guard) noteLocked(to condition, cause error) {
	if to == conditionFailed && g.mu.broken == nil {
		g.mu.broken = cause
	}
	g.health.worsen(to, cause)
}

// worsen and improve tell health what the database says of the disk, unless
// it was abandoned.
func (g *guard) worsen(to condition, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.left {
		g.noteLocked(to, cause)
	}
}

// broken returns why the database cannot go on, nil where it can.
func (g *guard) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.broken
}

func (g *guard) improve(from condition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.left {
		g.health.improve(from)
	}
}

// pause lets some time pass before another try. It never returns once there
// is nobody to try for.
func (g *guard) pause() {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.left:
		park()
	}
}

// falter makes a database that opens wait before it tries again to write a
// table, and says so where it has tried often enough.
func (g *guard) falter(err error) {
	g.mu.Lock()
	g.mu.failures++
	enough := g.mu.failures >= openTries
	g.mu.Unlock()
	if enough {
		g.giveUp(err)
	}
	g.pause()
}

// giveUp says that a database cannot open.
func (g *guard) giveUp(err error) {
	select {
	case g.stuck <- err:
	default:
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
		g.enter()
		err := do()
		switch {
		case err == nil:
			g.exit(conditionGood, nil)
			if held {
				g.improve(conditionFull)
			}
			return nil
		case !g.ours(name):
			g.exit(conditionGood, nil)
			return err
		case !g.armed.Load():
			g.exit(conditionGood, nil)
			if !patient(name) {
				g.falter(err)
			}
			return err
		case !patient(name):
			g.exit(conditionGood, nil)
			// The database tries again at once, so this takes its time.
			g.pause()
			return err
		case !isFull(err):
			g.exit(conditionFailed, err)
			park()
		}
		held = true
		g.exit(conditionFull, err)
		g.pause()
	}
}

// change does a thing that is not tried again.
func (g *guard) change(do func() error) error {
	g.enter()
	defer g.exit(conditionGood, nil)
	return do()
}

// Lock has nothing to do: the whole directory is locked.
func (g *guard) Lock(string) (io.Closer, error) { return unlocked{}, nil }

type unlocked struct{}

func (unlocked) Close() error { return nil }

// Open opens a file for reading.
func (g *guard) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	g.mu.Lock()
	left := g.mu.left
	g.mu.Unlock()
	if left {
		park()
	}
	return g.FS.Open(name, o...)
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
	return &guardedDir{File: f, guard: g}, nil
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
	return g.change(func() error { return g.FS.Remove(name) })
}

// RemoveAll removes a directory.
func (g *guard) RemoveAll(name string) error {
	return g.change(func() error { return g.FS.RemoveAll(name) })
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
	switch {
	case err == nil && ours:
		f.guard.witness.wrote(f.name, sum, done)
	case err != nil && patient(f.name):
		// Whoever waits for the log may never hear of it.
		f.guard.giveUp(err)
	}
	return done, err
}

// WriteAt writes at a place.
func (f *guarded) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.guard.change(func() error {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

// Preallocate is an optimization, so its failures are none.
func (f *guarded) Preallocate(offset, length int64) error {
	err := f.guard.change(func() error { return f.File.Preallocate(offset, length) })
	if !f.guard.armed.Load() {
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
	g := f.guard
	g.enter()
	err := do()
	switch {
	case err == nil:
		g.exit(conditionGood, nil)
		return nil
	case g.armed.Load() && patient(f.name):
		g.exit(conditionFailed, err)
		park()
	}
	g.exit(conditionGood, nil)
	switch {
	case g.armed.Load():
		g.pause()
	case patient(f.name):
		g.giveUp(err)
	default:
		g.falter(err)
	}
	return err
}

// guardedDir is a directory of a guard.
type guardedDir struct {
	vfs.File
	guard *guard
}

// Sync makes the names in the directory durable.
func (d *guardedDir) Sync() error {
	return d.guard.change(func() error { return d.guard.witness.anchor(d.File.Sync) })
}
