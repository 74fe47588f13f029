//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// TestRegistersInCluster has porcupine judge compare-and-set on three nodes, of
// which one after another is cut off.
func TestRegistersInCluster(t *testing.T) {
	t.Parallel()
	c := meshtest.New(t, clusterSize, func(_ int, o *mesh.Options) { o.SyncAlways = true })
	policy := registerPolicy(channel.DurabilitySync)
	engines := make([]*jetstream.Engine, clusterSize)
	for i, network := range c.Nodes() {
		e, err := jetstream.New(jetstream.Options{Network: network, Namespaces: []*channel.Policy{policy}, Replicas: clusterSize, Synced: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), deaf{}); err != nil {
			t.Fatal(err)
		}
		engines[i] = e
	}
	defer func() {
		for _, e := range engines {
			_ = e.Close(context.Background())
		}
	}()
	calls := new(callLog)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	errs := make([]error, clusterSize)
	for i, e := range engines {
		group.Go(func() {
			k := &keys{Engine: e, policy: policy, shaky: true}
			errs[i] = k.work(ctx, fmt.Sprint("node", i), maxRegisterCalls/clusterSize/registerWorkers, calls.tell)
		})
	}
	for i := range rounds(t, clusterSize, 1) {
		rest(ctx, calm)
		c.Isolate(i)
		rest(ctx, 6*time.Second)
		c.Rejoin(i)
	}
	rest(ctx, calm)
	stop()
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	judgeRegisters(t, calls.all(), settled(t, engines[0], policy))
}

// settled reads what became of every put, once that is over.
func settled(t *testing.T, e channel.Engine, p *channel.Policy) (changes []history.Kept) {
	t.Helper()
	rest(t.Context(), doubtTime)
	return changesOf(t, e, p)
}
