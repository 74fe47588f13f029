package socket

import (
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myelin/internal/gauge"
)

// socket is a connection on plain TCP. It is written to by the hub's shard
// with a bare system call, and one small goroutine waits for what comes in.
type socket struct {
	client
	tcp *net.TCPConn
	raw syscall.RawConn
	// gauge is made when the hub first asks for it.
	gauge *gauge.Gauge
	// leaving: Close was called. refused: the conversation is over. What still
	// comes in is thrown away.
	leaving atomic.Bool
	refused bool
	// opening is what came with the request, until it has been handled.
	opening *Opening
	// turn is held by the waiting goroutine, or by the worker that it waits
	// for; going is the worker's answer.
	turn  sync.Mutex
	going bool
}

// newSocket returns a socket for a connection that is bare TCP.
func newSocket(d *Server, conn net.Conn, o *Opening) (*socket, bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, false
	}
	s := &socket{client: client{server: d}, tcp: tcp, raw: raw, opening: o}
	s.turn.Lock()
	return s, true
}

// serve lives as long as the connection. It only waits: all that could make
// its stack grow is done by workers.
func (s *socket) serve() {
	going := s.server.workers.do(s)
	for going && s.raw.Read(readable) == nil {
		going = s.server.workers.do(s)
	}
	s.done()
	_ = s.tcp.Close()
	s.server.conns.Done()
}

// work opens the conversation the first time, and reads what there is the
// other times. It reports whether the connection goes on.
func (s *socket) work(buf []byte) bool {
	if o := s.opening; o != nil {
		s.opening = nil
		s.refused = !s.open(s, o) || len(o.early) > 0 && !s.feed(o.early)
		return true
	}
	r := reading{buf: buf}
	if err := s.raw.Read(r.read); err != nil || r.err != nil {
		return false
	}
	if r.n > 0 && !s.refused && !s.leaving.Load() {
		s.refused = !s.feed(buf[:r.n])
	}
	return true
}

// reading is one call of RawConn.Read that takes what there is.
type reading struct {
	buf []byte
	n   int
	err error
}

func (r *reading) read(fd uintptr) bool {
	r.n, r.err = ignoreEINTR(func() (int, error) { return syscall.Read(int(fd), r.buf) })
	switch {
	case errors.Is(r.err, syscall.EAGAIN):
		r.n, r.err = 0, nil
	case r.err == nil && r.n == 0:
		r.err = io.EOF
	}
	return true
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
	s.server.out.Add(int64(n))
	return n, err
}

// Room is hub.Gauge's.
func (s *socket) Room() int {
	if s.gauge == nil {
		if s.gauge = gauge.New(s.tcp); s.gauge == nil {
			return math.MaxInt
		}
	}
	return s.gauge.Room()
}

// NotifyWritable is hub.Conn's. A transient goroutine waits, so that a
// connection that keeps up costs none.
func (s *socket) NotifyWritable(ready func()) {
	s.server.conns.Go(func() {
		// The poller tells of edges only: one that came before it was armed
		// is found by asking the socket itself.
		_ = s.raw.Write(writable)
		ready()
	})
}

func writable(fd uintptr) bool { return polled(fd, unix.POLLOUT) }

func readable(fd uintptr) bool { return polled(fd, unix.POLLIN) }

// polled asks a descriptor whether something can be done with it now.
func polled(fd uintptr, events int16) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(fds[:], 0)
	return err != nil || n > 0
}

// Close is hub.Conn's. The reading goroutine closes for good once the client
// has taken its goodbye, or lingerTimeout has passed.
func (s *socket) Close() {
	s.leaving.Store(true)
	_ = s.tcp.CloseWrite()
	_ = s.tcp.SetReadDeadline(time.Now().Add(lingerTimeout))
}
