package memory

import (
	"math"
	"time"
	"unsafe"
)

// BookSize is what a channel takes before anything is kept of it.
const BookSize = unsafe.Sizeof(book{})

// SetTop moves the top of a channel, of which nothing may be kept.
func (e *Engine) SetTop(name string, top uint64) {
	b := e.shard(name).find(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.top = top
}

// NextWake returns when the sweeper wakes by itself, and false for never.
func (e *Engine) NextWake() (time.Time, bool) {
	at := e.sweeper.wakeAt.Load()
	return e.started.Add(time.Duration(at)), at != math.MaxInt64
}

// ParseCursor tells whether a cursor is well formed, and what becomes of it
// when it is written again.
func ParseCursor(s string) (string, bool) {
	c, ok := parseCursor(s)
	return c.String(), ok
}
