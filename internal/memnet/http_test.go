package memnet_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"myelin/internal/memnet"
)

// A day of server-sent lines over net/http, in virtual time: what this package
// is for.
func TestHTTPInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lines = 24 * 60
		l := memnet.Listen(memnet.Options{})
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			flusher := http.NewResponseController(w)
			for i := range lines {
				time.Sleep(time.Minute)
				if _, err := fmt.Fprintln(w, i); err != nil {
					t.Error(err)
				}
				if err := flusher.Flush(); err != nil {
					t.Error(err)
				}
			}
		})}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		transport := &http.Transport{DialContext: l.DialContext}

		begin := time.Now()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mem/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got := string(body[len(body)-5:]); got != "1439\n" || time.Since(begin) != 24*time.Hour {
			t.Errorf("the last line is %q, %v after the start", got, time.Since(begin))
		}

		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
