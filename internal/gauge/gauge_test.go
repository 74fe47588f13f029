package gauge_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"myelin/internal/gauge"
)

func TestBudget(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		rate           uint64
		shortest, trip time.Duration
		least, most    int
	}{
		{0, 0, 0, 16 << 10, 16 << 10},                   // nothing is known
		{250_000, 1 * ms, 20 * ms, 10_000, 10_500},      // 2 Mbit/s
		{250_000, 1 * ms, 400 * ms, 5_000, 5_300},       // where something queues
		{250_000, 100 * ms, 110 * ms, 34_900, 35_100},   // far away
		{1000, 10 * ms, 10 * ms, 4 << 10, 4 << 10},      // never too little to learn from
		{1 << 40, 100 * ms, 100 * ms, 1 << 20, 1 << 20}, // as good as no bound
	} {
		if n := gauge.Budget(c.rate, c.shortest, c.trip); n < c.least || n > c.most {
			t.Errorf("%d B/s, %v, %v: %d", c.rate, c.shortest, c.trip, n)
		}
	}
}

func TestRoom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, _ := out.(*net.TCPConn)
	g := gauge.New(tcp)
	if n := g.Room(); n <= 0 {
		t.Errorf("a new connection has room for %d", n)
	}
	_ = out.Close()
	if n := g.Room(); n <= 0 {
		t.Errorf("a closed connection has room for %d: nobody would write to it and find out", n)
	}
}

// Who serves requests finds the connection that each came by, behind TLS and
// over HTTP/2 too.
func TestOfRequests(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, version := range []int{1, 2} {
			p := new(http.Protocols)
			p.SetHTTP1(version == 1)
			p.SetHTTP2(version == 2)
			p.SetUnencryptedHTTP2(version == 2)
			found := make(chan *gauge.Gauge, 1)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != version {
					t.Errorf("HTTP/%d came as %s", version, r.Proto)
				}
				found <- gauge.Of(r.Context())
			}))
			s.EnableHTTP2 = version == 2
			s.Config.Protocols, s.Config.ConnContext = p, gauge.Remember
			if secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			c := s.Client()
			tr, _ := c.Transport.(*http.Transport)
			tr.Protocols = p
			resp, err := c.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if g := <-found; g == nil || g.Room() < 1 {
				t.Errorf("HTTP/%d, TLS %v: a request's connection has no gauge with room: %v", version, secure, g)
			}
			s.Close()
		}
	}
}

// Where no connection is known a little may be held, and nothing breaks.
func TestUnknown(t *testing.T) {
	a, b := net.Pipe()
	_, _ = a.Close(), b.Close()
	for _, g := range []*gauge.Gauge{gauge.Of(t.Context()), gauge.Of(gauge.Remember(t.Context(), a)), gauge.Below(a)} {
		if g != nil || g.Room() != 4<<10 {
			t.Errorf("%v has room for %d", g, g.Room())
		}
	}
}
