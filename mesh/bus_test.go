package mesh_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"myelin/channel/channeltest"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// TestBusOfCluster holds the bus over three embedded servers against its rules.
func TestBusOfCluster(t *testing.T) {
	t.Parallel()
	channeltest.RunBus(t, channeltest.BusFactory{RealTime: true, New: clusterWorld})
}

// clusterWorld makes clusters without storage, which a bus does not need.
func clusterWorld(tb testing.TB) channeltest.BusWorld {
	tb.Helper()
	c := meshtest.Prepare(tb, 4, func(i int, o *mesh.Options) {
		o.Storage, o.StorePath, o.StorageNodes = false, "", 3
		o.Addr, o.Version = o.Node+":8000", "test"
		if i == 3 {
			o.Node = "a"
		}
	})
	index := map[string]int{"a": 0, "b": 1, "c": 2}
	return channeltest.BusWorld{
		Join: func(id string) channeltest.BusNode {
			i := index[id]
			if c.Node(i) == nil {
				n := c.Restart(i)
				return process{n.Bus(), n.Bus().Start, func(context.Context) error {
					if c.Node(i) == n {
						c.Stop(i)
					}
					return nil
				}}
			}
			// A second node of one name is kept out of the cluster before its bus is.
			n := c.Restart(3)
			return process{n.Bus(), n.Ready, n.Close}
		},
		Kill:    func(id string) { c.Kill(index[id]) },
		Isolate: func(id string) { c.Isolate(index[id]) },
		Rejoin:  func(id string) { c.Rejoin(index[id]) },
	}
}

// process is a bus whose end is that of its process.
type process struct {
	*mesh.Bus
	start, end func(ctx context.Context) error
}

// Start starts the process.
func (p process) Start(ctx context.Context) error { return p.start(ctx) }

// Close ends it.
func (p process) Close(ctx context.Context) error {
	if err := p.Bus.Close(ctx); err != nil {
		return err
	}
	return p.end(ctx)
}

// TestBusOfServersElsewhere holds the bus over a NATS server that is not ours
// against its rules.
func TestBusOfServersElsewhere(t *testing.T) {
	t.Parallel()
	channeltest.RunBus(t, channeltest.BusFactory{RealTime: true, New: externalWorld})
}

func externalWorld(tb testing.TB) channeltest.BusWorld {
	tb.Helper()
	address := natsServer(tb, nil)
	relays := make(map[string]*meshtest.Relay)
	nodes := make(map[string]*mesh.Network)
	join := func(id string) *mesh.Network {
		r := meshtest.NewRelay(tb, address)
		o := meshtest.Options(tb, id)
		o.URLs, o.Storage, o.StorePath = []string{"nats://" + r.Addr()}, false, ""
		o.Addr, o.Version = id+":8000", "test"
		n := open(tb, o)
		if nodes[id] == nil {
			relays[id], nodes[id] = r, n
		}
		return n
	}
	hold := func(id string, held bool) {
		relays[id].Hold(true, held)
		relays[id].Hold(false, held)
	}
	return channeltest.BusWorld{
		Join: func(id string) channeltest.BusNode {
			n := join(id)
			return process{n.Bus(), n.Bus().Start, func(ctx context.Context) error {
				if nodes[id] == n {
					delete(nodes, id)
				}
				return n.Close(ctx)
			}}
		},
		Kill: func(id string) {
			relays[id].Kill(true)
			shut(tb, nodes[id])
			delete(nodes, id)
		},
		Isolate: func(id string) { hold(id, true) },
		Rejoin:  func(id string) { hold(id, false) },
	}
}

// natsServer starts a server that is not ours and returns its address.
func natsServer(tb testing.TB, change func(*server.Options)) string {
	tb.Helper()
	o := &server.Options{
		ServerName: "elsewhere", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: tb.TempDir(), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 256 << 20,
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(meshtest.Patience) {
		tb.Fatal("the server is not ready")
	}
	return s.Addr().String()
}

// open opens a network that is closed with the test.
func open(tb testing.TB, o mesh.Options) *mesh.Network {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), meshtest.Patience)
	defer cancel()
	n, err := mesh.Open(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { shut(tb, n) })
	return n
}

func shut(tb testing.TB, n *mesh.Network) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), meshtest.Patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		tb.Error(err)
	}
}
