package memnet

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// DefaultBuffer is how many bytes a stream holds unless told otherwise.
const DefaultBuffer = 64 << 10

// Addr is the address of everything in this network.
type Addr struct{}

// Network returns "mem".
func (Addr) Network() string { return "mem" }

// String returns "mem".
func (Addr) String() string { return "mem" }

// Options are the properties of the connections of a listener. The zero value
// is good.
type Options struct {
	// Buffer is how many bytes each direction holds; 0 means DefaultBuffer.
	Buffer int
}

// A Listener hands the server ends of dialled connections to Accept. It
// implements net.Listener.
type Listener struct {
	options Options
	conns   chan net.Conn
	closed  chan struct{} // closed by Close
	once    sync.Once
}

// Listen returns a new listener.
func Listen(options Options) *Listener {
	return &Listener{options: options, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, opError("accept", net.ErrClosed)
	}
}

// Close stops accepting and refuses the dials that wait. Connections live on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the only address there is.
func (l *Listener) Addr() net.Addr { return Addr{} }

// Dial connects to the listener. It waits until the other end is accepted.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	select {
	case <-l.closed: // a closed listener never accepts, even if a dial could be quick
		return nil, opError("dial", syscall.ECONNREFUSED)
	default:
	}
	near, far := Pipe(l.options)
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, opError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, opError("dial", ctx.Err())
	}
}

// DialContext is Dial in the form that http.Transport and other clients take:
// the network and the address do not matter.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.Dial(ctx)
}

func opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: Addr{}, Err: err}
}
