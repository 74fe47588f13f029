package websocket

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myelin/conversation"
)

// socket is a connection on plain TCP. It is written to by the hub's shard
// with a bare system call, and one small goroutine waits for what comes in.
type socket struct {
	client
	tcp *net.TCPConn
	raw syscall.RawConn
	// leaving: Close was called; what still comes in is thrown away.
	leaving atomic.Bool
}

// newSocket returns a socket for a connection that is bare TCP.
func newSocket(d *Door, conn net.Conn) (*socket, bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, false
	}
	return &socket{client: client{door: d}, tcp: tcp, raw: raw}, true
}

// serve lives as long as the connection.
func (s *socket) serve(wire *conversation.Wire, connect string, early []byte) {
	defer func() {
		s.done()
		_ = s.tcp.Close()
	}()
	going := s.begin(wire, connect, early)
	if s.conv == nil {
		return
	}
	var r reader
	take := r.take(s)
	for {
		if err := s.raw.Read(take); err != nil || r.err != nil {
			return
		}
		if r.buf == nil {
			continue
		}
		if going && !s.leaving.Load() {
			going = s.door.workers.feed(&s.client, (*r.buf)[:r.n])
		}
		s.door.workers.buffer.Put(r.buf)
		r.buf = nil
	}
}

// begin opens the conversation and handles what came with the request.
func (s *socket) begin(wire *conversation.Wire, connect string, early []byte) bool {
	if err := s.open(s, wire, connect); err != nil {
		return false
	}
	return len(early) == 0 || s.door.workers.feed(&s.client, early)
}

// reader is the state of one read.
type reader struct {
	buf *[]byte
	n   int
	err error
}

// take returns the function for RawConn.Read: it holds a buffer only while
// there is something to put into it.
func (r *reader) take(s *socket) func(fd uintptr) bool {
	pool := &s.door.workers.buffer
	return func(fd uintptr) bool {
		buf, _ := pool.Get().(*[]byte)
		n, err := ignoreEINTR(func() (int, error) { return syscall.Read(int(fd), *buf) })
		if err == nil && n > 0 {
			r.buf, r.n = buf, n
			return true
		}
		pool.Put(buf)
		if errors.Is(err, syscall.EAGAIN) {
			return false
		}
		if err == nil {
			err = io.EOF
		}
		r.err = err
		return true
	}
}

func ignoreEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// writing is one call of RawConn.Write; pooled, because a closure for each
// write would be garbage.
type writing struct {
	p   []byte
	n   int
	err error
	fn  func(fd uintptr) bool
}

func (w *writing) write(fd uintptr) bool {
	for len(w.p) > 0 {
		n, err := syscall.Write(int(fd), w.p)
		switch {
		case n > 0:
			w.n += n
			w.p = w.p[n:]
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			w.err = err
			return true
		}
	}
	return true
}

// writings is a pool of them; it is shared by all doors of a process, like the
// pools of package fmt.
var writings = sync.Pool{New: func() any {
	w := new(writing)
	w.fn = w.write
	return w
}}

// WriteNow is hub.Conn's.
func (s *socket) WriteNow(p []byte) (int, error) {
	w, _ := writings.Get().(*writing)
	w.p, w.n, w.err = p, 0, nil
	err := s.raw.Write(w.fn)
	if err == nil {
		err = w.err
	}
	n := w.n
	w.p = nil
	writings.Put(w)
	s.door.metrics.BytesOut.Add(int64(n))
	return n, err
}

// NotifyWritable is hub.Conn's. A transient goroutine waits, so that a
// connection that keeps up costs none.
func (s *socket) NotifyWritable(ready func()) {
	s.door.conns.Go(func() {
		// The poller tells of edges only: one that came before it was armed
		// is found by asking the socket itself.
		_ = s.raw.Write(writable)
		ready()
	})
}

func writable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // a descriptor is small
	n, err := unix.Poll(fds, 0)
	return err != nil || n > 0
}

// Close is hub.Conn's. The reading goroutine closes for good once the client
// has taken its goodbye, or lingerTimeout has passed.
func (s *socket) Close() {
	s.leaving.Store(true)
	_ = s.tcp.CloseWrite()
	_ = s.tcp.SetReadDeadline(time.Now().Add(lingerTimeout))
}
