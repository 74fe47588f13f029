package memnet

import (
	"net"
	"syscall"
	"time"
)

// A Conn is one end of a connection. It implements net.Conn.
type Conn struct {
	in, out *stream
}

// Pipe returns the two ends of a new connection.
func Pipe(options Options) (*Conn, *Conn) {
	size := options.Buffer
	if size <= 0 {
		size = DefaultBuffer
	}
	there, back := newStream(size), newStream(size)
	return &Conn{in: back, out: there}, &Conn{in: there, out: back}
}

// Read waits for bytes and takes what is there.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write waits until all bytes are with the peer or in the stream to it.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close ends both directions. The peer still reads what was written before.
func (c *Conn) Close() error {
	c.in.stopReading()
	c.out.stopWriting(net.ErrClosed)
	return nil
}

// CloseWrite ends the direction to the peer, which reads io.EOF after the rest.
func (c *Conn) CloseWrite() error {
	c.out.stopWriting(syscall.EPIPE)
	return nil
}

// Buffered returns how many bytes were written here and not yet read there.
func (c *Conn) Buffered() int { return c.out.buffered() }

// LocalAddr returns the only address there is.
func (c *Conn) LocalAddr() net.Addr { return Addr{} }

// RemoteAddr returns the only address there is.
func (c *Conn) RemoteAddr() net.Addr { return Addr{} }

// SetDeadline bounds reads and writes, those that wait included. The zero time
// means no bound.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readers.set(t)
	c.out.writers.set(t)
	return nil
}

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readers.set(t)
	return nil
}

// SetWriteDeadline bounds writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writers.set(t)
	return nil
}
