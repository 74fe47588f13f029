package socket

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"myelin/internal/gauge"
	"myelin/internal/pipe"
)

// Bounds of a stream.
const (
	// pipeBytes is how much may wait for a stream's writer.
	pipeBytes = 16 << 10
	// writeTimeout is how long one write may take.
	writeTimeout = 30 * time.Second
)

// bytestream is what a stream runs over: TLS, or a stream of HTTP/2.
type bytestream interface {
	io.Reader
	// write sends all of p within the timeout.
	write(p []byte, timeout time.Duration) error
	// leave says that no more will be written and that reading ends soon.
	leave()
	// close releases all.
	close()
}

// stream is a connection that cannot be written to without blocking. It has a
// goroutine for each direction.
type stream struct {
	client
	*pipe.Pipe
	bytes   bytestream
	leaving atomic.Bool
}

// newStream makes a stream over b, which ends in the socket that below gauges.
func newStream(d *Server, b bytestream, below *gauge.Gauge) *stream {
	return &stream{client: client{server: d}, Pipe: pipe.New(pipeBytes, below), bytes: b}
}

// serve lives as long as the connection.
func (s *stream) serve(o *Opening) {
	var writer sync.WaitGroup
	writer.Go(s.write)
	defer func() {
		s.done()
		s.Pipe.Close()
		s.bytes.close()
		writer.Wait()
		s.server.conns.Done()
	}()
	going := s.open(s, o)
	if going && len(o.early) > 0 {
		going = s.feed(o.early)
	}
	buf := make([]byte, readBytes)
	for {
		n, err := s.bytes.Read(buf)
		if n > 0 && going && !s.leaving.Load() {
			going = s.feed(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// write sends what waits until the pipe is closed and empty.
func (s *stream) write() {
	for {
		b, err := s.Next(context.Background())
		if err != nil {
			s.bytes.leave()
			return
		}
		s.server.out.Add(int64(len(b)))
		if err := s.bytes.write(b, writeTimeout); err != nil {
			s.Pipe.Close()
			s.bytes.close()
			return
		}
	}
}

// Close is hub.Conn's.
func (s *stream) Close() {
	s.leaving.Store(true)
	s.Pipe.Close()
}

// netStream is TLS, or any other connection.
type netStream struct{ net.Conn }

func (n netStream) write(p []byte, timeout time.Duration) error {
	if err := n.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := n.Conn.Write(p); err != nil {
		return err
	}
	// A deadline that is left behind would fail what TLS writes of its own.
	return n.SetWriteDeadline(time.Time{})
}

func (n netStream) leave() {
	if c, ok := n.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = n.SetReadDeadline(time.Now().Add(lingerTimeout))
}

func (n netStream) close() { _ = n.Conn.Close() }

// http2Stream is an extended CONNECT.
type http2Stream struct {
	body io.ReadCloser
	w    http.ResponseWriter
	rc   *http.ResponseController
}

func (h *http2Stream) Read(p []byte) (int, error) { return h.body.Read(p) }

func (h *http2Stream) write(p []byte, timeout time.Duration) error {
	if err := h.rc.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := h.w.Write(p); err != nil {
		return err
	}
	if err := h.rc.Flush(); err != nil {
		return err
	}
	// On a stream of HTTP/2 a deadline that passes resets the stream, even if
	// nothing is being written.
	return h.rc.SetWriteDeadline(time.Time{})
}

func (h *http2Stream) leave() { _ = h.rc.SetReadDeadline(time.Now().Add(lingerTimeout)) }

func (h *http2Stream) close() { _ = h.body.Close() }
