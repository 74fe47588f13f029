package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"myelin/bench/swarm"
)

// floor writes publications to plain sockets in a bare loop: one write for
// each delivery, and then one write for all outstanding publications of a
// connection. No server can be cheaper than the first without joining, nor
// than the second with it. The writer is a thread of this process, and only
// that thread's CPU counts.
func (r *runner) floor(ctx context.Context) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s, err := r.open(ctx, func(c *swarm.Config) {
		c.URL, c.Bare, c.Protobuf = "ws://"+listener.Addr().String()+"/", true, false
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer s.Close()
	w := &bareWriter{swarm: s, run: r.run, size: r.options.Size}
	defer w.close()
	if err := w.accept(ctx, listener, r.options.Connections); err != nil {
		return err
	}
	for _, joined := range []bool{false, true} {
		if err := r.bare(ctx, w, joined); err != nil {
			return errors.Join(s.Err(), err) // the reader's complaint comes first
		}
	}
	r.check(s.Tally(), w.written*r.options.Connections)
	return nil
}

// bare measures one way of writing.
func (r *runner) bare(ctx context.Context, w *bareWriter, joined bool) error {
	o := &r.options
	name := "single"
	if joined {
		name = "joined"
	}
	if _, err := w.write(ctx, o.Publications/warmUpShare+1, o.Outstanding, joined); err != nil {
		return err
	}
	start := time.Now()
	cpu, err := w.write(ctx, o.Publications, o.Outstanding, joined)
	if err != nil {
		return err
	}
	deliveries := float64(o.Publications) * float64(o.Connections)
	r.samples.add("cpu_per_delivery_"+name, "µs", micros(cpu)/deliveries)
	r.samples.add("deliveries_per_second_"+name, "1/s", deliveries/time.Since(start).Seconds())
	return nil
}

// bareWriter is the server's side of the floor.
type bareWriter struct {
	swarm   *swarm.Swarm
	conns   []net.Conn
	fds     []int
	frames  []byte // of a round, one after the other
	ends    []int  // where each frame ends
	run     uint32
	size    int
	written int // publications
}

// accept takes n connections of the swarm's and closes the listener.
func (w *bareWriter) accept(ctx context.Context, listener net.Listener, n int) (err error) {
	subscribed := make(chan error, 1)
	go func() {
		err := w.swarm.Subscribe(ctx, []string{"floor"}, n)
		if err != nil {
			_ = listener.Close() // ends Accept, which says why not
		}
		subscribed <- err
	}()
	for len(w.conns) < n {
		conn, e := listener.Accept()
		if e != nil {
			err = e
			break
		}
		w.conns = append(w.conns, conn)
	}
	if e := <-subscribed; e != nil {
		return e
	}
	err = errors.Join(err, listener.Close())
	for _, conn := range w.conns {
		fd, e := descriptor(conn)
		err = errors.Join(err, e)
		w.fds = append(w.fds, fd)
	}
	return err
}

// descriptor of a connection, valid until it is closed.
func descriptor(conn net.Conn) (fd int, err error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(d uintptr) { fd = int(d) })
	return fd, err
}

func (w *bareWriter) close() {
	for _, conn := range w.conns {
		_ = conn.Close() // the other end is reset anyway
	}
}

// write sends n publications in rounds and returns the thread's CPU time. The
// next round begins when everybody has everything of the one before.
func (w *bareWriter) write(ctx context.Context, n, round int, joined bool) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, err := threadCPU()
	if err != nil {
		return 0, err
	}
	for n > 0 {
		count := min(n, round)
		n -= count
		if err := w.prepare(count); err != nil {
			return 0, err
		}
		if err := w.send(joined); err != nil {
			return 0, err
		}
		if err := w.swarm.Settle(ctx); err != nil {
			return 0, err
		}
		w.written += count
	}
	end, err := threadCPU()
	return end - start, err
}

// prepare builds the frames of a round, in the form a server would write.
func (w *bareWriter) prepare(count int) error {
	number, err := w.swarm.Announce(count)
	if err != nil {
		return err
	}
	w.frames, w.ends = w.frames[:0], w.ends[:0]
	for range count {
		body := append([]byte(nil), `{"push":{"channel":"floor","pub":{"data":`...)
		body = swarm.AppendPayload(body, w.size, w.run, number, w.swarm.Elapsed())
		body = append(body, `,"offset":`...)
		body = strconv.AppendUint(body, uint64(number)+1, 10)
		body = append(body, "}}}"...)
		w.frames = swarm.AppendServerFrame(w.frames, body)
		w.ends = append(w.ends, len(w.frames))
		number++
	}
	return nil
}

// send writes the frames to everybody.
func (w *bareWriter) send(joined bool) error {
	if joined {
		return w.sendAll(w.frames)
	}
	begin := 0
	for _, end := range w.ends {
		if err := w.sendAll(w.frames[begin:end]); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

func (w *bareWriter) sendAll(b []byte) error {
	for _, fd := range w.fds {
		n, err := writeRaw(fd, b)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if n < len(b) {
			return fmt.Errorf("a socket took %d of %d bytes: fewer publications outstanding, or smaller ones", n, len(b))
		}
	}
	return nil
}
