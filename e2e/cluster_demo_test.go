package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"myelin/client"
)

// TestDemoOnThreeNodes runs the demo as docs/cluster.md says: three nodes, the
// feeds beside them. A node that dies takes nothing with it.
func TestDemoOnThreeNodes(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t}
	for range 3 {
		c.peers = append(c.peers, freeAddress(t))
	}
	for i, name := range []string{"a", "b", "c"} {
		dir := t.TempDir()
		n := &node{name: name, dir: dir, flags: []string{
			"demo", "--no-feeds", "--data", filepath.Join(dir, "data"), "--set", "node=" + name,
			"--set", "listen=" + freeAddress(t), "--set", "cluster.listen=" + c.peers[i],
			"--set", "cluster.peers=" + strings.Join(c.peers, ","), "--set", "cluster.secret=" + clusterSecret, "--set", "log.format=json",
		}}
		c.start(n)
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		c.serving(n)
	}
	feeds, err := launch(environment(), t.TempDir(), "demo", "--feeds-to", c.nodes[0].ws())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feeds.kill)
	b, d := c.nodes[1].listen(t, "ward:bed1.ecg", client.Options{}), c.nodes[2].listen(t, "ward:bed1.ecg", client.Options{})
	for _, l := range []*listener{b, d} {
		wait(t, l.arrived, "heart beat")
	}
	if err := c.nodes[1].signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	so := d.progress()
	eventually(t, "the heart goes on", func() bool { return d.progress() > so+50 })
	if err := feeds.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, err := feeds.wait(); code != 0 || err != nil {
		t.Errorf("the feeds ended with %d (%v):\n%s", code, err, feeds.out)
	}
}
