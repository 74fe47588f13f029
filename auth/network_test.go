package auth_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
)

// The verifier's own HTTP client, over real sockets.
func TestFetchOverTheNetwork(t *testing.T) {
	a := newPublishedKey(t, "a")
	body := keySetBody(t, a.public)
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); !strings.Contains(accept, "application/json") {
			t.Errorf("Accept is %q", accept)
		}
		_, _ = io.WriteString(w, body)
	})
	mux.Handle("/moved", http.RedirectHandler("/keys", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	plain := httptest.NewServer(mux)
	defer plain.Close()
	tls := httptest.NewUnstartedServer(http.RedirectHandler(plain.URL+"/keys", http.StatusFound))
	tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tls.StartTLS()
	defer tls.Close()

	for _, c := range []struct {
		url    string
		client *http.Client
		say    string
	}{
		{plain.URL + "/keys", nil, "loaded"},
		{plain.URL + "/moved", nil, "loaded"},
		{plain.URL + "/loop", nil, "more than 3 redirects"},
		{plain.URL + "/gone", nil, "status 404"},
		{tls.URL, nil, "certificate"},
		{tls.URL, tls.Client(), "a redirect leads from https to http"},
	} {
		happened := make(chan string, 16)
		v := newVerifier(t, auth.Options{JWKSURL: c.url, HTTPClient: c.client, Logger: slog.New(events{happened})})
		got := <-happened
		if !strings.Contains(got, c.say) {
			t.Errorf("%s: %q, want %q", c.url, got, c.say)
		}
		if c.say == "loaded" {
			accepted(t, v, a.token(t))
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

// events passes on what the log says became of each fetch: "loaded", or what
// went wrong.
type events struct{ to chan string }

func (e events) Enabled(context.Context, slog.Level) bool { return true }
func (e events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e events) WithGroup(string) slog.Handler            { return e }

func (e events) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "key set loaded" {
		e.to <- "loaded"
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			e.to <- a.Value.String()
		}
		return true
	})
	return nil
}

// A publisher that sends its answer one byte a second, over a real HTTP
// connection: it is given up, nobody waits for it, and once it has recovered
// its keys are used.
func TestTricklingKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPublishedKey(t, "a")
		body := keySetBody(t, a.public)
		var fetches, givenUp atomic.Int64
		var healthy atomic.Bool
		listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fetches.Add(1)
			if healthy.Load() {
				_, _ = io.WriteString(w, body)
				return
			}
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
			givenUp.Add(1)
		})}
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(listener) })
		transport := &http.Transport{DialContext: listener.dial}
		v := newVerifier(t, auth.Options{JWKSURL: "http://keys.example/", HTTPClient: &http.Client{Transport: transport}})
		synctest.Wait()
		isUnavailable(t, v, a.token(t))
		if fetches.Load() != 1 {
			t.Errorf("%d fetches, want 1", fetches.Load())
		}
		time.Sleep(13 * time.Second)
		if givenUp.Load() != 1 || fetches.Load() != 2 {
			t.Errorf("%d of %d fetches were given up, want 1 of 2", givenUp.Load(), fetches.Load())
		}
		healthy.Store(true)
		time.Sleep(14 * time.Second)
		accepted(t, v, a.token(t))
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		_ = server.Close()
		served.Wait()
	})
}

// pipeListener is a network of one host, in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.IPAddr{} }
