//go:build linux

package faults

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Limits of a relay.
const (
	// relayChunk is how much is read at once, relayQueue how many chunks may be
	// on their way.
	relayChunk = 8 << 10
	relayQueue = 512
)

// relay is a TCP relay that may hold back what goes through it, in either
// direction, as a network does that drops every packet: nobody is told. It may
// also take its time.
type relay struct {
	ln     net.Listener
	target string
	// there and back are the two directions.
	there, back gate

	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		ended bool
		conns map[net.Conn]struct{}
	}
}

// gate is one direction.
type gate struct {
	mu struct {
		sync.Mutex
		// held is closed when what is held back may go on; nil while nothing is.
		held chan struct{}
		// delay is how long each chunk is under way, rate how many bytes pass in
		// a second, 0 for any.
		delay time.Duration
		rate  int
	}
}

// newRelay starts a relay to an address; it ends with the test.
func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, target: target}
	r.mu.conns = make(map[net.Conn]struct{})
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) addr() string { return r.ln.Addr().String() }

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	r.mu.ended = true
	for c := range r.mu.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.there.pass()
	r.back.pass()
	r.wg.Wait()
}

func (r *relay) accept() {
	for {
		near, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() {
			far, err := net.DialTimeout("tcp", r.target, 5*time.Second)
			if err != nil {
				_ = near.Close()
				return
			}
			r.join(near, far)
		})
	}
}

// join relays until either side ends.
func (r *relay) join(near, far net.Conn) {
	if !r.keep(near, far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.there.pump(far, near) })
	both.Go(func() { r.back.pump(near, far) })
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.conns, near)
	delete(r.mu.conns, far)
}

// keep notes connections that end with the relay, unless it has ended.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.mu.ended {
			_ = c.Close()
			continue
		}
		r.mu.conns[c] = struct{}{}
	}
	return !r.mu.ended
}

// hold holds everything back from now on.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.held == nil {
		g.mu.held = make(chan struct{})
	}
}

// pass lets everything go on.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.held != nil {
		close(g.mu.held)
		g.mu.held = nil
	}
}

// slow makes a direction slow.
func (g *gate) slow(delay time.Duration, rate int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.delay, g.mu.rate = delay, rate
}

func (g *gate) now() (held chan struct{}, delay time.Duration, rate int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.held, g.mu.delay, g.mu.rate
}

// parcel is a chunk on its way.
type parcel struct {
	data []byte
	due  time.Time
}

// pump moves what comes from src to dst, and ends both when it is over.
func (g *gate) pump(dst, src net.Conn) {
	way := make(chan parcel, relayQueue)
	var writing sync.WaitGroup
	writing.Go(func() {
		for p := range way {
			rest(context.Background(), time.Until(p.due))
			if held, _, _ := g.now(); held != nil {
				<-held
			}
			if _, err := dst.Write(p.data); err != nil {
				_ = src.Close()
			}
		}
	})
	var free time.Time // when the line is free again
	for {
		chunk := make([]byte, relayChunk)
		n, err := src.Read(chunk)
		if n > 0 {
			_, delay, rate := g.now()
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			if rate > 0 {
				free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
			}
			way <- parcel{chunk[:n], free.Add(delay)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	writing.Wait()
	_ = dst.Close()
	_ = src.Close()
}

// TestRelay holds that a relay relays, holds back one direction and not the
// other, and lets go on what it held back.
func TestRelay(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 10)
	go func() {
		conn, err := echo.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 5)
		for {
			if _, err := io.ReadFull(conn, buf); err != nil {
				close(heard)
				return
			}
			heard <- string(buf)
			_, _ = conn.Write(buf)
		}
	}()
	r := newRelay(t, echo.Addr().String())
	conn, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	say := func(word string) {
		if _, err := conn.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	said := func(within time.Duration) string {
		buf := make([]byte, 5)
		_ = conn.SetReadDeadline(time.Now().Add(within))
		n, _ := io.ReadFull(conn, buf)
		return string(buf[:n])
	}
	say("first")
	if got := said(patience); <-heard != "first" || got != "first" {
		t.Fatalf("it relays %q", got)
	}
	r.back.hold()
	say("again")
	if got := <-heard; got != "again" {
		t.Errorf("held back one way it says %q the other", got)
	}
	if got := said(100 * time.Millisecond); got != "" {
		t.Errorf("what is held back arrives: %q", got)
	}
	r.back.pass()
	if got := said(patience); got != "again" {
		t.Errorf("what was held back arrives as %q", got)
	}
	r.there.slow(50*time.Millisecond, 1000)
	begin := time.Now()
	say("later")
	if got := said(patience); got != "later" || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("a slow link says %q after %v", got, time.Since(begin))
	}
	<-heard
	_ = conn.Close()
	if _, open := <-heard; open {
		t.Error("the end of a connection is not passed on")
	}
	_ = echo.Close()
}
