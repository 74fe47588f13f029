package disk

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
)

// Backup writes a consistent copy of the directory to dir, which must be empty
// or missing, while the engine runs. It holds everything that was acknowledged
// on disk when it was called. Tables are shared by hard links where dir is on
// the same file system, so a backup is safe only when it was copied to another
// disk.
//
// To restore it, open a copy of it, or itself. It says that it is a backup
// until it was opened: each copy then gets epochs of its own, as what came
// after it is not there, and they stay.
func (e *Engine) Backup(ctx context.Context, dir string) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.end()
	if err := e.health.err(); err != nil {
		return err
	}
	fs := e.options.FS
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return channel.ErrUnavailable.With("the directory " + dir + " cannot be read").Wrap(err)
	}
	if len(names) > 0 {
		return channel.ErrBadRequest.With("the directory " + dir + " is not empty; choose another one for the backup")
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return channel.ErrUnavailable.With("the directory " + dir + " cannot be made").Wrap(err)
	}
	if err := e.awaitCopy(fs, dir); err != nil {
		return channel.ErrUnavailable.With("the backup was not finished; remove " + dir).Wrap(err)
	}
	return nil
}

// awaitCopy makes the copy, or gives up where the disk does: then the
// goroutine that makes it may be in the middle of a write that never ends.
func (e *Engine) awaitCopy(fs vfs.FS, dir string) error {
	ill, guard, db := e.health.ill(), e.guard, e.disk.db
	done := make(chan error, 1)
	guard.copies.Go(func() { done <- copyTo(fs, dir, e.home.formats.current, db) })
	select {
	case err := <-done:
		return err
	case <-ill:
		return e.health.unknown()
	}
}

// copyTo makes the copy. It becomes a backup with its last step.
func copyTo(fs vfs.FS, dir string, format uint64, db *pebble.DB) error {
	id := identity{Product: product, Format: format, State: stateUnfinished, Created: time.Now().UTC()}
	if err := writeIdentity(fs, dir, id); err != nil {
		return err
	}
	if err := db.Checkpoint(fs.PathJoin(dir, databaseDir), pebble.WithFlushedWAL()); err != nil {
		return err
	}
	if err := testifyFor(fs, dir); err != nil {
		return err
	}
	id.State = stateBackup
	return writeIdentity(fs, dir, id)
}
