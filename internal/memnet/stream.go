package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A stream is one direction of a connection: a bounded queue of bytes.
type stream struct {
	size    int
	readers side
	writers side

	mu struct {
		sync.Mutex
		held      []byte
		writeErr  error // why writes fail; nil while they may succeed
		ended     bool  // the writer will send no more
		readClose bool  // the reader has closed
	}
}

// A side is the waiting room of one end of a stream. The stream's mutex guards
// it.
type side struct {
	s        *stream
	cond     *sync.Cond
	deadline time.Time
	timer    *time.Timer // wakes those who wait when the deadline has come
}

func newStream(size int) *stream {
	s := &stream{size: size}
	s.readers = side{s: s, cond: sync.NewCond(&s.mu)}
	s.writers = side{s: s, cond: sync.NewCond(&s.mu)}
	return s
}

// set moves the deadline of a side. Those who wait notice.
func (d *side) set(t time.Time) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.stopLocked()
	d.deadline = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, d.wake)
	}
}

func (d *side) wake() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.cond.Broadcast()
}

// lateLocked reports whether the deadline has passed.
func (d *side) lateLocked() bool {
	return !d.deadline.IsZero() && !time.Now().Before(d.deadline)
}

// stopLocked wakes those who wait, and stops the timer: a closed end keeps none.
func (d *side) stopLocked() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.cond.Broadcast()
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.mu.readClose:
			return 0, opError("read", net.ErrClosed)
		case s.readers.lateLocked():
			return 0, opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case len(s.mu.held) > 0:
			n := copy(p, s.mu.held)
			s.mu.held = s.mu.held[n:]
			if len(s.mu.held) == 0 {
				s.mu.held = nil
			}
			s.writers.cond.Broadcast()
			return n, nil
		case s.mu.ended:
			return 0, io.EOF
		}
		s.readers.cond.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for {
		switch {
		case s.mu.writeErr != nil:
			return done, opError("write", s.mu.writeErr)
		case s.writers.lateLocked():
			return done, opError("write", os.ErrDeadlineExceeded)
		}
		n := min(s.size-len(s.mu.held), len(p)-done)
		if n > 0 {
			s.mu.held = append(s.mu.held, p[done:done+n]...)
			done += n
			s.readers.cond.Broadcast()
		}
		if done == len(p) {
			return done, nil
		}
		s.writers.cond.Wait()
	}
}

// stopReading is the reader's Close: nobody will take what is held, so it goes,
// and writes fail as on a broken connection.
func (s *stream) stopReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.readClose = true
	s.mu.held = nil
	if s.mu.writeErr == nil {
		s.mu.writeErr = syscall.EPIPE
	}
	s.readers.stopLocked()
	s.writers.cond.Broadcast()
}

// stopWriting is the writer's Close or CloseWrite: its writes fail with err
// from now on, and the reader finds the end after what is held.
func (s *stream) stopWriting(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(s.mu.writeErr, net.ErrClosed) { // Close says more than CloseWrite
		s.mu.writeErr = err
	}
	s.mu.ended = true
	s.writers.stopLocked()
	s.readers.cond.Broadcast()
}

func (s *stream) buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.held)
}
