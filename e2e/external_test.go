package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"myelin/client"
)

// newNATS starts a NATS server as an operator would have one: with JetStream
// that fsyncs, and a user for each who may come.
func newNATS(t *testing.T) (address string, nats *process) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/nats-io/nats-server/v2")
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	address = freeAddress(t)
	write(t, filepath.Join(dir, "nats.conf"), fmt.Sprintf(`
listen: %q
jetstream: {store_dir: %q, sync_interval: always}
authorization: {users: [{user: "myelin", password: "right", permissions: {
  publish: ["myelin.>", "$JS.API.>", "_INBOX.>"], subscribe: ["myelin.>", "_INBOX.>", "$JS.EVENT.ADVISORY.>"]}}]}
`, address, filepath.Join(dir, "store")))
	cmd := exec.Command(binary, "-c", filepath.Join(dir, "nats.conf"))
	p := &process{out: new(record), ended: make(chan struct{}), cmd: cmd}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("NATS wrote:\n%s", tail(p.out.String()))
		}
	})
	eventually(t, "NATS is ready", func() bool { return strings.Contains(p.out.String(), "Server is ready") })
	return address, p
}

// TestNATSElsewhere has two nodes be one server over a NATS server that is none
// of ours, with no more rights there than docs/engines.md says.
func TestNATSElsewhere(t *testing.T) {
	t.Parallel()
	address, nats := newNATS(t)
	c := &cluster{t: t}
	begin := func(name string, flags ...string) *node {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "myelin.yaml"), strings.ReplaceAll(clusterConfig, "cluster: {secret: "+clusterSecret+"}\n", ""))
		n := &node{name: name, dir: dir, flags: append([]string{
			"serve", "-c", "myelin.yaml", "--set", "node=" + name, "--set", "listen=" + freeAddress(t), "--set", "admin.listen=" + freeAddress(t),
			"--set", "log.format=json", "--set", "engine.jetstream.url=nats://" + address,
			"--set", "engine.jetstream.user=myelin", "--set", "engine.jetstream.password=right", "--set", "engine.jetstream.synced=true",
		}, flags...)}
		c.start(n)
		return n
	}
	a, b := begin("node-a"), begin("node-b")
	c.serving(a)
	c.serving(b)
	l := b.listen(t, "log:x", client.Options{})
	a.publish(t, "log:x", 7)
	if got := l.next(t); got != 7 {
		t.Errorf("%d arrives, want 7", got)
	}
	a.reach(t, "live:x", 9, []*listener{b.listen(t, "live:x", client.Options{})})
	if here, there := a.history(t, "log:x"), b.history(t, "log:x"); here != there || !strings.Contains(here, `"data":7`) {
		t.Errorf("the history is %s and %s", here, there)
	}
	before := a.history(t, "log:x")
	b.kill()
	c.start(b)
	c.serving(b)
	if after := b.history(t, "log:x"); after != before {
		t.Errorf("after a kill the history is %s, want %s", after, before)
	}

	for what, refused := range map[string]struct {
		node, flag, says string
	}{
		"password": {"node-c", "engine.jetstream.password=wrong", `the NATS servers nats://\S+ refuse the credentials`},
		"address":  {"node-c", "engine.jetstream.url=nats://127.0.0.1:1", `the NATS servers nats://127.0.0.1:1 cannot be reached`},
		"TLS":      {"node-c", "engine.jetstream.url=tls://" + address, `do not agree on TLS`},
		"name":     {"node-a", "log.level=info", `node-a`},
	} {
		n := begin(refused.node, "--set", refused.flag)
		code, err := n.wait()
		if said := n.out.String(); err != nil || code != 1 || !regexp.MustCompile(refused.says).MatchString(said) || strings.Contains(said, "wrong\"") {
			t.Errorf("%s: it ended with %d (%v), want 1 and %q in:\n%s", what, code, err, refused.says, said)
		}
	}
	a.publish(t, "log:x", 8)
	if said := nats.out.String(); strings.Contains(said, "Violation") {
		t.Error("the rights in docs/engines.md are too few")
	}
}
