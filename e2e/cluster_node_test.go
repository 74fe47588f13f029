package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"myelin/client"
)

// clusterSecret is what the nodes of these tests know each other by.
const clusterSecret = "the secret of the nodes of a test"

// clusterConfig is how a node of these tests serves.
const clusterConfig = `
auth: {anonymous: true, tokens: {hmac_secret: ` + tokenSecret + `}}
api: {insecure: true}
drain: {grace: 500ms}
cluster: {secret: ` + clusterSecret + `}
namespaces:
  log: {history: {size: 10000, ttl: 1h}, presence: true, join_leave: true, subscribe: [anonymous], publish: [anonymous]}
  live: {subscribe: [anonymous], publish: [anonymous]}
`

// freeAddress returns an address that nobody listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// cluster is some nodes that are one server, as processes.
type cluster struct {
	t *testing.T
	// peers are the addresses by which the nodes find each other.
	peers []string
	nodes []*node
}

// node is one of them. It keeps its addresses and its data when it is started
// anew.
type node struct {
	*process
	name string
	// flags are those of its start.
	flags []string
	dir   string
}

// newCluster starts so many nodes with storage and waits until all serve.
func newCluster(t *testing.T, size int, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for range size {
		c.peers = append(c.peers, freeAddress(t))
	}
	for i := range size {
		c.add(fmt.Sprintf("node-%c", 'a'+i), c.peers[i], append([]string{"--set", fmt.Sprintf("cluster.storage_nodes=%d", size)}, flags...)...)
	}
	for _, n := range c.nodes {
		c.serving(n)
	}
	return c
}

// add starts one more node.
func (c *cluster) add(name, listen string, flags ...string) *node {
	c.t.Helper()
	dir := c.t.TempDir()
	write(c.t, filepath.Join(dir, "myelin.yaml"), clusterConfig)
	n := &node{name: name, dir: dir, flags: append([]string{
		"serve", "-c", "myelin.yaml", "--data", filepath.Join(dir, "data"),
		"--set", "node=" + name, "--set", "listen=" + freeAddress(c.t), "--set", "admin.listen=" + freeAddress(c.t),
		"--set", "cluster.listen=" + listen, "--set", "cluster.peers=" + strings.Join(c.peers, ","),
		"--set", "log.format=json",
	}, flags...)}
	c.start(n)
	c.nodes = append(c.nodes, n)
	return n
}

// start starts a node, anew or for the first time.
func (c *cluster) start(n *node) {
	c.t.Helper()
	p, err := launch(environment(), n.dir, n.flags...)
	if err != nil {
		c.t.Fatal(err)
	}
	n.process = p
	c.t.Cleanup(func() {
		p.kill()
		if c.t.Failed() {
			c.t.Logf("%s wrote:\n%s", n.name, tail(p.out.String()))
		}
	})
}

// serving waits until a node serves.
func (c *cluster) serving(n *node) {
	c.t.Helper()
	if err := n.ready(); err != nil {
		c.t.Fatalf("%s: %v", n.name, err)
	}
	eventually(c.t, n.name+" is ready", func() bool { return status(c.t, n.adminHTTP("/health/ready")) == 200 })
}

// api returns the HTTP API of a node.
func (n *node) api() client.API { return client.API{URL: n.http("/api")} }

// call calls a method of the API of a node and returns the result.
func (n *node) call(t testing.TB, method string, params any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var result map[string]any
	if err := n.api().Call(ctx, method, params, &result); err != nil {
		t.Errorf("%s at %s: %v", method, n.name, err)
	}
	return result
}

// history returns the whole history of a channel as a node tells it.
func (n *node) history(t testing.TB, channel string) string {
	t.Helper()
	text, err := json.Marshal(n.call(t, "history", mapping{"channel": channel, "limit": 1000}))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// publish publishes a number at a node and returns where it is.
func (n *node) publish(t testing.TB, channel string, number int) client.Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pos, err := n.api().Publish(ctx, channel, fmt.Appendf(nil, "%d", number), client.PublishOptions{IdempotencyKey: fmt.Sprint(channel, number)})
	if err != nil {
		t.Fatalf("publish at %s: %v", n.name, err)
	}
	return pos
}

// reach publishes a number on a channel without history until all listeners
// have it: what is published before a node knows that another listens is lost.
func (n *node) reach(t testing.TB, channel string, number int, all []*listener) {
	t.Helper()
	for _, l := range all {
		eventually(t, fmt.Sprint("number ", number, " of ", n.name, " arrives"), func() bool {
			n.call(t, "publish", mapping{"channel": channel, "data": number})
			for l.progress() > 0 {
				if l.next(t) == number {
					return true
				}
			}
			return false
		})
	}
}

// listener is a client that notes what arrives.
type listener struct {
	*client.Client
	arrived chan client.Publication
	joins   chan string
	leaves  chan string
	// news is told of every successful subscribe.
	news chan client.SubscribedInfo
}

// listen connects a client to a node and subscribes it.
func (n *node) listen(t testing.TB, channel string, o client.Options) *listener {
	t.Helper()
	c, err := client.New(n.ws(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	const room = 10_000
	l := &listener{
		Client: c, arrived: make(chan client.Publication, room),
		joins: make(chan string, room), leaves: make(chan string, room), news: make(chan client.SubscribedInfo, room),
	}
	_, err = c.Subscribe(channel, client.SubOptions{
		Recover: true, JoinLeave: true,
		OnPublication: func(p client.Publication) { l.arrived <- p },
		OnSubscribed:  func(s client.SubscribedInfo) { l.news <- s },
		OnJoin:        func(i client.ClientInfo) { l.joins <- i.Client },
		OnLeave:       func(i client.ClientInfo) { l.leaves <- i.Client },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	wait(t, l.news, "subscription at "+n.name)
	return l
}

// next returns the number in the next publication.
func (l *listener) next(t testing.TB) int {
	t.Helper()
	p := wait(t, l.arrived, "publication")
	var number int
	if err := json.Unmarshal(p.Data, &number); err != nil {
		t.Fatal(err)
	}
	return number
}
