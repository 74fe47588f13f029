package gauge_test

import (
	"net"
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
