package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// balancer is one address before several nodes. It sends a new connection to
// one that is ready, in turns, and remembers when each came.
type balancer struct {
	listener net.Listener
	pipes    sync.WaitGroup
	mu       struct {
		sync.Mutex
		ready []string
		turn  int
		came  []time.Time
	}
}

func newBalancer(t *testing.T, addresses []string) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: ln}
	b.serveOnly(addresses)
	b.pipes.Go(b.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		b.pipes.Wait()
	})
	return b
}

func (b *balancer) serveOnly(addresses []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.ready = addresses
}

func (b *balancer) accept() {
	for {
		near, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.mu.turn++
		address := b.mu.ready[b.mu.turn%len(b.mu.ready)]
		b.mu.came = append(b.mu.came, time.Now())
		b.mu.Unlock()
		b.pipes.Go(func() { carry(near, address) })
	}
}

// carry copies both ways until one side ends.
func carry(near net.Conn, address string) {
	far, err := net.Dial("tcp", address)
	if err != nil {
		_ = near.Close()
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}

// peak returns how many connections came in the busiest second since a time,
// and how many in all.
func (b *balancer) peak(since time.Time) (busiest, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := 0
	for i, at := range b.mu.came {
		for b.mu.came[first].Before(since) || at.Sub(b.mu.came[first]) > time.Second {
			if first++; first > i {
				break
			}
		}
		busiest = max(busiest, i-first+1)
		if !at.Before(since) {
			all++
		}
	}
	return busiest, all
}

// follower is a client that holds its channel to consecutive numbers.
type follower struct {
	last, wrong, lost atomic.Int64
	joined            atomic.Bool
}

func (f *follower) start(t *testing.T, url, channel string) {
	t.Helper()
	c, err := client.New(url, client.Options{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Subscribe(channel, client.SubOptions{
		Recover: true,
		OnPublication: func(p client.Publication) {
			n, err := strconv.ParseInt(string(p.Data), 10, 64)
			if last := f.last.Swap(n); err != nil || (last != 0 && n != last+1) {
				f.wrong.Add(1)
			}
		},
		OnSubscribed: func(s client.SubscribedInfo) {
			if s.WasRecovering && !s.Recovered {
				f.lost.Add(1)
			}
			f.joined.Store(true)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestRollingRestart restarts three nodes one after the other while clients
// follow what is published. Nobody misses anything, and those who are sent away
// come back at the pace at which they are sent. MYELIN_ROLLING says how many
// clients, 300 otherwise.
func TestRollingRestart(t *testing.T) {
	const channels, seconds = 20, 6
	clients := 300
	if text := os.Getenv("MYELIN_ROLLING"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		clients = n
	}
	rate := max(clients/2/seconds, 10)
	c := newCluster(t, 3, "--set", fmt.Sprint("drain.rate=", rate), "--set", "drain.timeout=2m", "--set", "limits.connections=100000")
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.main)
	}
	b := newBalancer(t, all)
	followers := make([]*follower, clients)
	var joining sync.WaitGroup
	places := make(chan struct{}, 32)
	for i := range followers {
		followers[i] = new(follower)
		places <- struct{}{}
		joining.Go(func() {
			followers[i].start(t, "ws://"+b.listener.Addr().String()+"/connection/websocket", fmt.Sprint("log:rolling-", i%channels))
			<-places
		})
	}
	joining.Wait()
	eventually(t, "all have subscribed", func() bool {
		for _, f := range followers {
			if !f.joined.Load() {
				return false
			}
		}
		return true
	})

	ctx, stop := context.WithCancel(t.Context())
	published := make(chan int64, 1)
	go func() { published <- publishUntil(ctx, c, channels) }()
	began := time.Now()
	for i, n := range c.nodes {
		b.serveOnly(append(append([]string{}, all[:i]...), all[i+1:]...))
		if err := n.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code, err := n.wait(); code != 0 || err != nil {
			t.Errorf("%s ended with %d, %v", n.name, code, err)
		}
		c.start(n)
		c.serving(n)
		b.serveOnly(all)
	}
	took := time.Since(began)
	stop()
	last := <-published
	eventually(t, "everybody has the last number", func() bool {
		for _, f := range followers {
			if f.last.Load() != last {
				return false
			}
		}
		return true
	})
	var wrong, lost int64
	for _, f := range followers {
		wrong, lost = wrong+f.wrong.Load(), lost+f.lost.Load()
	}
	busiest, back := b.peak(began)
	t.Logf("%d clients, %d publications, three restarts in %v: %d came back, %d in the busiest second, drain.rate %d; %d not recovered, %d numbers wrong",
		clients, last*channels, took.Round(time.Second), back, busiest, rate, lost, wrong)
	if wrong != 0 || lost != 0 {
		t.Errorf("%d numbers were wrong, %d clients were not recovered", wrong, lost)
	}
	// Who is sent away waits up to half a second before he comes, so a second
	// may see what was sent away in one and a half.
	if most := rate*3/2 + 10; busiest > most {
		t.Errorf("%d clients came back in one second, at most %d are sent away", busiest, rate)
	}
}

// publishUntil publishes the same numbers on all channels, one a second on
// each, until ctx ends, and returns the last. A node that does not answer is
// passed over: the id makes the next try safe.
func publishUntil(ctx context.Context, c *cluster, channels int) int64 {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	apis := make([]client.API, len(c.nodes))
	for i, n := range c.nodes {
		apis[i] = n.api()
	}
	for number := int64(1); ; number++ {
		for ch := range channels {
			name := fmt.Sprint("log:rolling-", ch)
			for try := 0; ; try++ {
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				_, err := apis[try%len(apis)].Publish(within, name, strconv.AppendInt(nil, number, 10), client.PublishOptions{IdempotencyKey: fmt.Sprint(name, number)})
				cancel()
				if err == nil {
					break
				}
				if try > 100 {
					return -1
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return number
		}
	}
}
