package mesh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// A server that stops to store says what to do about it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"stream":     "JetStream out of File resources, will be DISABLED",
		"group":      "JetStream out of resources, will be DISABLED",
		"source":     "JetStream out of space, will be DISABLED",
		"permission": "File system permission denied while writing, disabling JetStream",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := meshtest.Options(t, "a")
			n := open(t, o)
			if err := n.Ready(within(t)); err != nil {
				t.Fatal(err)
			}
			// What is said counts only when it was done.
			mesh.StopStoring(n, text, false)
			if err := n.Ready(within(t)); err != nil {
				t.Errorf("Ready before it stopped: %v", err)
			}
			mesh.StopStoring(n, text, true)
			want := fmt.Sprintf("the disk at %s is full or fails: make room and start this node again", o.StorePath)
			eventually(t, func(context.Context) error {
				if err := n.Healthy(); err == nil || !strings.Contains(err.Error(), want) {
					return fmt.Errorf("%w, want %q", err, want)
				}
				return nil
			})
		})
	}
}
