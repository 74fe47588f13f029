package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"myelin/protocol"
)

const (
	subprotocolProtobuf = "centrifuge-protobuf"
	// writeTimeout is how long the network may refuse a write.
	writeTimeout = 10 * time.Second
	// goodbyeTimeout is how long a close frame may take.
	goodbyeTimeout = time.Second
)

// errOutboxFull is the reason a link ends when the client's own commands do not
// fit the outgoing queue.
var errOutboxFull = errors.New("connection is too slow for the outgoing queue")

// link is one WebSocket connection with its two goroutines. Its owner, the
// loop, reads frames and calls close exactly once.
type link struct {
	conn   net.Conn
	format protocol.Format
	out    *outbox

	frames chan []byte   // messages; closed when the reader ends
	err    error         // why; valid once frames is closed
	stop   chan struct{} // closed by close
	status ws.StatusCode // of the goodbye; valid once stop is closed
	flush  bool          // likewise: whether the outbox is written first
	wg     sync.WaitGroup
}

// dial opens a connection and starts its goroutines.
func dial(ctx context.Context, url string, o *Options) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	d := ws.Dialer{TLSConfig: o.TLS, Header: ws.HandshakeHeaderHTTP(o.Header)}
	if o.Dial != nil {
		d.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) { return o.Dial(ctx, addr) }
	}
	format, op := protocol.JSON, ws.OpText
	if o.Protobuf {
		format, op = protocol.Protobuf, ws.OpBinary
		d.Protocols = []string{subprotocolProtobuf}
	}
	conn, br, hs, err := d.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	if o.Protobuf && hs.Protocol != subprotocolProtobuf {
		return nil, errors.Join(
			fmt.Errorf("dial %s: the server does not speak subprotocol %s, use JSON", url, subprotocolProtobuf), conn.Close())
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	l := &link{
		conn: conn, format: format, out: newOutbox(o.MaxQueue, format),
		frames: make(chan []byte), stop: make(chan struct{}),
	}
	l.wg.Go(func() { l.read(&frameReader{r: br, max: o.MaxFrame, data: op}) })
	l.wg.Go(l.write)
	return l, nil
}

// read moves messages to frames until the connection ends.
func (l *link) read(r *frameReader) {
	defer close(l.frames)
	for {
		op, payload, err := r.next()
		if err != nil {
			l.err = err
			return
		}
		switch op {
		case ws.OpPing:
			if !l.out.push(outgoing{ws.OpPong, payload}) {
				l.err = errOutboxFull
				return
			}
		case ws.OpPong:
		default:
			select {
			case l.frames <- payload:
			case <-l.stop:
				l.err = net.ErrClosed
				return
			}
		}
	}
}

// write writes what is in the outbox, all of it at once, until the link stops
// or the network fails. Closing the connection ends the reader too, which
// reports why.
func (l *link) write() {
	defer func() { _ = l.conn.Close() }()
	var buf []byte
	for {
		select {
		case <-l.stop:
			buf = buf[:0]
			if l.flush {
				buf = l.out.appendFrames(buf, l.out.take())
			}
			buf = appendFrame(buf, ws.OpClose, ws.NewCloseFrameBody(l.status, ""))
			// A peer that is gone already needs no goodbye.
			_ = l.put(buf)
			return
		case <-l.out.wake:
		}
		buf = l.out.appendFrames(buf[:0], l.out.take())
		if l.put(buf) != nil {
			return
		}
		if cap(buf) > 2*maxJoined {
			buf = nil
		}
	}
}

// put writes b within writeTimeout, or goodbyeTimeout if the link stops.
func (l *link) put(b []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	select {
	case <-l.stop:
		if err := l.conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout)); err != nil {
			return err
		}
	default:
		// If it stops from here on, close sets the shorter deadline.
	}
	_, err := l.conn.Write(b)
	return err
}

// send queues one command.
func (l *link) send(cmd *protocol.Command) bool {
	op := ws.OpText
	if l.format == protocol.Protobuf {
		op = ws.OpBinary
	}
	return l.out.push(outgoing{op, protocol.AppendCommand(nil, l.format, cmd)})
}

// close says goodbye, closes the connection and waits for its goroutines.
// What is still in the outbox is written first when flush is set.
func (l *link) close(status ws.StatusCode, flush bool) {
	l.status, l.flush = status, flush
	close(l.stop)
	// This ends a write that is under way. A connection that is closed has none.
	_ = l.conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	l.wg.Wait()
}

// disconnected translates the end of a link into the client's terms.
func disconnected(err error) *Disconnected {
	switch c, ok := errors.AsType[*closeError](err); {
	case ok && c.code == ws.StatusMessageTooBig:
		return &Disconnected{CodeFrameTooLarge, "the server refused a frame as too large"}
	case ok && c.code >= 3000:
		return &Disconnected{uint32(c.code), c.reason}
	case ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return &Disconnected{CodeTransportClosed, "transport closed"}
	}
	if _, ok := errors.AsType[*protocolError](err); ok || errors.Is(err, protocol.ErrMalformed) {
		return &Disconnected{CodeBadProtocol, err.Error()}
	}
	switch {
	case errors.Is(err, errFrameTooLarge):
		return &Disconnected{CodeFrameTooLarge, err.Error()}
	case errors.Is(err, errOutboxFull):
		return &Disconnected{CodeQueueFull, err.Error()}
	}
	return &Disconnected{CodeTransportClosed, "transport closed: " + err.Error()}
}
