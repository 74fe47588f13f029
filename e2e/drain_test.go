package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// goodbyes notes how and when clients were sent away.
type goodbyes struct {
	mu struct {
		sync.Mutex
		at    []time.Time
		codes map[uint32]int
	}
}

func (g *goodbyes) note(code uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.at = append(g.mu.at, time.Now())
	g.mu.codes[code]++
}

func (g *goodbyes) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.mu.at)
}

// newGoodbyes returns an empty note.
func newGoodbyes() *goodbyes {
	g := new(goodbyes)
	g.mu.codes = map[uint32]int{}
	return g
}

// connect connects a client that comes back too late to matter.
func (g *goodbyes) connect(t *testing.T, url string, trust *tls.Config) {
	t.Helper()
	c, err := client.New(url, client.Options{
		MinBackoff: time.Hour, MaxBackoff: time.Hour, TLS: trust,
		Handlers: client.Handlers{OnConnecting: func(code uint32, _ string) {
			if code != client.CodeCalled {
				g.note(code)
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
}

// crowd connects n clients.
func crowd(t *testing.T, server *process, n int) *goodbyes {
	t.Helper()
	g := newGoodbyes()
	for range n {
		g.connect(t, server.ws(), nil)
	}
	return g
}

func status(t testing.TB, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestDrainIsPaced stops a server that 200 clients are connected to: it says
// that it is not ready while it still serves, sends them away at drain.rate
// with a code that makes them come back, and ends well.
func TestDrainIsPaced(t *testing.T) {
	t.Parallel()
	const clients, rate = 200, 100
	server := serve(t, "", "--dev", "--set", "drain.grace=3s", "--set", fmt.Sprintf("drain.rate=%d", rate))
	gone := crowd(t, server, clients)
	if code := status(t, server.adminHTTP("/health/ready")); code != http.StatusOK {
		t.Fatalf("before, it is ready with %d", code)
	}
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not ready", func() bool {
		return status(t, server.adminHTTP("/health/ready")) == http.StatusServiceUnavailable
	})
	if code := status(t, server.adminHTTP("/health/live")); code != http.StatusOK {
		t.Errorf("in grace it is alive with %d", code)
	}
	// Whoever has not noticed yet is still served.
	late := crowd(t, server, 1)
	if n := gone.count(); n > 0 {
		t.Errorf("in grace %d clients are gone", n)
	}
	code, err := server.wait()
	if err != nil || code != 0 {
		t.Errorf("it ended with %d (%v)", code, err)
	}
	eventually(t, "every client knows", func() bool { return gone.count()+late.count() == clients+1 })

	gone.mu.Lock()
	defer gone.mu.Unlock()
	if len(gone.mu.codes) != 1 || gone.mu.codes[3001] != clients {
		t.Errorf("clients were sent away with %v, want 3001 for all", gone.mu.codes)
	}
	first, last := slices.MinFunc(gone.mu.at, time.Time.Compare), slices.MaxFunc(gone.mu.at, time.Time.Compare)
	if took, least := last.Sub(first), clients/rate*time.Second*3/4; took < least {
		t.Errorf("%d clients were sent away within %v, want at least %v at %d a second", clients, took, least, rate)
	}
}

// TestDrainThroughEveryDoor tells clients of all sorts that they should come
// back, and ends although their connections do not end by themselves.
func TestDrainThroughEveryDoor(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	server := serve(t, openConfig, cert.flags()...)
	var streams []*stream
	for _, major := range []int{1, 2} {
		w := newWay(t, server.main, cert.trust(), major)
		streams = append(streams,
			w.stream(http.MethodGet, "/connection/uni_sse?channel=a", ""),
			w.stream(http.MethodGet, "/connection/uni_http_stream?channel=a", ""),
			w.stream(http.MethodPost, "/connection/http_stream", `{"id":1,"connect":{}}`))
	}
	for _, s := range streams {
		s.until(`"connect":`)
	}
	g := newGoodbyes()
	g.connect(t, "wss://"+server.main+"/connection/websocket", cert.trust())
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		if line := s.until(`"disconnect":`); !strings.Contains(line, `"code":3001`) {
			t.Errorf("%s is sent away with %s", s.resp.Request.URL.Path, line)
		}
		if s.lines.Scan() && s.lines.Text() != "" || s.lines.Err() != nil {
			t.Errorf("%s goes on with %q, %v", s.resp.Request.URL.Path, s.lines.Text(), s.lines.Err())
		}
	}
	if code, err := server.wait(); err != nil || code != 0 {
		t.Errorf("it ended with %d (%v)", code, err)
	}
	eventually(t, "the WebSocket knows", func() bool { return g.count() == 1 })
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.codes[3001] != 1 {
		t.Errorf("the WebSocket is sent away with %v", g.mu.codes)
	}
}

// TestSecondSignalEndsAtOnce does not wait for a drain of minutes.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev", "--set", "drain.rate=1", "--set", "drain.timeout=1h")
	gone := crowd(t, server, 200)
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drain has begun", func() bool { return gone.count() > 0 })
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, err := server.wait()
	if err != nil || code != -1 {
		t.Errorf("it ended with %d (%v), want by the signal", code, err)
	}
}

// TestDrainHasAnEnd closes at once what drain.timeout leaves, and says so.
func TestDrainHasAnEnd(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev", "--set", "drain.rate=1", "--set", "drain.timeout=1s")
	gone := crowd(t, server, 20)
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, err := server.wait()
	const says = "clients were left after drain.timeout (1s) and were closed at once; drain.rate is 1 per second"
	if err != nil || code != 1 || !strings.Contains(server.out.String(), says) {
		t.Errorf("it ended with %d (%v), want 1 and %q", code, err, says)
	}
	eventually(t, "every client knows", func() bool { return gone.count() == 20 })
}
