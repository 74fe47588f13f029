package disk

import (
	"encoding/json"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
)

// FormatVersion is the format this engine writes.
const FormatVersion = formatVersion

// OpenAs opens a directory as an engine of another format would.
func OpenAs(o Options, format uint64, steps map[uint64]func(*pebble.DB, *pebble.Batch) error) (*Engine, error) {
	return openAs(o, formats{current: format, steps: steps})
}

// Testify has the witness write down what it knows.
func (e *Engine) Testify() error { return e.guard.witness.testify() }

// SetFormat writes another format into the identity of a directory.
func SetFormat(fs vfs.FS, path string, format uint64) error {
	return writeIdentity(fs, path, identity{Product: product, Format: format, State: stateReady})
}

// SetDatabaseFormat writes another format into the database itself.
func (e *Engine) SetDatabaseFormat(format uint64) error {
	batch := e.disk.db.NewBatch()
	setHeader(batch, headerFormat, format)
	return batch.Commit(pebble.Sync)
}

// MendQuickly has an engine that is not started look at a failed disk often.
func (e *Engine) MendQuickly() { e.mender.every = 10 * time.Millisecond }

// Hold has the database be in the middle of a write until release is called.
func (e *Engine) Hold() (release func()) {
	g := e.guard
	g.enter()
	return func() { g.exit(conditionGood, nil) }
}

// Value returns what is kept under a key on disk.
func (e *Engine) Value(key string) ([]byte, error) { return e.disk.get([]byte(key)) }

// Marked returns how many async channels are known to be marked.
func (e *Engine) Marked() int {
	e.flusher.mu.Lock()
	defer e.flusher.mu.Unlock()
	return len(e.flusher.mu.marked)
}

// Remover returns how the database of now removes a file in its directory.
func (e *Engine) Remover() func(name string) error {
	g := e.guard
	return func(name string) error { return g.Remove(g.PathJoin(g.dir, name)) }
}

// Keys returns how many keys of a kind the stores hold.
func (e *Engine) Keys(first byte) (disk, memory int, err error) {
	if disk, err = e.disk.count(first); err != nil {
		return 0, 0, err
	}
	memory, err = e.memory.count(first)
	return disk, memory, err
}

func (s *store) count(first byte) (n int, err error) {
	i, err := s.iterate([]byte{first}, []byte{first + 1})
	if err != nil {
		return 0, err
	}
	for i.First(); i.Valid(); i.Next() {
		n++
	}
	return n, i.Close()
}

// Books returns how many channels are in memory.
func (e *Engine) Books() (n int) {
	for i := range e.shards {
		e.shards[i].mu.RLock()
		n += len(e.shards[i].mu.books)
		e.shards[i].mu.RUnlock()
	}
	return n
}

// InFlight returns what the gate has let through.
func (e *Engine) InFlight() (count int, bytes int64) {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	return e.gate.mu.count, e.gate.mu.bytes
}

// FillUp makes the next publication of a channel the last one of its epoch.
func (e *Engine) FillUp(name string) {
	b := e.shard(name).find(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.top, b.mu.done, b.mu.floor, b.mu.meta.floor = channel.MaxOffset-1, channel.MaxOffset-1, channel.MaxOffset-1, channel.MaxOffset-1
}

// The records, for the fuzzers: each decodes and encodes again.

func RecodePub(b []byte) ([]byte, error) {
	p, since, err := parsePub(b)
	if err != nil {
		return nil, err
	}
	if again, err := sinceOf(b); err != nil || again != since {
		return nil, err
	}
	return appendPub(nil, p, since), nil
}

func RecodeEntry(b []byte) ([]byte, error) {
	s, rest, err := parseStake(b)
	if err != nil {
		return nil, err
	}
	p, since, err := parsePub(rest)
	if err != nil {
		return nil, err
	}
	return appendEntry(nil, s, p, since), nil
}

func RecodeMeta(b []byte) ([]byte, error) {
	m, err := parseMeta(b)
	return m.encode(), err
}

func RecodeID(b []byte) ([]byte, error) {
	i, err := parseID(b)
	return i.encode(), err
}

func RecodeTally(b []byte) ([]byte, error) {
	t, err := parseTally(b)
	return t.encode(), err
}

func RecodeCursor(s string) (string, bool) {
	c, ok := parseCursor(s)
	return c.String(), ok
}

func RecodeSlot(b []byte) ([]byte, bool) {
	t, ok := parseSlot(b)
	if !ok {
		return nil, false
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, false
	}
	slot, err := appendSlot(text)
	return slot, err == nil
}

// PubRecord, EntryRecord and the others are records to begin with.
func PubRecord(p *channel.Publication, since int64) []byte { return appendPub(nil, p, since) }

func EntryRecord(offset uint64, expires int64, p *channel.Publication) []byte {
	return appendEntry(nil, stake{offset, expires}, p, 1)
}

func MetaRecord() []byte {
	return meta{id: 1, kind: channel.KindState, epoch: "12345678", top: 7, floor: 3, visit: 9, terms: terms{historySize: 5}}.encode()
}

func IDRecord() []byte {
	return idRecord{channel.Position{Epoch: "12345678", Offset: 9}, 17}.encode()
}

func TallyRecord() []byte { return tally{5, 6}.encode() }

func Slot() []byte {
	slot, _ := appendSlot([]byte(`{"seq":3,"files":[{"name":"000004.log","size":5,"sum":6}]}`))
	return slot
}

// Entries returns how many entries a channel in memory has.
func (e *Engine) Entries(name string) uint64 {
	b := e.shard(name).find(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.entries
}
