//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myelin/e2e/faults/history"
)

// clusterSize is how many nodes there are.
const clusterSize = 3

// clusterConfig configures one of three nodes. %[1]s is its name, then the
// addresses of its listeners, the one for the others, its peers and its data.
const clusterConfig = `
node: %[1]s
listen: %[2]s
admin: {listen: %[3]s}
cluster:
  listen: %[4]s
  advertise: %[5]s
  peers: [%[6]s]
  secret: the secret of nodes that are broken
  insecure: true
engine: {kind: jetstream, jetstream: {path: %[7]s}}
` + namespaces

// cluster is three nodes.
type cluster struct {
	nodes []*node
	// plays counts scenarios: each has channels of its own.
	plays int
}

// freeAddress returns an address that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// place is where a node of a cluster listens and whom it knows.
type place struct {
	main, admin, listen, advertise string
	peers                          []string
	prefix                         []string
}

// newCluster starts a node at each place and waits until all are ready.
func newCluster(t *testing.T, places []place) *cluster {
	t.Helper()
	c := &cluster{}
	for i, p := range places {
		c.add(t, i, p, "data")
	}
	c.start(t)
	return c
}

// add adds a node at a place, with its data in a directory.
func (c *cluster) add(t *testing.T, i int, p place, data string) {
	t.Helper()
	name := fmt.Sprintf("%c", 'a'+i)
	n := newNode(t, name, fmt.Sprintf(clusterConfig, "node-"+name, p.main, p.admin, p.listen, p.advertise, strings.Join(p.peers, ", "), data))
	n.prefix = p.prefix
	if filepath.IsAbs(data) {
		n.data = data
	}
	c.nodes = append(c.nodes, n)
}

