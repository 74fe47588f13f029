package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
)

const (
	// formatVersion is how what is kept is written. An engine reads this one
	// and those before it.
	formatVersion = 1
	// identityFile says whose directory it is, and in which format.
	identityFile = "myelin.json"
	// databaseDir is where the database lives.
	databaseDir = "db"
	// product is what the identity names.
	product = "myelin engine/disk"
)

// The states of a directory.
const (
	// stateNew: the database may not be there yet.
	stateNew = "new"
	// stateReady: the database is there; if not, it was lost.
	stateReady = "ready"
	// stateUnfinished: Backup has begun to make a copy here.
	stateUnfinished = "unfinished backup"
	// stateBackup: a copy that was made by Backup. Opening it is a return to
	// an earlier time, so all epochs change.
	stateBackup = "backup"
)

// identity is what is in the identity file.
type identity struct {
	Product string    `json:"product"`
	Format  uint64    `json:"format"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
}

// step takes a database from one format to the next. It adds to a batch that is
// committed with the new format's number, so one that is interrupted begins
// anew.
type step = func(db *pebble.DB, batch *pebble.Batch) error

// formats are the formats that an engine knows: the one it writes, and the
// steps that lead there, each at the place of the format it begins with.
type formats struct {
	current uint64
	steps   map[uint64]step
}

func knownFormats() formats { return formats{current: formatVersion} }

// home is a directory that is ours.
type home struct {
	fs       vfs.FS
	path     string
	lock     *pebble.Lock
	identity identity
	witness  *witness
	formats  formats
}

// wrong returns an error about the directory.
func wrong(path, what string, err error) error {
	return channel.ErrUnavailable.With(fmt.Sprintf("the data directory %s %s", path, what)).Wrap(err)
}

// enterHome finds out whose directory it is and locks it. Nothing is written
// to one that is not ours.
func enterHome(o Options, known formats) (*home, error) {
	if o.Path == "" {
		return nil, channel.ErrBadRequest.With("the disk engine needs a data directory")
	}
	h := &home{fs: o.FS, path: o.Path, formats: known}
	if err := h.look(); err != nil {
		return nil, err
	}
	if err := h.fs.MkdirAll(h.path, 0o750); err != nil {
		return nil, wrong(h.path, "cannot be made; make it, and let this process write to it", err)
	}
	lock, err := pebble.LockDirectory(h.path, h.fs)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, wrong(h.path, "cannot be written; let this process write to it", err)
		}
		return nil, wrong(h.path, "is in use by another process; stop that one, or give each its own", err)
	}
	h.lock = lock
	// Somebody may have been in there between the look and the lock.
	if err := h.look(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if h.identity.Product == "" {
		h.identity = identity{Product: product, Format: known.current, State: stateNew, Created: time.Now().UTC()}
		if err := writeIdentity(h.fs, h.path, h.identity); err != nil {
			return nil, errors.Join(wrong(h.path, "cannot be written", err), lock.Close())
		}
	}
	h.witness = newWitness(h.fs, h.path)
	return h, nil
}

// look reads the identity, if there is one, and refuses a directory that
// another program or a newer Myelin has made.
func (h *home) look() error {
	names, err := h.fs.List(h.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrong(h.path, "cannot be read", err)
	}
	found, foreign := false, ""
	for _, name := range names {
		switch name {
		case identityFile:
			found = true
		case "LOCK", "lost+found", identityFile + ".new", witnessFile:
		default:
			foreign = name
		}
	}
	if !found {
		if foreign != "" {
			return wrong(h.path, fmt.Sprintf("holds %q and is not Myelin's; choose an empty one", foreign), nil)
		}
		return nil
	}
	return h.readIdentity()
}

// newer returns what to say of a format that is not known yet.
func (h *home) newer(format uint64) error {
	return wrong(h.path, fmt.Sprintf("is of format %d, written by a newer Myelin; this one knows formats up to %d: upgrade it, or open a backup",
		format, h.formats.current), nil)
}

func (h *home) readIdentity() error {
	text, err := readFile(h.fs, h.fs.PathJoin(h.path, identityFile))
	if err != nil {
		return wrong(h.path, "cannot be read", err)
	}
	var id identity
	if err := json.Unmarshal(text, &id); err != nil || id.Product != product || id.Format == 0 {
		return wrong(h.path, "has a damaged "+identityFile+"; restore it from a backup", err)
	}
	if id.Format > h.formats.current {
		return h.newer(id.Format)
	}
	switch id.State {
	case stateNew, stateReady, stateBackup:
	case stateUnfinished:
		return wrong(h.path, "is a backup that was not finished; remove it, and make another one", nil)
	default:
		return wrong(h.path, "has a damaged "+identityFile+"; restore it from a backup", nil)
	}
	h.identity = id
	return nil
}

// openStore opens the database and finds out how it was left.
func (h *home) openStore(o Options, g *guard) (*store, error) {
	s, err := h.openDatabase(o, g)
	if err != nil {
		return nil, err
	}
	err = s.bumpUnflushed(o.Logger)
	if err == nil {
		err = s.findDue()
	}
	if err != nil {
		return nil, errors.Join(h.damaged(err), s.db.Close())
	}
	return s, nil
}

// openDatabase opens the database, or makes it, and brings it up to date.
func (h *home) openDatabase(o Options, g *guard) (*store, error) {
	dir := h.fs.PathJoin(h.path, databaseDir)
	if err := h.knowsDatabase(dir); err != nil {
		return nil, err
	}
	if err := h.hear(dir); err != nil {
		return nil, h.damaged(err)
	}
	options := databaseOptions(o, g, logger{o.Logger, g})
	options.ErrorIfNotExists = h.identity.State != stateNew
	options.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { o.Logger.Error("the database failed in the background; it tries again", "err", err) },
		FlushEnd: func(i pebble.FlushInfo) {
			// A flush that finds nothing worth a table says so as an error.
			if i.Err != nil && !strings.Contains(i.Err.Error(), "empty table") {
				g.worsen(conditionFailing, i.Err)
			} else {
				g.improve(conditionFailing)
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			o.Logger.Error("a table is damaged", "path", i.Path, "err", i.Details)
		},
	}
	db, err := pebble.Open(dir, options)
	if err != nil {
		return nil, h.damaged(err)
	}
	s := &store{db: db, durable: true}
	if err := h.settle(s); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// formatMarker is what the name of the file begins with that says how the
// database itself is written. A serial number and the format follow.
const formatMarker = "marker.format-version."

// knowsDatabase refuses a database that is written in a way of later versions
// of the library. Whatever else is wrong with it comes out when it is opened.
func (h *home) knowsDatabase(dir string) error {
	names, err := h.fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return h.damaged(err)
	}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, formatMarker)
		_, format, cut := strings.Cut(rest, ".")
		if n, err := strconv.ParseUint(format, 10, 32); ok && cut && err == nil && pebble.FormatMajorVersion(n) > pebble.FormatNewest {
			return wrong(h.path, fmt.Sprintf("holds a database of format %d, written by a newer Myelin; this one knows formats up to %d: upgrade it, or open a backup",
				n, pebble.FormatNewest), nil)
		}
	}
	return nil
}

// hear holds the database against what the witness says.
func (h *home) hear(dir string) error {
	last, err := h.witness.recall()
	switch {
	case err != nil || h.identity.State == stateNew:
		return err
	case len(last.Files) > 0:
		return last.verify(h.fs, dir)
	case h.identity.State == stateBackup:
		return fmt.Errorf("%s is missing or damaged", witnessFile)
	default:
		return nil
	}
}

// settle migrates the database, gives one that was restored a new birth, and
// notes that it is there. The birth is on disk before the note that it need
// not be done again, and nobody has seen the database before both are.
func (h *home) settle(s *store) error {
	if err := h.migrate(s); err != nil {
		return err
	}
	if h.identity.State == stateBackup {
		birth := binary.BigEndian.AppendUint64(nil, rand.Uint64()|1)
		if err := s.db.Set(headerKey(headerRebirth), birth, pebble.Sync); err != nil {
			return h.damaged(err)
		}
	}
	if err := s.load(h.formats.current); err != nil {
		return h.damaged(err)
	}
	if h.identity.State == stateReady && h.identity.Format == h.formats.current {
		return nil
	}
	h.identity.State, h.identity.Format = stateReady, h.formats.current
	if err := writeIdentity(h.fs, h.path, h.identity); err != nil {
		return wrong(h.path, "cannot be written", err)
	}
	return nil
}

// migrate brings an older database up to date, one format after the other.
func (h *home) migrate(s *store) error {
	to, steps := h.formats.current, h.formats.steps
	format, err := s.header(headerFormat)
	if err != nil {
		return h.damaged(err)
	}
	if format == 0 {
		if h.identity.State != stateNew {
			return h.damaged(errors.New("it has no format"))
		}
		return nil
	}
	for ; format < to; format++ {
		step := steps[format]
		if step == nil {
			return wrong(h.path, fmt.Sprintf("is of format %d, which this Myelin does not know any more; open it with an older one first", format), nil)
		}
		batch := s.db.NewBatch()
		if err := step(s.db, batch); err != nil {
			return errors.Join(wrong(h.path, fmt.Sprintf("could not be brought from format %d to %d", format, format+1), err), batch.Close())
		}
		setHeader(batch, headerFormat, format+1)
		if err := batch.Commit(pebble.Sync); err != nil {
			return h.damaged(err)
		}
		if err := batch.Close(); err != nil {
			return h.damaged(err)
		}
	}
	if format > to {
		return h.newer(format)
	}
	return nil
}

// damaged returns what to say of a database that does not open.
func (h *home) damaged(err error) error {
	if err == nil {
		return nil
	}
	if told, ok := errors.AsType[*channel.Error](err); ok {
		return told
	}
	switch {
	case isFull(err):
		return wrong(h.path, "is on a full disk; make room", err)
	case errors.Is(err, os.ErrPermission):
		return wrong(h.path, "cannot be written; let this process write to it", err)
	}
	return wrong(h.path, "cannot be opened: a file in it is damaged or missing; restore it from a backup, and keep this one for its remains", err)
}

// writeIdentity writes the identity file so that it is there whole or not.
func writeIdentity(fs vfs.FS, path string, id identity) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	name := fs.PathJoin(path, identityFile)
	f, err := fs.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(name+".new", name); err != nil {
		return err
	}
	// The directory's own name must be as safe as what is in it.
	for _, dir := range []string{path, fs.PathDir(path)} {
		d, err := fs.OpenDir(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// identityMax is more than an identity file has.
const identityMax = 1 << 16

func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, identityMax))
	return text, errors.Join(err, f.Close())
}
