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
)

// yard is network namespaces on a bridge, one for each node, as machines on a
// switch. Only root can make one.
type yard struct {
	spaces []string
	// outer is the end of each node's cable that is on the bridge.
	outer []string
	// subnet is the first three bytes of the addresses.
	subnet string
}

// deadEnd is a hardware address that nobody has: what is sent there is lost,
// and nobody is told.
const deadEnd = "02:00:00:00:de:ad"

// newYard makes a yard for so many nodes, which is gone after the test.
func newYard(t *testing.T, size int) *yard {
	t.Helper()
	if !root() {
		t.Skip("network namespaces need root")
	}
	ctx := t.Context()
	// Yards of one process are made one after another: they have one name.
	bridge := fmt.Sprintf("%s%d", bridgePrefix, os.Getpid())
	y := &yard{subnet: fmt.Sprintf("10.231.%d", os.Getpid()%250)}
	t.Cleanup(func() {
		var errs []error
		// The kernel takes a namespace's own end away some time after the namespace,
		// and until then the next yard of this process cannot use the name.
		for _, outer := range y.outer {
			errs = append(errs, run(context.Background(), "ip", "link", "del", outer))
		}
		for _, space := range y.spaces {
			errs = append(errs, run(context.Background(), "ip", "netns", "del", space))
		}
		if err := errors.Join(append(errs, run(context.Background(), "ip", "link", "del", bridge))...); err != nil {
			t.Error(err)
		}
	})
	if err := run(ctx, "ip", "link", "add", bridge, "type", "bridge"); err != nil {
		t.Skipf("this machine makes no network namespaces: %v", err)
	}
	steps := func(all ...[]string) {
		t.Helper()
		for _, step := range all {
			if err := run(ctx, "ip", step...); err != nil {
				t.Skipf("this machine makes no network namespaces: %v", err)
			}
		}
	}
	steps([]string{"addr", "add", y.subnet + ".254/24", "dev", bridge}, []string{"link", "set", bridge, "up"})
	for i := range size {
		space, outer := ourName(fmt.Sprintf("-%c", 'a'+i)), fmt.Sprintf("mfv%d%c", os.Getpid(), 'a'+i)
		steps([]string{"netns", "add", space})
		y.spaces = append(y.spaces, space)
		steps([]string{"link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space})
		y.outer = append(y.outer, outer)
		steps(
			[]string{"link", "set", outer, "master", bridge, "up"},
			[]string{"-n", space, "addr", "add", y.ip(i) + "/24", "dev", "eth0"},
			[]string{"-n", space, "link", "set", "lo", "up"},
			[]string{"-n", space, "link", "set", "eth0", "up"},
		)
	}
	return y
}

func (y *yard) ip(i int) string { return fmt.Sprintf("%s.%d", y.subnet, i+1) }

// sever loses everything that node from sends to node to.
func (y *yard) sever(ctx context.Context, from, to int) error {
	return run(ctx, "ip", "-n", y.spaces[from], "neigh", "replace", y.ip(to), "lladdr", deadEnd, "dev", "eth0", "nud", "permanent")
}

// mend ends that.
func (y *yard) mend(ctx context.Context, from, to int) error {
	return run(ctx, "ip", "-n", y.spaces[from], "neigh", "del", y.ip(to), "dev", "eth0")
}

// each does something with a node and each other one: outward with what the
// node sends, inward with what it is sent.
func (y *yard) each(node int, outward, inward bool, do func(from, to int) error) error {
	var errs []error
	for other := range y.spaces {
		if other == node {
			continue
		}
		if outward {
			errs = append(errs, do(node, other))
		}
		if inward {
			errs = append(errs, do(other, node))
		}
	}
	return errors.Join(errs...)
}

// TestYard holds that what is severed is lost, one way and both, and that what
// is mended arrives.
func TestYard(t *testing.T) {
	y := newYard(t, 2)
	ctx := t.Context()
	listener := filepath.Join(t.TempDir(), "myelin.yaml")
	if err := os.WriteFile(listener, []byte("listen: "+y.ip(1)+":8000\nadmin: {listen: \"\"}\nauth: {anonymous: true}\nlog: {format: json}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := launch(nil, t.TempDir(), "ip", "netns", "exec", y.spaces[1], executable, "serve", "-c", listener)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if err := eventually(ctx, patience, "it serves", func() bool { return p.hasEnded() || p.address("main") != "" }); err != nil || p.hasEnded() {
		t.Fatalf("%v %s", err, p.out)
	}
	// From the first node, with a client that is sure to be there.
	reach := func() bool {
		return run(ctx, "ip", "netns", "exec", y.spaces[0], "timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+y.ip(1)+"/8000") == nil
	}
	if !reach() {
		t.Fatal("they do not reach each other")
	}
	for _, way := range [][2]int{{0, 1}, {1, 0}} {
		if err := y.sever(ctx, way[0], way[1]); err != nil {
			t.Fatal(err)
		}
		if reach() {
			t.Errorf("what %d sends to %d is not lost", way[0], way[1])
		}
		if err := y.mend(ctx, way[0], way[1]); err != nil {
			t.Fatal(err)
		}
		if err := eventually(ctx, patience, "they reach each other again", reach); err != nil {
			t.Error(err)
		}
	}
	conn, err := net.Dial("tcp", y.ip(1)+":8000")
	if err != nil {
		t.Fatalf("who is beside the yard does not reach it: %v", err)
	}
	_ = conn.Close()
	if !strings.HasPrefix(y.spaces[0], ourPrefix) {
		t.Errorf("a namespace is called %s", y.spaces[0])
	}
}
