package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// witnessFile holds the last two testimonies.
	witnessFile = "witness"
	// slotSize is the room for one.
	slotSize = 8192
	// testifyEvery is how often one is given while there is something new.
	testifyEvery = 250 * time.Millisecond
)

// witness knows how much of the database's logs is on disk, and writes it down
// beside the database. A log that is cut off or changed later looks to the
// database like one that a crash has cut off; the witness knows better.
type witness struct {
	fs   vfs.FS
	path string
	mu   struct {
		sync.Mutex
		files map[string]*testified
		// news says that more is on disk than was last written down.
		news bool
		seq  uint64
	}
	nudge chan struct{}
	stop  chan struct{}
	done  chan struct{}
	stops sync.Once
}

// testified is how much of a file is on disk, and its checksum.
type testified struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  uint32 `json:"sum"`
	// written and sum are of all that was written so far.
	written int64
	sum     uint32
	// anchored: its name is on disk too.
	anchored bool
}

// testimony is what is written down.
type testimony struct {
	Seq   uint64      `json:"seq"`
	Files []testified `json:"files"`
}

func newWitness(fs vfs.FS, home string) *witness {
	w := &witness{fs: fs, path: home, nudge: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	w.mu.files = make(map[string]*testified)
	return w
}

// witnessed reports whether a file is one whose end the database cannot tell.
func witnessed(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-")
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// begin notes that a file is written from its start.
func (w *witness) begin(name string) {
	if !witnessed(name) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.files[path.Base(name)] = &testified{Name: path.Base(name)}
}

// end notes that a file is no more.
func (w *witness) end(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mu.files, path.Base(name))
}

// anchor has a directory synced and notes whose names are on disk then.
func (w *witness) anchor(sync func() error) error {
	w.mu.Lock()
	before := slices.Collect(maps.Values(w.mu.files))
	w.mu.Unlock()
	if err := sync(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range before {
		f.anchored = true
	}
	return nil
}

// wrote notes that p was added to a file.
func (w *witness) wrote(name string, sum uint32, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.mu.files[path.Base(name)]; f != nil {
		f.written += int64(n)
		f.sum = sum
	}
}

// sumOf returns the checksum of a file with p added, and false where the file
// is none of the witness's.
func (w *witness) sumOf(name string, p []byte) (uint32, bool) {
	if !witnessed(name) {
		return 0, false
	}
	w.mu.Lock()
	f := w.mu.files[path.Base(name)]
	w.mu.Unlock()
	if f == nil {
		return 0, false
	}
	// Only whoever writes the file changes its sum.
	return crc32.Update(f.sum, castagnoli(), p), true
}

// synced notes that all of a file is on disk.
func (w *witness) synced(name string) {
	if !witnessed(name) {
		return
	}
	w.mu.Lock()
	f := w.mu.files[path.Base(name)]
	first := false
	if f != nil && f.Size != f.written {
		f.Size, f.Sum = f.written, f.sum
		first = !w.mu.news
		w.mu.news = true
	}
	w.mu.Unlock()
	if first {
		select {
		case w.nudge <- struct{}{}:
		default:
		}
	}
}

// loop writes testimonies until it is stopped.
func (w *witness) loop(complain func(error)) {
	defer close(w.done)
	timer := time.NewTimer(testifyEvery)
	defer timer.Stop()
	for {
		select {
		case <-w.nudge:
		case <-w.stop:
			return
		}
		timer.Reset(testifyEvery)
		select {
		case <-timer.C:
		case <-w.stop:
			return
		}
		if err := w.testify(); err != nil {
			complain(err)
		}
	}
}

// dismiss ends the loop, which is done a little later.
func (w *witness) dismiss() { w.stops.Do(func() { close(w.stop) }) }

// testify writes down what is on disk, over the last testimony but one.
func (w *witness) testify() error {
	w.mu.Lock()
	w.mu.seq++
	w.mu.news = false
	t := testimony{Seq: w.mu.seq}
	for _, name := range slices.Sorted(maps.Keys(w.mu.files)) {
		if f := w.mu.files[name]; f.anchored {
			t.Files = append(t.Files, *f)
		}
	}
	w.mu.Unlock()
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	slot, err := appendSlot(text)
	if err != nil {
		return err
	}
	name := w.fs.PathJoin(w.path, witnessFile)
	f, err := w.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(slot, int64(t.Seq%2)*slotSize)
	return errors.Join(err, f.Sync(), f.Close())
}

// testifyFor has a copy of a database testified for as it is, so that it can
// be held against it when it is opened.
func testifyFor(fs vfs.FS, home string) error {
	dir := fs.PathJoin(home, databaseDir)
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	w := newWitness(fs, home)
	for _, name := range names {
		if !witnessed(name) {
			continue
		}
		file := fs.PathJoin(dir, name)
		info, err := fs.Stat(file)
		if err != nil {
			return err
		}
		sum, err := sumFile(fs, file, info.Size())
		if err != nil {
			return err
		}
		w.mu.files[name] = &testified{Name: name, Size: info.Size(), Sum: sum, anchored: true}
	}
	return w.testify()
}

func appendSlot(text []byte) ([]byte, error) {
	if len(text) > slotSize-8 {
		return nil, fmt.Errorf("a testimony of %d bytes, at most %d have room", len(text), slotSize-8)
	}
	slot := make([]byte, slotSize)
	binary.BigEndian.PutUint32(slot[4:], uint32(len(text)))
	copy(slot[8:], text)
	binary.BigEndian.PutUint32(slot, crc32.Checksum(slot[4:], castagnoli()))
	return slot, nil
}

// parseSlot returns a testimony, or false where there is no whole one.
func parseSlot(slot []byte) (t testimony, ok bool) {
	if len(slot) != slotSize || binary.BigEndian.Uint32(slot) != crc32.Checksum(slot[4:], castagnoli()) {
		return t, false
	}
	n := binary.BigEndian.Uint32(slot[4:])
	if n > slotSize-8 {
		return t, false
	}
	return t, json.Unmarshal(slot[8:8+n], &t) == nil
}

// recall makes sure that there is a file to testify in, and returns the last
// testimony of the engine before.
func (w *witness) recall() (testimony, error) {
	name := w.fs.PathJoin(w.path, witnessFile)
	text, err := readFile(w.fs, name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return testimony{}, err
	}
	var last testimony
	for ; len(text) >= slotSize; text = text[slotSize:] {
		if t, ok := parseSlot(text[:slotSize]); ok && t.Seq > last.Seq {
			last = t
		}
	}
	w.mu.Lock()
	w.mu.seq = last.Seq
	w.mu.Unlock()
	return last, nil
}

// verify holds the files of a database against the last testimony.
func (t testimony) verify(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, f := range t.Files {
		if f.Size == 0 {
			continue
		}
		if !slices.Contains(names, f.Name) {
			if succeeded(f.Name, names) {
				continue
			}
			return fmt.Errorf("%s is missing", f.Name)
		}
		sum, err := sumFile(fs, fs.PathJoin(dir, f.Name), f.Size)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%s has fewer than the %d bytes that were written: %w", f.Name, f.Size, err)
		}
		if err != nil {
			return err
		}
		if sum != f.Sum {
			return fmt.Errorf("%s is not as it was written", f.Name)
		}
	}
	return nil
}

// succeeded reports whether there is a later file of the same kind, which is
// when the database removes an earlier one. Names have their numbers at the
// same place.
func succeeded(name string, names []string) bool {
	for _, n := range names {
		if path.Ext(n) == path.Ext(name) && witnessed(n) && len(n) >= len(name) && (len(n) > len(name) || n > name) {
			return true
		}
	}
	return false
}

// sumFile returns the checksum of the front of a file.
func sumFile(fs vfs.FS, name string, size int64) (uint32, error) {
	f, err := fs.Open(name)
	if err != nil {
		return 0, err
	}
	h := crc32.New(castagnoli())
	_, err = io.CopyN(h, f, size)
	return h.Sum32(), errors.Join(err, f.Close())
}
