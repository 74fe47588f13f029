package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"myelin/internal/memnet"
)

// pipe returns both ends of a connection that holds size bytes each way, to be
// closed with the test.
func pipe(t *testing.T, size int) (*memnet.Conn, *memnet.Conn) {
	t.Helper()
	a, b := memnet.Pipe(memnet.Options{Buffer: size})
	t.Cleanup(func() {
		for _, c := range []*memnet.Conn{a, b} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return a, b
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := io.WriteString(c, text); err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func TestWritesDoNotWaitForReads(t *testing.T) {
	a, b := pipe(t, 8)
	write(t, a, "ab")
	write(t, a, "cd")
	write(t, b, "back")
	if n := a.Buffered(); n != 4 {
		t.Errorf("Buffered is %d, want 4", n)
	}
	read(t, b, "abcd")
	read(t, a, "back")
	if n := a.Buffered(); n != 0 {
		t.Errorf("Buffered is %d, want 0", n)
	}
}

func TestAFullStreamHoldsTheWriterBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		wrote := false
		go func() {
			write(t, a, "0123456789")
			wrote = true
		}()
		synctest.Wait()
		if n := a.Buffered(); wrote || n != 4 {
			t.Errorf("wrote: %v, %d bytes in a stream of 4", wrote, n)
		}
		read(t, b, "012345")
		synctest.Wait()
		if !wrote {
			t.Error("the writer still waits although there is room")
		}
		read(t, b, "6789")
	})
}

func TestCloseEndsBothDirections(t *testing.T) {
	a, b := pipe(t, 64)
	write(t, a, "last words")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	read(t, b, "last words")
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // readers compare with ==, so it must be io.EOF itself
		t.Errorf("read after the peer closed: %d, %v, want io.EOF itself", n, err)
	}
	_, err := b.Write([]byte("x"))
	expectError(t, err, syscall.EPIPE)
	_, err = a.Write([]byte("x"))
	expectError(t, err, net.ErrClosed)
	_, err = a.Read(make([]byte, 1))
	expectError(t, err, net.ErrClosed)
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, err = a.Write([]byte("x"))
	expectError(t, err, net.ErrClosed)
}

func TestCloseWriteEndsOneDirection(t *testing.T) {
	a, b := pipe(t, 64)
	write(t, a, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
		t.Fatalf("read %q, %v", got, err)
	}
	_, err := a.Write([]byte("x"))
	expectError(t, err, syscall.EPIPE)
	write(t, b, "answer")
	read(t, a, "answer")
}

func TestCloseWakesThoseWhoWait(t *testing.T) {
	for _, side := range []string{"own", "peer"} {
		t.Run(side, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t, 4)
				var readErr, writeErr error
				go func() { _, readErr = a.Read(make([]byte, 1)) }()
				go func() { _, writeErr = a.Write([]byte("too much for it")) }()
				synctest.Wait()
				closer, wantRead, wantWrite := a, net.ErrClosed, net.ErrClosed
				if side == "peer" {
					closer, wantRead, wantWrite = b, io.EOF, error(syscall.EPIPE)
				}
				if err := closer.Close(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if !errors.Is(readErr, wantRead) || !errors.Is(writeErr, wantWrite) {
					t.Errorf("read: %v, write: %v, want %v and %v", readErr, writeErr, wantRead, wantWrite)
				}
			})
		})
	}
}

func expectError(t *testing.T, err, want error) {
	t.Helper()
	if op := (*net.OpError)(nil); !errors.As(err, &op) || !errors.Is(err, want) {
		t.Errorf("error is %v, want a *net.OpError around %v", err, want)
	}
}

func expectTimeout(t *testing.T, err error) {
	t.Helper()
	expectError(t, err, os.ErrDeadlineExceeded)
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v does not say Timeout", err)
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		set := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		set(a.SetDeadline(begin.Add(time.Hour)))
		_, err := a.Read(make([]byte, 1))
		expectTimeout(t, err)
		n, err := a.Write([]byte("0123456"))
		expectTimeout(t, err)
		if n != 0 || time.Since(begin) != time.Hour {
			t.Errorf("%v later, %d bytes written", time.Since(begin), n)
		}

		// A deadline in the future makes the connection work again.
		set(a.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err = a.Write([]byte("0123456"))
		expectTimeout(t, err)
		if n != 4 {
			t.Errorf("a write that ran out of time wrote %d bytes of 4 that fit", n)
		}

		// It may be moved while a call waits; the last one counts.
		set(b.SetReadDeadline(time.Time{}))
		read(t, b, "0123")
		begin = time.Now()
		done := make(chan error)
		set(b.SetReadDeadline(begin.Add(time.Minute)))
		go func() {
			_, err := b.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		set(b.SetReadDeadline(begin.Add(3 * time.Minute)))
		expectTimeout(t, <-done)
		if waited := time.Since(begin); waited != 3*time.Minute {
			t.Errorf("waited %v, want 3m", waited)
		}
		set(b.SetReadDeadline(time.Now().Add(-1)))
		_, err = b.Read(make([]byte, 1))
		expectTimeout(t, err)
	})
}

func TestBytesArriveInOrderUnderLoad(t *testing.T) {
	a, b := pipe(t, 1000)
	sent := bytes.Repeat([]byte("in order, each of them once; "), 10_000)
	var wg sync.WaitGroup
	for _, end := range []*memnet.Conn{a, b} {
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				n, err := end.Write(rest[:min(len(rest), 1+rand.IntN(3000))])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		wg.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(end, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("what arrived differs: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen(memnet.Options{})
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(c, c); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		c, err := l.DialContext(t.Context(), "tcp", "anywhere:80")
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, "hello")
		read(t, c, "hello")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().Network() + c.LocalAddr().String() + c.RemoteAddr().String(); !strings.Contains(got, "mem") {
			t.Errorf("addresses %q", got)
		}
	})
}

func TestADialThatIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen(memnet.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := l.Dial(ctx)
		expectError(t, err, context.DeadlineExceeded)

		refused := make(chan error)
		go func() {
			_, err := l.Dial(t.Context())
			refused <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		expectError(t, <-refused, syscall.ECONNREFUSED)
		_, err = l.Dial(t.Context())
		expectError(t, err, syscall.ECONNREFUSED)
		_, err = l.Accept()
		expectError(t, err, net.ErrClosed)
	})
}
