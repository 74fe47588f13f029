package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
	"myelin/internal/memnet"
)

// serve puts the door behind a real server in a network in memory and returns
// a connection to it.
func (r *rig) serve(t *testing.T) net.Conn {
	t.Helper()
	l := memnet.Listen(memnet.Options{Buffer: 4 << 10})
	server := &http.Server{Handler: r.door, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	conn, err := l.DialContext(t.Context(), "tcp", "mem")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		serving.Wait()
	})
	return conn
}

const head = "POST /api/history HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s"

// TestSlowBody: a body that does not arrive holds nothing for ever, whether it
// is wanted or not.
func TestSlowBody(t *testing.T) {
	for key, want := range map[string]struct {
		status int
		code   channel.Code
		words  string
	}{
		key:     {http.StatusRequestTimeout, channel.CodeBadRequest, "took longer than 20s"},
		"other": {http.StatusUnauthorized, channel.CodeUnauthorized, "X-API-Key"},
	} {
		bubble(t, func(t *testing.T, r *rig) {
			conn := r.serve(t)
			if _, err := fmt.Fprintf(conn, head, key, 100, `{"channel":`); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			raw, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(raw), "\r\n\r\n")
			wantFailure(t, want.status, body, want.status, want.code, want.words)
			if waited := time.Since(begin); waited > 21*time.Second {
				t.Errorf("the connection ended after %v", waited)
			}
		})
	}
}

// TestSlowCaller: an answer that is not taken is given up, and a pause between
// two requests on one connection is not counted.
func TestSlowCaller(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.call(t, "publish", `{"channel":"a","data":"`+strings.Repeat("x", 60<<10)+`"}`)
		conn := r.serve(t)
		in := bufio.NewReader(conn)
		ask := func(limit int) (int64, error) {
			body := fmt.Sprintf(`{"channel":"a","limit":%d}`, limit)
			if _, err := fmt.Fprintf(conn, head, key, len(body), body); err != nil {
				t.Fatal(err)
			}
			if limit > 0 {
				time.Sleep(time.Minute)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				return 0, err
			}
			n, err := io.Copy(io.Discard, res.Body)
			return n, err
		}
		for range 2 {
			if _, err := ask(0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		n, err := ask(1)
		if err == nil || n > 8<<10 {
			t.Errorf("after a minute %d bytes came, and %v", n, err)
		}
	})
}

// TestInFlight: a request beyond MaxInFlight waits, but not for ever.
func TestInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var working sync.WaitGroup
		var release []func()
		for range api.MaxInFlight {
			body, come := io.Pipe()
			release = append(release, func() { _ = come.Close() })
			working.Go(func() {
				req := httptest.NewRequest(http.MethodPost, "/api/info", body)
				req.Header.Set("X-API-Key", key)
				if status, out := r.send(req); status != http.StatusOK {
					t.Errorf("status %d, %s", status, out)
				}
			})
		}
		synctest.Wait()
		r.fails(t, http.StatusServiceUnavailable, channel.CodeTooManyRequests, "256 requests", "info", "")
		working.Go(func() { r.call(t, "info", "") })
		synctest.Wait()
		for _, done := range release {
			done()
		}
		working.Wait()
	})
}

// TestCallerLeaves: the commands that a caller did not wait for are not begun.
func TestCallerLeaves(t *testing.T) {
	r := newRig(t, hub.Limits{})
	req := request("batch", `{"commands":[{"publish":{"channel":"a","data":1}}]}`)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	status, out := r.send(req.WithContext(ctx))
	if status != http.StatusOK || !strings.Contains(out, `{"error":{"code":111,`) {
		t.Errorf("status %d, %s", status, out)
	}
	if got := r.call(t, "history", `{"channel":"a"}`); !strings.Contains(got, `"offset":0`) {
		t.Errorf("it was done: %s", got)
	}
}
