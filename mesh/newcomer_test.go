package mesh_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// A node with storage that the cluster has no place for goes, and no vote needs
// it afterwards. It may come as one without storage.
func TestOneTooMany(t *testing.T) {
	t.Parallel()
	var path string
	c := meshtest.Prepare(t, 4, func(i int, o *mesh.Options) {
		o.StorageNodes = 3
		if i == 3 {
			path = o.StorePath
		}
	})
	for i := range 3 {
		c.Restart(i)
	}
	c.Ready()
	stream(t, c.Node(0), 3)
	for range 2 {
		// The second time it comes with a directory that is not empty.
		d := c.Restart(3)
		err := d.Ready(within(t))
		if !errors.Is(err, channel.ErrConflict) || !strings.Contains(err.Error(), "stores on a, b, c and cluster.storage_nodes is 3: set cluster.storage: false") {
			t.Fatalf("Ready of the fourth: %v", err)
		}
		c.Stop(3)
	}
	c.Kill(0)
	publish(t, c.Node(1), "two of three are enough")
	o := meshtest.Options(t, "d")
	o.StorePath, o.Storage, o.Listen, o.Secret = path, false, meshtest.FreeAddress(t), meshtest.Secret
	n, err := mesh.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("the fourth without storage: %v", err)
	}
	if err := n.Close(within(t)); err != nil {
		t.Error(err)
	}
}

// Of four that start at once one goes, and the others are a cluster.
func TestFourAtOnce(t *testing.T) {
	t.Parallel()
	c := meshtest.Prepare(t, 4, func(_ int, o *mesh.Options) { o.StorageNodes = 3 })
	results := make(chan error, 4)
	for i := range 4 {
		n := c.Restart(i)
		go func() { results <- n.Ready(context.WithoutCancel(t.Context())) }()
	}
	refused := 0
	for range 4 {
		if err := <-results; errors.Is(err, channel.ErrConflict) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of four nodes were refused, want 1", refused)
	}
}

// A member that lost its disk is a newcomer that stays.
func TestLostDisk(t *testing.T) {
	t.Parallel()
	var path string
	c := meshtest.New(t, 3, func(i int, o *mesh.Options) {
		if i == 0 {
			path = o.StorePath
		}
	})
	stream(t, c.Node(0), 3)
	publish(t, c.Node(0), "x")
	whole(t, c.Node(0)) // or the disk that is lost is one of two that have it
	c.Kill(0)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	c.Restart(0)
	c.Ready()
	whole(t, c.Node(0))
	c.Kill(1)
	messages(t, c.Node(0), 1)
}
