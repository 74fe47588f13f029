package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// between are the flags of TLS between nodes that all show one certificate.
func (c *certificate) between() []string {
	return []string{
		"--set", "cluster.tls.cert_file=" + c.cert, "--set", "cluster.tls.key_file=" + c.key, "--set", "cluster.tls.ca_file=" + c.cert,
	}
}

// TestClusterRefuses starts nodes that do not belong to a cluster: each ends
// with 1 and says what is wrong, and the cluster does not notice.
func TestClusterRefuses(t *testing.T) {
	t.Parallel()
	ours, theirs := newCertificate(t), newCertificate(t)
	c := newCluster(t, 3, ours.between()...)
	first := c.nodes[0]
	const without = "cluster.storage=false"
	cases := map[string]struct {
		node  string
		flags []string
		says  string
	}{
		"secret":         {"node-x", append(ours.between(), "--set", without, "--set", "cluster.secret=another secret of the nodes"), `no peer lets this node in: .*secret`},
		"cluster name":   {"node-x", append(ours.between(), "--set", without, "--set", "cluster.name=other"), `no peer lets this node in: .*cluster`},
		"authority":      {"node-x", append(theirs.between(), "--set", without), `no peer lets this node in: .*(certificate|CA|authorit)`},
		"data in use":    {"node-a", append(ours.between(), "--data", filepath.Join(first.dir, "data")), `the data directory \S+ is in use`},
		"data of others": {"node-x", append(ours.between(), "--set", "engine.jetstream.path=."), `the data directory \S+ has a .*it is not that of a cluster node; give an empty one`},
	}
	t.Run("nodes", func(t *testing.T) {
		for name, refused := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				own := &cluster{t: t, peers: c.peers}
				n := own.add(refused.node, freeAddress(t), refused.flags...)
				code, err := n.wait()
				if err != nil || code != 1 || !regexp.MustCompile(refused.says).MatchString(n.out.String()) {
					t.Errorf("it ended with %d (%v), want 1 and %q in:\n%s", code, err, refused.says, n.out)
				}
			})
		}
	})
	// These wait: one cannot be told what is wrong, as it speaks no TLS, and the
	// name of the other may be that of a process that is about to end.
	own := &cluster{t: t, peers: c.peers}
	own.add("node-x", freeAddress(t), "--set", without)
	second := own.add("node-b", freeAddress(t), append(ours.between(), "--set", without)...)
	eventually(t, "the others tell of a node without TLS", func() bool { return strings.Contains(first.out.String(), "only one of the two has TLS") })
	eventually(t, "the second of a name tells", func() bool { return strings.Contains(second.out.String(), "another node of this one's name is there") })
	for _, n := range own.nodes {
		if strings.Contains(n.out.String(), `"msg":"serving"`) {
			t.Errorf("%s is in the cluster", n.name)
		}
		n.kill()
	}
	for i, n := range c.nodes {
		n.publish(t, "log:after", i)
	}
}
