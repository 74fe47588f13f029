package hub_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"myelin/hub"
)

// wire is a Conn whose other end the test holds. It keeps the lines that come
// and notes every promise the hub breaks.
type wire struct {
	mu struct {
		sync.Mutex
		// hear is given each line, where it is set, instead of keeping it. It
		// is called by the goroutine that writes.
		hear func(line string)
		// room is how many bytes it takes before it blocks; negative is any
		// number.
		room int
		err  error
		// waiting: a write came short, and nobody has been told of room.
		waiting bool
		ready   func()

		writing bool
		partial []byte
		lines   []string
		bytes   int
		writes  int
		most    int // the longest write
		closed  bool
		broken  []string
	}
}

func newWire() *wire {
	w := &wire{}
	w.mu.room = -1
	return w
}

// errWire is what a broken wire returns.
var errWire = errors.New("the wire is cut")

// WriteNow takes what it has room for.
func (w *wire) WriteNow(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.mu.writing:
		w.breakLocked("two writes at the same time")
	case w.mu.closed:
		w.breakLocked("a write after Close")
	case w.mu.waiting:
		w.breakLocked("a write before NotifyWritable answered")
	case len(p) == 0:
		w.breakLocked("a write of nothing")
	}
	w.mu.writing = true
	defer func() { w.mu.writing = false }()
	w.mu.writes++
	w.mu.most = max(w.mu.most, len(p))
	if w.mu.err != nil {
		return 0, w.mu.err
	}
	n := len(p)
	if w.mu.room >= 0 {
		n = min(n, w.mu.room)
		w.mu.room -= n
	}
	w.mu.waiting = n < len(p)
	w.mu.bytes += n
	w.takeLocked(p[:n])
	return n, nil
}

func (w *wire) takeLocked(p []byte) {
	for len(p) > 0 {
		head, rest, whole := bytes.Cut(p, []byte{'\n'})
		if !whole {
			w.mu.partial = append(w.mu.partial, p...)
			return
		}
		line := string(append(w.mu.partial, head...))
		w.mu.partial = w.mu.partial[:0]
		p = rest
		if w.mu.hear != nil {
			w.mu.hear(line)
		} else {
			w.mu.lines = append(w.mu.lines, line)
		}
	}
}

func (w *wire) breakLocked(format string, args ...any) {
	if len(w.mu.broken) < 5 {
		w.mu.broken = append(w.mu.broken, fmt.Sprintf(format, args...))
	}
}

// NotifyWritable tells of room, at once or later.
func (w *wire) NotifyWritable(ready func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.ready != nil {
		w.breakLocked("NotifyWritable asked twice")
	}
	w.mu.ready = ready
	w.tellLocked()
}

func (w *wire) tellLocked() {
	if w.mu.ready == nil || (w.mu.room == 0 && w.mu.err == nil) {
		return
	}
	w.mu.waiting = false
	go w.mu.ready()
	w.mu.ready = nil
}

// closedLine is what a listener hears when the hub closes its wire.
const closedLine = "closed"

// Close notes that it was called, once.
func (w *wire) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed {
		w.breakLocked("closed twice")
	}
	w.mu.closed = true
	if w.mu.hear != nil {
		w.mu.hear(closedLine)
	}
}

// allow makes room for n more bytes, negative for any number.
func (w *wire) allow(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 || w.mu.room < 0 {
		w.mu.room = n
	} else {
		w.mu.room += n
	}
	w.tellLocked()
}

// cut makes all writes fail.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.err = errWire
	w.tellLocked()
}

// listen has hear called with each line from now on.
func (w *wire) listen(hear func(line string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.hear = hear
}

// lines returns what came and forgets it.
func (w *wire) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.mu.lines
	w.mu.lines = nil
	return l
}

func (w *wire) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.closed
}

func (w *wire) writes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.writes
}

// taken returns how many bytes came in all, and with the longest write.
func (w *wire) taken() (all, longest int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.bytes, w.mu.most
}

// verify fails the test for each promise that the hub broke.
func (w *wire) verify(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.mu.broken {
		t.Errorf("the hub broke the contract of Conn: %s", b)
	}
}

// wants fails unless the lines that came since the last call are these.
func (w *wire) wants(t testing.TB, want ...string) {
	t.Helper()
	if got := w.lines(); !slices.Equal(got, want) {
		t.Fatalf("got %s\nwant %s", show(got), show(want))
	}
}

func show(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	if len(lines) > 30 {
		lines = append(slices.Clone(lines[:30]), fmt.Sprintf("(%d more)", len(lines)-30))
	}
	return "\n\t" + strings.Join(lines, "\n\t")
}

var _ hub.Conn = (*wire)(nil)
