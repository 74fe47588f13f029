package mesh_test

import (
	"testing"

	"myelin/mesh/meshtest"
)

func TestThreeNodesKeepAStream(t *testing.T) {
	c := meshtest.New(t, 3, nil)
	stream(t, c.Node(0), 3)
	for _, n := range c.Nodes() {
		publish(t, n, n.Node())
	}
	c.Kill(0)
	publish(t, c.Node(1), "without a")
	c.Restart(0)
	c.Ready()
	messages(t, c.Node(0), 4)
}
