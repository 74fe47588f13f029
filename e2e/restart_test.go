package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// herd is many clients of a cluster, which go to the next node that takes them.
type herd struct {
	// addresses are those of the nodes, which they keep.
	addresses []string
	turn      atomic.Int64
	// up is how many are connected, unrecovered how often one could not
	// recover, wrong how many publications came twice, not in order or never.
	up, unrecovered, wrong atomic.Int64
	// last is the number of the newest publication that each has.
	last []atomic.Int64

	mu struct {
		sync.Mutex
		// dials are when a node was reached to connect again, lost when they
		// were sent away, comebacks how long each took.
		dials, lost []time.Time
		comebacks   []time.Duration
	}
}

// dial connects to the next node. again: it is not for the first time.
func (h *herd) dial(ctx context.Context, again bool) (net.Conn, error) {
	at := h.addresses[int(h.turn.Add(1))%len(h.addresses)]
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err == nil && again {
		h.mu.Lock()
		h.mu.dials = append(h.mu.dials, time.Now())
		h.mu.Unlock()
	}
	return conn, err
}

// join connects client i and has it follow a channel.
func (h *herd) join(t *testing.T, i int, channel string) {
	t.Helper()
	var lost time.Time
	var connected atomic.Bool
	c, err := client.New("ws://cluster.test/connection/websocket", client.Options{
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return h.dial(ctx, connected.Load()) },
		Handlers: client.Handlers{
			OnConnecting: func(code uint32, _ string) {
				if code == client.CodeCalled {
					return
				}
				h.up.Add(-1)
				lost = time.Now()
				h.mu.Lock()
				h.mu.lost = append(h.mu.lost, lost)
				h.mu.Unlock()
			},
			OnConnected: func(client.ConnectedInfo) {
				h.up.Add(1)
				if connected.Load() {
					h.mu.Lock()
					h.mu.comebacks = append(h.mu.comebacks, time.Since(lost))
					h.mu.Unlock()
				}
			},
		},
	})
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = c.Close() })
	subscribed := make(chan struct{}, 100)
	_, err = c.Subscribe(channel, client.SubOptions{
		Recover: true,
		OnSubscribed: func(s client.SubscribedInfo) {
			if s.WasRecovering && !s.Recovered {
				h.unrecovered.Add(1)
			}
			select {
			case subscribed <- struct{}{}:
			default:
			}
		},
		OnPublication: func(p client.Publication) {
			number, err := strconv.ParseInt(string(p.Data), 10, 64)
			if err != nil || number != h.last[i].Add(1) {
				h.wrong.Add(1)
				h.last[i].Store(number)
			}
		},
	})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Errorf("client %d: %v", i, err)
		return
	}
	wait(t, subscribed, "subscription")
	connected.Store(true)
}

// feed publishes numbers on all channels until ctx ends, at whatever node takes
// them, and returns the last.
func (h *herd) feed(ctx context.Context, t *testing.T, channels []string) int64 {
	number := int64(0)
	for ctx.Err() == nil {
		number++
		for _, channel := range channels {
			key := client.PublishOptions{IdempotencyKey: fmt.Sprint(channel, number)}
			began := time.Now()
			for turn := number; ; turn++ {
				at := client.API{URL: "http://" + h.addresses[turn%int64(len(h.addresses))] + "/api"}
				one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				_, err := at.Publish(one, channel, strconv.AppendInt(nil, number, 10), key)
				cancel()
				if err == nil {
					break
				}
				if time.Since(began) > patience {
					t.Errorf("nobody takes a publication: %v", err)
					return number
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return number
}

// TestRollingRestart restarts three nodes one after the other while clients
// follow channels: they come back no faster than drain.rate, and miss nothing.
// The bound is as good as certain: the server leaves five deviations and more of
// the clients' random delays between its pace and the rate (hub.DrainPause), and
// where this process, with all its clients, is late to see what happens, a
// metronome is as late and says so.
// MYELIN_RESTART_CLIENTS and MYELIN_RESTART_RATE make it larger; its last line
// is a row of docs/drain.md.
func TestRollingRestart(t *testing.T) {
	clients, rate := number("MYELIN_RESTART_CLIENTS", 600), number("MYELIN_RESTART_RATE", 150)
	c := newCluster(t, 3, "--set", fmt.Sprintf("drain.rate=%d", rate), "--set", "drain.timeout=2m", "--set", "limits.connections=30000")
	h := &herd{last: make([]atomic.Int64, clients)}
	for _, n := range c.nodes {
		h.addresses = append(h.addresses, n.main)
	}
	channels := make([]string, 20)
	for i := range channels {
		channels[i] = fmt.Sprintf("log:herd%d", i)
	}
	var joining sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range clients {
		slots <- struct{}{}
		joining.Go(func() {
			defer func() { <-slots }()
			h.join(t, i, channels[i%len(channels)])
		})
	}
	joining.Wait()
	if t.Failed() {
		return
	}
	ctx, stop := context.WithCancel(t.Context())
	beat := newMetronome(ctx)
	fed := make(chan int64, 1)
	go func() { fed <- h.feed(ctx, t, channels) }()
	began := time.Now()
	for _, n := range c.nodes {
		if err := n.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code, err := n.wait(); code != 0 || err != nil {
			t.Errorf("%s ended with %d (%v)", n.name, code, err)
		}
		c.start(n)
		c.serving(n)
		eventually(t, "all clients are back", func() bool { return h.up.Load() == int64(clients) })
	}
	took := time.Since(began)
	stop()
	last := <-fed
	beat.wait()
	eventually(t, "all have all", func() bool {
		for i := range h.last {
			if h.last[i].Load() != last {
				return false
			}
		}
		return true
	})
	h.report(t, beat, clients, rate, last, took)
}

// report holds what was measured to what is promised.
func (h *herd) report(t *testing.T, beat *metronome, clients, rate int, last int64, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone, dials := beat.peak(h.mu.lost), beat.peak(h.mu.dials)
	slices.Sort(h.mu.comebacks)
	if len(h.mu.comebacks) < clients {
		t.Errorf("only %d of %d clients were sent away", len(h.mu.comebacks), clients)
		return
	}
	p := func(q float64) time.Duration {
		return h.mu.comebacks[int(q*float64(len(h.mu.comebacks)-1))].Round(time.Millisecond)
	}
	if dials > rate || gone > rate {
		t.Errorf("%d clients were sent away and %d came back within a second, drain.rate is %d", gone, dials, rate)
	}
	if n := h.wrong.Load() + h.unrecovered.Load(); n > 0 {
		t.Errorf("%d publications were lost, came twice or not in order; %d times nothing could be recovered", h.wrong.Load(), h.unrecovered.Load())
	}
	t.Logf("this process was held up for %v at most", beat.worst().Round(time.Millisecond))
	t.Logf("| %d | %d/s | %d | %d/s | %d/s | %v | %v | %d | %d | %v |", clients, rate, len(h.mu.comebacks), gone, dials,
		p(0.5), p(0.99), last*int64(clients), h.wrong.Load()+h.unrecovered.Load(), took.Round(time.Second))
}

// number returns a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
