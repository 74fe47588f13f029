//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
)

// How long things are, where MYELIN_FAULT_SECONDS does not say.
const (
	// warmUp is the load before the first fault.
	warmUp = time.Second
	// calm is the load between two faults.
	calm = 1500 * time.Millisecond
	// maxFaults bounds one scenario.
	maxFaults = 200
)

// keeps is how many publications the channels here keep: more than are made.
const keeps = 100_000

// fault is something that is done to nodes under load.
type fault struct {
	name  string
	node  string
	loses history.Loses
	// do does it, and undo ends it after hold. Either may be nil.
	do, undo func(ctx context.Context) error
	hold     time.Duration
}

// scenario is faults under load.
type scenario struct {
	// name is as the report shows it.
	name  string
	nodes []*node
	rules []history.Rule
	// faults returns the n-th fault.
	faults func(n int) fault
	// rounds is how many faults there are at least.
	rounds int
}

// rules are those of the channels that every node here has.
func rules() []history.Rule {
	return []history.Rule{
		{Channel: "sync:a", Durability: channel.DurabilitySync, Size: keeps, Exact: true},
		{Channel: "sync:b", Durability: channel.DurabilitySync, Size: keeps, Exact: true},
		{Channel: "async:a", Durability: channel.DurabilityAsync, Size: keeps},
		{Channel: "memory:a", Durability: channel.DurabilityMemory, Size: keeps},
	}
}

// namespaces configures those channels, and what all nodes here have in common.
const namespaces = `
log: {format: json}
auth: {anonymous: true}
api: {key: ` + apiKey + `}
client: {ping_interval: 2s, pong_timeout: 1s}
limits: {queue: 4MiB}
drain: {grace: 0s}
namespaces:
  sync: {history: {size: 100000, ttl: 2h}, dedupe_window: 2h, durability: sync, subscribe: [anonymous], publish: [anonymous]}
  async: {history: {size: 100000, ttl: 2h}, dedupe_window: 2h, durability: async, subscribe: [anonymous], publish: [anonymous]}
  memory: {history: {size: 100000, ttl: 2h}, dedupe_window: 2h, durability: memory, subscribe: [anonymous], publish: [anonymous]}
`

// play plays a scenario and holds the server to its promises.
func play(t *testing.T, s scenario) *history.History {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), seconds(t)+4*patience)
	defer cancel()
	for _, n := range s.nodes {
		if n.current() == nil {
			t.Fatalf("%s does not run", n.name)
		}
	}
	c, err := gather(ctx, s.nodes, s.rules)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	begin := time.Now()
	rest(ctx, warmUp)
	for n := 0; n < maxFaults && (n < s.rounds || time.Since(begin) < seconds(t)); n++ {
		if err := c.suffer(ctx, s.faults(n)); err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		rest(ctx, calm)
	}
	h, err := c.finish(ctx)
	judge(t, s.name, h)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// suffer does a fault, undoes it, and waits until every node serves and every
// publisher publishes again.
func (c *crowd) suffer(ctx context.Context, f fault) error {
	from := c.rec.Now()
	note := history.Fault{Name: f.name, Node: f.node, From: from, Loses: f.loses}
	defer func() {
		note.To = c.rec.Now()
		c.rec.Fault(note)
	}()
	if f.do != nil {
		if err := f.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	rest(ctx, f.hold)
	if f.undo != nil {
		if err := f.undo(ctx); err != nil {
			return fmt.Errorf("end %s: %w", f.name, err)
		}
	}
	for _, n := range c.nodes {
		if err := eventually(ctx, patience, n.name+" is ready again after "+f.name, func() bool {
			return n.status(ctx, "/health/ready") == 200
		}); err != nil {
			return err
		}
	}
	if err := c.flows(ctx); err != nil {
		return fmt.Errorf("after %s: %w", f.name, err)
	}
	return nil
}

// judge fails the test for what was broken, saves the history then, and puts
// the verdict into the report.
func judge(t *testing.T, name string, h *history.History) {
	t.Helper()
	found := history.Check(h)
	for _, v := range found {
		t.Error(v)
	}
	note(name, h, found)
	n := history.Count(h)
	t.Logf("%s: %d acknowledged, %d refused, %d unknown; %d received, %d resumed, %d told to begin anew",
		name, n.Acked, n.Refused, n.Unknown, n.Received, n.Resumed, n.Reset)
	for _, o := range history.Outages(h) {
		if o.Node == "" || o.Longest > time.Second {
			t.Logf("%s of %s: longest without an acknowledgement %v%s", o.Fault.Name, o.Fault.Node, o.Longest.Round(time.Millisecond), at(o.Node))
		}
	}
	if len(found) > 0 || t.Failed() {
		t.Logf("the history is in %s", save(t, h))
	}
}

func at(node string) string {
	if node == "" {
		return ""
	}
	return " at " + node
}

// save writes a history where it stays.
func save(t *testing.T, h *history.History) string {
	t.Helper()
	name := filepath.Join(os.TempDir(), "myelin-faults-"+strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())+".jsonl")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := h.Write(f); err != nil {
		t.Fatal(err)
	}
	return name
}
