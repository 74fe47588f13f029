package meshtest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Relay carries connections from one node to another, and can stop to.
type Relay struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup
	mu       struct {
		sync.Mutex
		conns  map[net.Conn]bool
		dead   bool
		closed bool
		// there and back are held while they are not nil: what is sent waits
		// until they are closed, as in a network that is cut.
		there, back chan struct{}
	}
}

// NewRelay returns a relay to an address. It ends with the test.
func NewRelay(tb testing.TB, target string) *Relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is bound at once
	if err != nil {
		tb.Fatal(err)
	}
	r := &Relay{listener: l, target: target}
	r.mu.conns = make(map[net.Conn]bool)
	r.wg.Go(r.run)
	tb.Cleanup(r.close)
	return r
}

// Addr returns where it listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

func (r *Relay) run() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.carry(c) })
	}
}

// carry moves the bytes of one connection until one side ends it.
func (r *Relay) carry(in net.Conn) {
	defer r.drop(in)
	if !r.keep(in) {
		return
	}
	out, err := net.Dial("tcp", r.target) //nolint:noctx // on this machine it answers at once
	if err != nil {
		return
	}
	defer r.drop(out)
	if !r.keep(out) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.copy(in, out, false) })
	r.copy(out, in, true)
	wg.Wait()
}

// copy moves bytes one way, when that way is open.
func (r *Relay) copy(to, from net.Conn, there bool) {
	defer r.drop(to)
	defer r.drop(from)
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			r.wait(there)
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil && !errors.Is(err, io.ErrShortBuffer) {
			return
		}
	}
}

// wait holds a copier while its way is held.
func (r *Relay) wait(there bool) {
	for {
		r.mu.Lock()
		gate := r.mu.back
		if there {
			gate = r.mu.there
		}
		if r.mu.dead || r.mu.closed {
			gate = nil
		}
		r.mu.Unlock()
		if gate == nil {
			return
		}
		<-gate
	}
}

func (r *Relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.dead || r.mu.closed {
		return false
	}
	r.mu.conns[c] = true
	return true
}

// drop ends a connection the hard way.
func (r *Relay) drop(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
	r.mu.Lock()
	delete(r.mu.conns, c)
	r.mu.Unlock()
}

// Hold closes or opens a way: there is from who connected to the target. What
// is sent meanwhile waits.
func (r *Relay) Hold(there, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := &r.mu.back
	if there {
		gate = &r.mu.there
	}
	switch {
	case held && *gate == nil:
		*gate = make(chan struct{})
	case !held && *gate != nil:
		close(*gate)
		*gate = nil
	}
}

// Kill ends all connections and lets no new ones in, or does again.
func (r *Relay) Kill(dead bool) {
	r.mu.Lock()
	r.mu.dead = dead
	r.mu.Unlock()
	if dead {
		r.end()
	}
}

func (r *Relay) end() {
	r.mu.Lock()
	var conns []net.Conn
	for c := range r.mu.conns {
		conns = append(conns, c)
	}
	for _, gate := range []*chan struct{}{&r.mu.there, &r.mu.back} {
		if *gate != nil {
			close(*gate)
			*gate = nil
		}
	}
	r.mu.Unlock()
	for _, c := range conns {
		r.drop(c)
	}
}

func (r *Relay) close() {
	r.mu.Lock()
	r.mu.closed = true
	r.mu.Unlock()
	_ = r.listener.Close()
	r.end()
	r.wg.Wait()
}
