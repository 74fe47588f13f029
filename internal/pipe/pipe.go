// Package pipe carries bytes from a writer that must not block to a reader
// that may.
//
// # Nouns
//
// A [Pipe] has one writer and one reader, in different goroutines. What the
// writer hands over waits in a buffer until the reader takes all of it.
//
// # Promises
//
// WriteNow never blocks and takes no more than fits; NotifyWritable tells,
// once, when there is room again. Next returns everything that waits, in
// order, and reports the end only after that. An idle pipe holds no buffer.
// What is not urgent is given no more room than what the reader writes to has.
//
// # Limits
//
// At most the limit given to New waits; the reader holds as much again.
package pipe

import (
	"context"
	"io"
	"sync"
)

// Pipe is a bounded buffer between two goroutines. Make one with New.
type Pipe struct {
	limit int
	below Gauge
	wake  chan struct{} // holds a token when there is something to look at

	mu struct {
		sync.Mutex
		buf    []byte
		taken  int // by the reader, who has not come again
		ready  func()
		closed bool
	}
}

// Gauge tells how many bytes are taken now without what comes after them being
// late; 0 or less is none.
type Gauge interface {
	Room() int
}

// New returns a pipe in which limit bytes may wait. below is what its reader
// writes to; the writer asks it.
func New(limit int, below Gauge) *Pipe {
	return &Pipe{limit: limit, below: below, wake: make(chan struct{}, 1)}
}

// WriteNow takes as much of b as fits. After Close it returns io.ErrClosedPipe.
func (p *Pipe) WriteNow(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return 0, io.ErrClosedPipe
	}
	n := min(len(b), p.limit-len(p.mu.buf))
	p.mu.buf = append(p.mu.buf, b[:n]...)
	if n > 0 {
		p.signal()
	}
	return n, nil
}

// NotifyWritable has ready called once, in another goroutine, when there is
// room or the pipe is closed.
func (p *Pipe) NotifyWritable(ready func()) {
	p.mu.Lock()
	room := p.mu.closed || len(p.mu.buf) < p.limit
	if !room {
		p.mu.ready = ready
	}
	p.mu.Unlock()
	if room {
		go ready()
	}
}

// Close ends the pipe. What waits can still be read.
func (p *Pipe) Close() {
	p.mu.Lock()
	p.mu.closed = true
	ready := p.mu.ready
	p.mu.ready = nil
	p.signal()
	p.mu.Unlock()
	if ready != nil {
		go ready()
	}
}

// Next waits for bytes and returns all there are. It returns io.EOF when the
// pipe is closed and empty, and the error of ctx when that ends first. The
// bytes are the caller's.
func (p *Pipe) Next(ctx context.Context) ([]byte, error) {
	for {
		p.mu.Lock()
		b, closed, ready := p.mu.buf, p.mu.closed, p.mu.ready
		p.mu.buf, p.mu.taken = nil, len(b)
		if len(b) > 0 {
			p.mu.ready = nil
		}
		p.mu.Unlock()
		if len(b) > 0 {
			if ready != nil {
				ready()
			}
			return b, nil
		}
		if closed {
			return nil, io.EOF
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Waiting returns how many bytes have been handed over and are not known to
// have been sent: the reader is done with what it took when it asks for more.
func (p *Pipe) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mu.buf) + p.mu.taken
}

// Room returns how much of what is not urgent the pipe takes: what there is
// room for below, less what waits here.
func (p *Pipe) Room() int { return min(p.limit, p.below.Room()) - p.Waiting() }

// signal leaves a token for the reader.
func (p *Pipe) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
