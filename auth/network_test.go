package auth_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"myelin/auth"
)

// The verifier's own HTTP client, over real sockets.
func TestFetchOverTheNetwork(t *testing.T) {
	a := newPublishedKey(t, "a")
	body := keySetBody(t, a.public)
	loaded := make(chan struct{}, 16)
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

	watch := slog.New(watcher{loaded})
	for path, say := range map[string]string{
		plain.URL + "/loop": "more than 3 redirects",
		plain.URL + "/gone": "status 404",
		tls.URL:             "certificate",
	} {
		failed := make(chan string, 16)
		v := newVerifier(t, auth.Options{JWKSURL: path, Logger: slog.New(failures{failed})})
		if got := <-failed; !strings.Contains(got, say) {
			t.Errorf("%s failed with %q, want %q", path, got, say)
		}
		_ = v.Close()
	}
	failed := make(chan string, 16)
	v := newVerifier(t, auth.Options{JWKSURL: tls.URL, HTTPClient: tls.Client(), Logger: slog.New(failures{failed})})
	if got := <-failed; !strings.Contains(got, "redirect leads from https to http") {
		t.Errorf("a redirect out of TLS failed with %q", got)
	}
	_ = v.Close()
	for _, path := range []string{"/keys", "/moved"} {
		v := newVerifier(t, auth.Options{JWKSURL: plain.URL + path, Logger: watch})
		<-loaded
		accepted(t, v, a.token(t))
		_ = v.Close()
	}
}

// failures passes on what the log says went wrong.
type failures struct{ to chan string }

func (f failures) Enabled(context.Context, slog.Level) bool { return true }
func (f failures) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f failures) WithGroup(string) slog.Handler            { return f }

func (f failures) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			f.to <- a.Value.String()
		}
		return true
	})
	return nil
}

// watcher says when a key set has been loaded.
type watcher struct{ to chan struct{} }

func (w watcher) Enabled(context.Context, slog.Level) bool { return true }
func (w watcher) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w watcher) WithGroup(string) slog.Handler            { return w }

func (w watcher) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "key set loaded" {
		w.to <- struct{}{}
	}
	return nil
}
