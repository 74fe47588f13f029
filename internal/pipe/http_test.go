package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"myelin/internal/memnet"
	"myelin/internal/pipe"
)

// recorder is a response writer that notes what is asked of it.
type recorder struct {
	calls    []string
	body     bytes.Buffer
	failing  string // this call returns an error
	deadline time.Time
	naked    bool // no deadline stood when bytes were to leave
}

func (r *recorder) note(call string) error {
	r.calls = append(r.calls, call)
	if call == r.failing {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (r *recorder) Header() http.Header { return http.Header{} }
func (r *recorder) WriteHeader(int)     {}

func (r *recorder) Write(b []byte) (int, error) {
	r.naked = r.naked || r.deadline.IsZero()
	if err := r.note("write"); err != nil {
		return 0, err
	}
	return r.body.Write(b)
}

func (r *recorder) FlushError() error {
	r.naked = r.naked || r.deadline.IsZero()
	return r.note("flush")
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	r.deadline = t
	if t.IsZero() {
		return r.note("clear")
	}
	return r.note("deadline")
}

func TestCopyFlushesUnderADeadline(t *testing.T) {
	p := pipe.New(100, room(100))
	write(t, p, "hello", 5)
	p.Close()
	var r recorder
	if err := p.Copy(t.Context(), &r, time.Second); err != nil {
		t.Fatal(err)
	}
	want := []string{"deadline", "flush", "clear", "deadline", "write", "flush", "clear"}
	if !slices.Equal(r.calls, want) || r.body.String() != "hello" {
		t.Errorf("calls %v, body %q", r.calls, r.body.String())
	}
	if r.naked {
		t.Error("bytes were sent without a deadline: a client that takes none would hold the handler for ever")
	}
}

func TestCopyEndsWithTheClient(t *testing.T) {
	for _, failing := range []string{"deadline", "write", "flush", "clear"} {
		p := pipe.New(100, room(100))
		write(t, p, "hello", 5)
		r := recorder{failing: failing}
		if err := p.Copy(t.Context(), &r, time.Second); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s fails: Copy returned %v", failing, err)
		}
	}
}

// plain is a response writer that can flush and nothing else.
type plain struct{ bytes.Buffer }

func (*plain) Header() http.Header { return http.Header{} }
func (*plain) WriteHeader(int)     {}
func (*plain) Flush()              {}

func TestCopyNeedsNoDeadlines(t *testing.T) {
	p := pipe.New(100, room(100))
	write(t, p, "hello", 5)
	p.Close()
	var w plain
	if err := p.Copy(t.Context(), &w, time.Second); err != nil || w.String() != "hello" {
		t.Errorf("Copy: %v, body %q", err, w.String())
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pipe.New(100, room(100)).Copy(ctx, &recorder{}, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("Copy returned %v", err)
	}
}

// A client that stops reading is left after the timeout, in virtual time.
func TestCopyLeavesAClientThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen(memnet.Options{Buffer: 1 << 10})
		p := pipe.New(16<<10, room(100))
		ended := make(chan error, 1)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ended <- p.Copy(r.Context(), w, 10*time.Second)
		})}
		go func() { _ = server.Serve(l) }()
		conn, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if n, err := p.WriteNow(make([]byte, 16<<10)); n != 16<<10 || err != nil {
			t.Fatal(n, err)
		}
		if err := <-ended; err == nil {
			t.Error("Copy returned nil although the client took nothing")
		}
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("it waited %v", waited)
		}
		_ = conn.Close()
		_ = server.Close()
	})
}
