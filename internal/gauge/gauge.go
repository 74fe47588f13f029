// Package gauge tells how much a TCP connection takes now without what is
// written after it being late.
//
// # Nouns
//
// The room of a connection is how many bytes may be written to it until it
// holds as many as it is expected to deliver within [Delay], beside those that
// are under way on the network by its nature.
//
// # Promises
//
// Room makes two system calls and does not block. What it answers is an
// estimate: the kernel's own, of the rate at which the peer took bytes lately
// and of the shortest round trip. A connection about which nothing is known yet
// has a little room, and one that cannot be asked has plenty. A nil Gauge, of
// what is not known at all, has as little as any may always have.
//
// # Limits
//
// A Gauge is used by one goroutine at a time.
package gauge

import (
	"context"
	"net"
	"syscall"
	"time"
)

// Delay is how long what is written behind everything else may wait in this
// host.
const Delay = 40 * time.Millisecond

const (
	// least is what a connection may always hold: without anything under way
	// nothing could be learned of it.
	least = 4 << 10
	// first is what one may hold of which nothing is known.
	first = 16 << 10
	// most is as good as no bound.
	most = 1 << 20
)

// Gauge asks one connection.
type Gauge struct {
	raw  syscall.RawConn
	ask  func(fd uintptr)
	room int
}

// key is that of a request's connection in its context.
type key struct{}

// Remember is for the ConnContext of an http.Server: Of finds conn again.
func Remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, key{}, conn)
}

// Of returns a gauge of the connection that a request came by, nil where it
// is not known. Over HTTP/2 that is what all its streams share.
func Of(ctx context.Context) *Gauge {
	conn, _ := ctx.Value(key{}).(net.Conn)
	return Below(conn)
}

// Below returns a gauge of the socket that a connection runs over, by itself or
// within TLS; nil where there is none.
func Below(conn net.Conn) *Gauge {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return New(tcp)
	}
	return nil
}

// New returns the gauge of a connection, nil where it has no socket of its own.
func New(conn syscall.Conn) *Gauge {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	g := &Gauge{raw: raw}
	g.ask = g.look
	return g
}

// Room returns how many bytes the connection takes now; less than one is none.
func (g *Gauge) Room() int {
	if g == nil {
		return least
	}
	g.room = most
	_ = g.raw.Control(g.ask) // who is closed says so when he is written to
	return g.room
}

// budget is how many bytes a connection may hold: what its peer takes, in bytes
// a second, within the shortest round trip and the delay, or half of that where
// a round trip takes longer than it should, because something else queues.
func budget(rate uint64, shortest, trip time.Duration) int {
	if rate == 0 {
		return first
	}
	hold := float64(rate) * (shortest + Delay).Seconds()
	if trip > 3*shortest && trip > shortest+Delay {
		hold /= 2
	}
	return int(min(max(hold, least), most))
}
