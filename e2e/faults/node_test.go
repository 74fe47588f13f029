//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// apiKey opens the HTTP API of every node here.
const apiKey = "faults"

// node is one server, which is started and ended as often as a test likes.
type node struct {
	name string
	// dir is where it runs and where its configuration is.
	dir string
	// data is the directory of its data.
	data string
	// prefix goes before the command, as "ip netns exec NAME" does.
	prefix []string
	// clock, when not nil, moves the clock of each new process.
	clock starter

	mu struct {
		sync.Mutex
		now *process
		// log is what earlier processes wrote.
		log []*record
		// reach dials an address of the node.
		reach func(ctx context.Context, addr string) (net.Conn, error)
	}
}

// errDown is why nobody reaches a node that does not run.
var errDown = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("the node is down")}

// newNode makes a node that is killed at the end of the test, whose log is shown
// if it failed.
func newNode(t testing.TB, name, config string) *node {
	t.Helper()
	n := &node{name: name, dir: filepath.Join(t.TempDir(), name)}
	n.data = filepath.Join(n.dir, "data")
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "myelin.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("node %s wrote:\n%s", n.name, tail(n.log()))
		}
	})
	return n
}

// begin starts the process and waits for nothing.
func (n *node) begin() (*process, error) {
	argv := append(append([]string(nil), n.prefix...), executable, "serve", "-c", "myelin.yaml")
	p, err := launch(n.clock, n.dir, argv...)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.mu.now = p
	n.mu.log = append(n.mu.log, p.out)
	n.mu.Unlock()
	return p, nil
}

// start starts the process and waits until it is ready.
func (n *node) start(ctx context.Context) error {
	p, err := n.begin()
	if err != nil {
		return err
	}
	return n.ready(ctx, p)
}

// ready waits until a process is ready to serve.
func (n *node) ready(ctx context.Context, p *process) error {
	err := eventually(ctx, patience, n.name+" is ready", func() bool {
		return p.hasEnded() || p.address("admin") != "" && n.status(ctx, "/health/ready") == http.StatusOK
	})
	if p.hasEnded() {
		return fmt.Errorf("%s ended: %w\n%s", n.name, p.err, tail(p.out.String()))
	}
	return err
}

// status returns the status of a GET on the admin listener, 0 where there is no
// answer.
func (n *node) status(ctx context.Context, path string) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.dialListener(ctx, "admin")
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.name+path, nil)
	if err != nil {
		return 0
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// dial connects to the main listener of the process that runs now.
func (n *node) dial(ctx context.Context) (net.Conn, error) {
	return n.dialListener(ctx, "main")
}

func (n *node) dialListener(ctx context.Context, listener string) (net.Conn, error) {
	n.mu.Lock()
	p, reach := n.mu.now, n.mu.reach
	n.mu.Unlock()
	if p == nil || p.hasEnded() {
		return nil, errDown
	}
	addr := p.address(listener)
	if addr == "" {
		return nil, errDown
	}
	if reach != nil {
		return reach(ctx, addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// api returns a caller of its HTTP API with connections of its own.
func (n *node) api() client.API {
	return apiBy(n.name, n.dial)
}

// apiBy returns a caller of the HTTP API behind dial.
func apiBy(name string, dial func(context.Context) (net.Conn, error)) client.API {
	return client.API{URL: "http://" + name + "/api", Key: apiKey, HTTP: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1,
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

func (n *node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.now
}

// kill ends it as a power switch would, as far as the process goes.
func (n *node) kill() {
	if p := n.current(); p != nil {
		p.kill()
	}
}

// stop ends it as an operator would.
func (n *node) stop() error {
	p := n.current()
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.wait(patience)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d:\n%s", n.name, code, tail(p.out.String()))
	}
	return err
}

// pause and resume stop the process and let it go on.
func (n *node) pause() error  { return n.current().signal(syscall.SIGSTOP) }
func (n *node) resume() error { return n.current().signal(syscall.SIGCONT) }

// log is what all processes of the node wrote.
func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for _, r := range n.mu.log {
		b.WriteString(r.String())
	}
	return b.String()
}