// start starts all nodes at once, as somebody does who makes a cluster.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	processes := make([]*process, len(c.nodes))
	for i, n := range c.nodes {
		p, err := n.begin()
		if err != nil {
			t.Fatal(err)
		}
		processes[i] = p
	}
	for i, n := range c.nodes {
		if err := n.ready(t.Context(), processes[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// onLoopback returns the places of nodes beside each other.
func onLoopback(t *testing.T) []place {
	t.Helper()
	places := make([]place, clusterSize)
	var peers []string
	for range places {
		peers = append(peers, freeAddress(t))
	}
	for i := range places {
		places[i] = place{main: "127.0.0.1:0", admin: "127.0.0.1:0", listen: peers[i], advertise: peers[i], peers: peers}
	}
	return places
}

// inYard returns the places of nodes in a yard.
func inYard(y *yard) []place {
	places := make([]place, clusterSize)
	var peers []string
	for i := range places {
		peers = append(peers, y.ip(i)+":8002")
	}
	for i := range places {
		places[i] = place{
			main: y.ip(i) + ":8000", admin: y.ip(i) + ":8001", listen: peers[i], advertise: peers[i], peers: peers,
			prefix: []string{"ip", "netns", "exec", y.spaces[i]},
		}
	}
	return places
}

// byRelays returns the places of nodes that know each other by relays only: one
// for each that dials and each that is dialed. What a node says of its own
// address leads nowhere, so that nobody goes around them.
func byRelays(t *testing.T) (places []place, relays [][]*relay) {
	t.Helper()
	places, relays = onLoopback(t), make([][]*relay, clusterSize)
	for from := range places {
		places[from].advertise = "127.0.0.1:1"
		places[from].peers = nil
		relays[from] = make([]*relay, clusterSize)
		for to := range places {
			if to == from {
				continue
			}
			relays[from][to] = newRelay(t, places[to].listen)
			places[from].peers = append(places[from].peers, relays[from][to].addr())
		}
	}
	return places, relays
}

// play plays faults on a cluster, the n-th on the node n%3, in channels that
// nobody used before.
func (c *cluster) play(t *testing.T, name string, rounds int, faults func(n int, target *node) fault) {
	t.Helper()
	c.plays++
	rules := rules()
	for i := range rules {
		rules[i].Channel += fmt.Sprint(c.plays)
	}
	h := play(t, scenario{name: "three nodes, " + name, nodes: c.nodes, rules: rules, rounds: rounds, faults: func(n int) fault {
		target := c.nodes[n%len(c.nodes)]
		f := faults(n, target)
		f.node = target.name
		return f
	}})
	if history.Count(h).Acked == 0 {
		t.Error("nothing was acknowledged")
	}
}

// rounds is how many rounds a scenario has, in a long run and in a short one.
func rounds(t *testing.T, long, short int) int {
	t.Helper()
	if seconds(t) > 0 {
		return long
	}
	return short
}

// TestCluster ends and stops the nodes of a cluster, one after another, so that
// the one that leads is among them.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, onLoopback(t))
	t.Run("kill", func(t *testing.T) {
		c.play(t, "kill -9", rounds(t, 3, 1), func(_ int, n *node) fault {
			return fault{
				name: "kill -9", hold: time.Duration(rounds(t, 8, 3)) * time.Second,
				do:   func(context.Context) error { n.kill(); return nil },
				undo: n.start,
			}
		})
	})
	t.Run("restart", func(t *testing.T) {
		c.play(t, "rolling restart", rounds(t, 3, 2), func(_ int, n *node) fault {
			return fault{name: "restart", do: func(context.Context) error { return n.stop() }, undo: n.start}
		})
	})
	for _, long := range []time.Duration{2 * time.Second, 8 * time.Second} {
		t.Run("pause "+long.String(), func(t *testing.T) {
			if long > 2*time.Second && seconds(t) == 0 {
				t.Skip("long runs only: MYELIN_FAULT_SECONDS")
			}
			c.play(t, fmt.Sprintf("SIGSTOP %v", long), rounds(t, 3, 1), func(_ int, n *node) fault {
				return fault{
					name: "SIGSTOP", hold: long,
					do:   func(context.Context) error { return n.pause() },
					undo: func(context.Context) error { return n.resume() },
				}
			})
		})
	}
}

// TestPartition cuts a node of a cluster off: what it sends, what it is sent, and
// both.
func TestPartition(t *testing.T) {
	t.Parallel()
	y := newYard(t, clusterSize)
	c := newCluster(t, inYard(y))
	for _, cut := range []struct {
		name            string
		outward, inward bool
		short           bool
	}{
		{"a partition", true, true, true},
		{"a node that is not heard", true, false, false},
		{"a node that does not hear", false, true, false},
	} {
		t.Run(cut.name, func(t *testing.T) {
			if !cut.short && seconds(t) == 0 {
				t.Skip("long runs only: MYELIN_FAULT_SECONDS")
			}
			c.play(t, cut.name, rounds(t, 3, 1), func(n int, _ *node) fault {
				at := n % clusterSize
				return fault{
					name: cut.name, hold: time.Duration(rounds(t, 8, 5)) * time.Second,
					do: func(ctx context.Context) error {
						return y.each(at, cut.outward, cut.inward, func(from, to int) error { return y.sever(ctx, from, to) })
					},
					undo: func(ctx context.Context) error {
						return y.each(at, cut.outward, cut.inward, func(from, to int) error { return y.mend(ctx, from, to) })
					},
				}
			})
		})
	}
}

// TestLinks makes the links of a node slow, and holds back everything on them,
// which is a partition without namespaces.
func TestLinks(t *testing.T) {
	t.Parallel()
	places, relays := byRelays(t)
	c := newCluster(t, places)
	links := func(at int, do func(r *relay)) error {
		for other := range relays {
			if other != at {
				do(relays[at][other])
				do(relays[other][at])
			}
		}
		return nil
	}
	t.Run("slow", func(t *testing.T) {
		c.play(t, "a slow link (40 ms, 2 Mbit/s)", rounds(t, 3, 1), func(n int, _ *node) fault {
			at := n % clusterSize
			slow := func(delay time.Duration, rate int) error {
				return links(at, func(r *relay) { r.there.slow(delay, rate); r.back.slow(delay, rate) })
			}
			return fault{
				name: "slow link", hold: 4 * time.Second,
				do:   func(context.Context) error { return slow(40*time.Millisecond, 250_000) },
				undo: func(context.Context) error { return slow(0, 0) },
			}
		})
	})
	t.Run("held", func(t *testing.T) {
		if seconds(t) == 0 && root() {
			t.Skip("long runs only: MYELIN_FAULT_SECONDS; TestPartition does it in namespaces")
		}
		c.play(t, "a partition by relays", rounds(t, 3, 1), func(n int, _ *node) fault {
			at := n % clusterSize
			return fault{
				name: "partition", hold: 8 * time.Second,
				do: func(context.Context) error {
					return links(at, func(r *relay) { r.there.hold(); r.back.hold() })
				},
				undo: func(context.Context) error {
					return links(at, func(r *relay) { r.there.pass(); r.back.pass() })
				},
			}
		})
	})
}

// TestFullDiskInCluster fills the disk of one node of three, makes room again,
// and starts the node anew.
func TestFullDiskInCluster(t *testing.T) {
	t.Parallel()
	if seconds(t) == 0 {
		t.Skip("long runs only: MYELIN_FAULT_SECONDS")
	}
	c := &cluster{}
	for i, p := range onLoopback(t) {
		dir := filepath.Join(t.TempDir(), "small")
		smallDisk(t, dir, 192)
		c.add(t, i, p, dir)
	}
	c.start(t)
	c.play(t, "full disk of one", 3, func(_ int, n *node) fault {
		return fault{
			name: "full disk", hold: 5 * time.Second,
			do: func(context.Context) error { return fill(n.data) },
			// NATS gives up storing on a node whose disk was full, until it is
			// started anew.
			undo: func(ctx context.Context) error {
				return errors.Join(os.Remove(filepath.Join(n.data, ballast)), n.stop(), n.start(ctx))
			},
		}
	})
}
