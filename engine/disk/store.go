package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// store is one database: that on disk, or the one in memory that holds what
// need not survive. Everything but the way of a commit is the same for both.
type store struct {
	db *pebble.DB
	// durable: commits go through the ledger. Otherwise they are done at once.
	durable bool
	secret  []byte
	rebirth uint64
	// season goes up whenever a channel is forgotten, so that no derived epoch
	// comes back.
	season atomic.Uint64
	// due is when the next entry ends, as far as is known, or never.
	due atomic.Int64
	// ids is how many message ids are remembered, counted in memory only.
	ids atomic.Int64
	// sweeping is held by whoever ends entries.
	sweeping sync.Mutex
	mu       struct {
		sync.Mutex
		// nextID is the next channel id, reserved up to limitID.
		nextID, limitID uint64
	}
}

// memoryTable is how much the store in memory gathers before it sorts it out.
const memoryTable = 16 << 20

// idBlock is how many channel ids are reserved at once.
const idBlock = 1024

// databaseFormat is how the database itself writes its files. There is no way
// back from a later one, so it is raised with formatVersion only.
const databaseFormat = pebble.FormatValueSeparation

func databaseOptions(o Options, fs vfs.FS, log pebble.Logger) *pebble.Options {
	options := &pebble.Options{
		FS:                          fs,
		Logger:                      log,
		FormatMajorVersion:          databaseFormat,
		MemTableSize:                uint64(o.MemtableBytes),
		MemTableStopWritesThreshold: 4,
		CacheSize:                   o.CacheBytes,
		MaxOpenFiles:                1000,
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return options
}

// openMemory returns a store that survives nothing.
func openMemory(o Options) (*store, error) {
	options := databaseOptions(o, vfs.NewMem(), quietLogger{})
	options.DisableWAL = true
	options.CacheSize = 1 << 20
	options.MemTableSize = memoryTable
	db, err := pebble.Open("memory", options)
	if err != nil {
		return nil, fmt.Errorf("open the store of what is kept in memory: %w", err)
	}
	s := &store{db: db}
	return s, s.load(formatVersion)
}

// load reads the header, or writes a first one of a format.
func (s *store) load(format uint64) error {
	s.due.Store(never)
	secret, err := s.get(headerKey(headerSecret))
	if err != nil {
		return err
	}
	if secret == nil {
		secret = make([]byte, 16)
		if _, err := rand.Read(secret); err != nil {
			return fmt.Errorf("draw a secret: %w", err)
		}
		b := s.db.NewBatch()
		setHeader(b, headerFormat, format)
		if err := errors.Join(b.Set(headerKey(headerSecret), secret, nil), b.Commit(s.written())); err != nil {
			return fmt.Errorf("write the first header: %w", err)
		}
	}
	s.secret = secret
	var season uint64
	for name, field := range map[string]*uint64{
		headerRebirth: &s.rebirth, headerSeason: &season, headerNextID: &s.mu.nextID,
	} {
		if *field, err = s.header(name); err != nil {
			return err
		}
	}
	s.season.Store(season)
	s.mu.nextID = max(s.mu.nextID, 1)
	s.mu.limitID = s.mu.nextID
	return nil
}

// written returns how a commit that nobody shares is done.
func (s *store) written() *pebble.WriteOptions {
	if s.durable {
		return pebble.Sync
	}
	return pebble.NoSync
}

// get returns a copy of a value, nil where there is none.
func (s *store) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value = append([]byte{}, value...)
	return value, closer.Close()
}

// header returns a number of the header, 0 where there is none.
func (s *store) header(name string) (uint64, error) {
	b, err := s.get(headerKey(name))
	if err != nil || b == nil {
		return 0, err
	}
	n, rest, ok := splitNumber(b)
	if !ok || len(rest) > 0 {
		return 0, fmt.Errorf("the header %q: %w", name, errDamaged)
	}
	return n, nil
}

func setHeader(b *pebble.Batch, name string, value uint64) {
	set(b, headerKey(name), binary.BigEndian.AppendUint64(nil, value))
}

// set, del and delRange add to a batch that is not yet committed, which
// cannot fail.
func set(b *pebble.Batch, key, value []byte)    { _ = b.Set(key, value, nil) }
func del(b *pebble.Batch, key []byte)           { _ = b.Delete(key, nil) }
func delRange(b *pebble.Batch, from, to []byte) { _ = b.DeleteRange(from, to, nil) }

// unborn returns the epoch of a channel of which nothing is kept.
func (s *store) unborn(name string) string {
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], s.rebirth)
	binary.BigEndian.PutUint64(n[8:], s.season.Load())
	return derivedEpoch(s.secret, n[:], []byte(name))
}

// reborn returns the epoch of a channel whose record says m: another one
// where the store was restored from a backup since.
func (s *store) reborn(m meta) string {
	if m.rebirth == s.rebirth {
		return m.epoch
	}
	return derivedEpoch(s.secret, binary.BigEndian.AppendUint64(nil, s.rebirth), []byte(m.epoch))
}

// iterate returns the keys from one up to another.
func (s *store) iterate(from, to []byte) (*pebble.Iterator, error) {
	return s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
}

// earlier notes when something ends and reports whether that is news.
func (s *store) earlier(due int64) bool {
	for {
		now := s.due.Load()
		if due >= now {
			return false
		}
		if s.due.CompareAndSwap(now, due) {
			return true
		}
	}
}

// quietLogger hears nothing.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(f string, a ...any) {
	panic(fmt.Sprintf(f, a...))
}

// logger passes on what the database says.
type logger struct {
	to    *slog.Logger
	guard *guard
}

func (l logger) Infof(f string, a ...any)  { l.to.Debug("database", "says", fmt.Sprintf(f, a...)) }
func (l logger) Errorf(f string, a ...any) { l.to.Warn("database", "says", fmt.Sprintf(f, a...)) }

// Fatalf is called where the database cannot go on. It must not return, and
// the process has others to serve, so it is the goroutine that ends.
func (l logger) Fatalf(f string, a ...any) {
	l.guard.worsen(conditionFailed, fmt.Errorf(f, a...))
	runtime.Goexit()
}
