// Package meshtest makes clusters of embedded servers within one process, for
// the tests of rooms that live on them.
//
// # Nouns
//
// A [Cluster] is a few networks that find each other by loopback. Between each
// two of them is a relay, so that a node can be killed, or cut off one way or
// both, while the process goes on.
//
// # Promises
//
// Everything ends with the test. A node that is killed is gone for the others
// at once and without a word, and has no chance to hand anything over; what it
// had written to its directory is there when it is restarted. It is not the
// kill of a process: what waits in memory is still written.
package meshtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"myelin/mesh"
)

// Patience is how long a cluster may take to form, or a node to close.
const Patience = 60 * time.Second

// Secret is what the nodes of all clusters know.
const Secret = "a secret that only tests have"

// Cluster is a few nodes in one process.
type Cluster struct {
	tb      testing.TB
	options []mesh.Options
	nodes   []*mesh.Network
	// relays carry what node i dials at node j.
	relays [][]*Relay
}

// New starts n nodes, called "a", "b" and so on, all with storage, and waits
// until they have a quorum. change, where it is not nil, may change the options
// of each node.
func New(tb testing.TB, n int, change func(i int, o *mesh.Options)) *Cluster {
	tb.Helper()
	c := Prepare(tb, n, change)
	for i := range n {
		if err := c.Open(i); err != nil {
			tb.Fatalf("node %d: %v", i, err)
		}
	}
	c.Ready()
	return c
}

// Prepare is New without the start.
func Prepare(tb testing.TB, n int, change func(i int, o *mesh.Options)) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, options: make([]mesh.Options, n), nodes: make([]*mesh.Network, n), relays: make([][]*Relay, n)}
	listeners := make([]string, n)
	for i := range n {
		listeners[i] = FreeAddress(tb)
	}
	for i := range n {
		o := &c.options[i]
		*o = Options(tb, string(rune('a'+i)))
		o.Listen, o.Cluster, o.Secret, o.StorageNodes = listeners[i], "test", Secret, n
		// What peers tell each other leads nowhere: the relays are the only way.
		o.Advertise = fmt.Sprintf("127.0.0.1:%d", i+1)
		o.Peers = []string{o.Listen}
		c.relays[i] = make([]*Relay, n)
		for j := range n {
			if i == j {
				continue
			}
			c.relays[i][j] = NewRelay(tb, listeners[j])
			o.Peers = append(o.Peers, c.relays[i][j].Addr())
		}
		if change != nil {
			change(i, o)
		}
	}
	tb.Cleanup(c.close)
	return c
}

// Options returns the options of a node alone.
func Options(tb testing.TB, node string) mesh.Options {
	tb.Helper()
	return mesh.Options{
		Node: node, StorePath: tb.TempDir(), Storage: true,
		MaxMemory: 256 << 20, MaxStore: 1 << 30,
		Logger: slog.New(slog.NewTextHandler(Log(tb), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// Log returns a writer to the log of the test that may be used after its end.
func Log(tb testing.TB) io.Writer { return &testLog{tb} }

type testLog struct{ tb testing.TB }

// Write logs while the test runs.
func (l *testLog) Write(b []byte) (int, error) {
	if l.tb.Context().Err() == nil {
		l.tb.Log(strings.TrimRight(string(b), "\n"))
	}
	return len(b), nil
}

// FreeAddress returns an address of this machine that nobody listens on now. It
// is one of the many that loopback has, so that nobody takes it before it is
// used, or while a node is down.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		address := fmt.Sprintf("127.%d.%d.%d:%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254), 10_000+rand.IntN(20_000))
		l, err := net.Listen("tcp", address) //nolint:noctx // it is bound at once
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	tb.Fatal("there is no free address on loopback")
	return ""
}

// Open starts a node that does not run.
func (c *Cluster) Open(i int) error {
	if c.nodes[i] != nil {
		return errors.New("the node runs already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	n, err := mesh.Open(ctx, c.options[i])
	if err != nil {
		return err
	}
	c.nodes[i] = n
	return nil
}

// Node returns a node; nil for one that does not run.
func (c *Cluster) Node(i int) *mesh.Network { return c.nodes[i] }

// Nodes returns all nodes; nil stands for those that do not run.
func (c *Cluster) Nodes() []*mesh.Network { return c.nodes }

// Ready waits until all nodes that run have a quorum.
func (c *Cluster) Ready() {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		if err := n.Ready(ctx); err != nil {
			c.tb.Fatalf("node %d: %v", i, err)
		}
	}
}

// Kill ends a node so that the others hear nothing of it any more.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	c.link(i, func(r *Relay) { r.Kill(true) })
	c.Stop(i)
}

// Stop closes a node. What it leads it keeps until it is gone.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	n := c.nodes[i]
	if n == nil {
		return
	}
	c.nodes[i] = nil
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		c.tb.Errorf("node %d: %v", i, err)
	}
}

// Restart starts a node again after Kill or Stop, with what it left behind.
func (c *Cluster) Restart(i int) *mesh.Network {
	c.tb.Helper()
	c.link(i, func(r *Relay) { r.Kill(false) })
	if err := c.Open(i); err != nil {
		c.tb.Fatalf("node %d: %v", i, err)
	}
	return c.nodes[i]
}

// Isolate cuts a node off from all others, both ways. What is sent waits.
func (c *Cluster) Isolate(i int) {
	for j := range c.nodes {
		c.Cut(i, j)
		c.Cut(j, i)
	}
}

// Rejoin ends Isolate, and every Cut that a node is part of.
func (c *Cluster) Rejoin(i int) {
	for j := range c.nodes {
		c.Heal(i, j)
		c.Heal(j, i)
	}
}

// Cut lets nothing through from one node to another. What is sent waits.
func (c *Cluster) Cut(from, to int) { c.hold(from, to, true) }

// Heal ends Cut.
func (c *Cluster) Heal(from, to int) { c.hold(from, to, false) }

func (c *Cluster) hold(from, to int, held bool) {
	if from == to {
		return
	}
	c.relays[from][to].Hold(true, held)
	c.relays[to][from].Hold(false, held)
}

// link does something to all relays from and to a node.
func (c *Cluster) link(i int, do func(*Relay)) {
	for j := range c.nodes {
		if i != j {
			do(c.relays[i][j])
			do(c.relays[j][i])
		}
	}
}

func (c *Cluster) close() {
	// Nodes that wait for each other must not wait for a relay.
	for i := range c.nodes {
		c.Rejoin(i)
	}
	for i := range c.nodes {
		c.Stop(i)
	}
}
