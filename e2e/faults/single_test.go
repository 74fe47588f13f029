//go:build linux

package faults

import (
	"context"
	"testing"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
)

// diskConfig is a node on its own.
const diskConfig = `
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
engine: {kind: disk, disk: {path: data}}
` + namespaces

// diskNode starts a node on its own.
func diskNode(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "a", diskConfig)
	if err := n.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// alone is a scenario on one node.
func alone(name string, n *node, rounds int, faults func(i int) fault) scenario {
	return scenario{name: "one node, " + name, nodes: []*node{n}, rules: rules(), faults: faults, rounds: rounds}
}

// TestKill kills a node and starts it again.
func TestKill(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	h := play(t, alone("kill -9", n, 4, func(int) fault {
		return fault{
			name: "kill -9", node: n.name, loses: history.LosesAsync,
			do:   func(context.Context) error { n.kill(); return nil },
			undo: n.start,
		}
	}))
	linear(t, h)
}

// linear asks porcupine about the sync channels of a node on its own: there
// everybody reads the newest, and nobody loses what he has read.
func linear(t *testing.T, h *history.History) {
	t.Helper()
	for _, r := range h.Rules {
		if r.Durability != channel.DurabilitySync {
			continue
		}
		if a := history.Linear(h, r.Channel, 30*time.Second); a != history.Legal {
			t.Errorf("%s: no order of all calls explains what they were told: porcupine says %s", r.Channel, a)
		}
	}
}

// TestPause stops a node for three seconds.
func TestPause(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	linear(t, play(t, alone("SIGSTOP 3 s", n, 1, func(int) fault {
		return fault{
			name: "SIGSTOP", node: n.name, hold: 3 * time.Second,
			do:   func(context.Context) error { return n.pause() },
			undo: func(context.Context) error { return n.resume() },
		}
	})))
}

// TestRestart ends a node as an operator does, and starts it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	linear(t, play(t, alone("restart", n, 3, func(int) fault {
		return fault{
			name: "restart", node: n.name, loses: history.LosesMemory,
			do:   func(context.Context) error { return n.stop() },
			undo: n.start,
		}
	})))
}
