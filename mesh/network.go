package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Network is one node's part of the network: a NATS server inside this process
// or a connection to servers elsewhere.
type Network struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// Options is what a Network is made of.
type Options struct {
	// Node is the name of this node, the same after every restart.
	Node string
	// StorePath is the directory where the embedded server keeps its data.
	StorePath string
}

// startTimeout is how long an embedded server may take to accept connections.
const startTimeout = 10 * time.Second

// Open starts the embedded server.
func Open(_ context.Context, o Options) (*Network, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: o.Node, DontListen: true, JetStream: true, StoreDir: o.StorePath, NoSigs: true,
	})
	if err != nil {
		return nil, fmt.Errorf("nats server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("nats server: not ready after %v", startTimeout)
	}
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.Name(o.Node))
	if err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("nats server: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return &Network{server: s, conn: conn, js: js}, nil
}

// Conn returns the node's connection.
func (n *Network) Conn() *nats.Conn { return n.conn }

// JetStream returns the interface to the streams.
func (n *Network) JetStream() jetstream.JetStream { return n.js }

// Close ends the connection and the embedded server.
func (n *Network) Close() {
	n.conn.Close()
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
	}
}
