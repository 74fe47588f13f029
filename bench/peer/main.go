// Command peer is the best Go server of the same client protocol, so that
// myelin bench can measure both in the same run.
//
// It is the centrifuge library with as little around it as the library allows:
// anonymous connections, every permission, one WebSocket endpoint at
// /connection/websocket, JSON and Protobuf. Positioned and recoverable
// subscriptions come with --history above zero; without it the server keeps
// nothing and is at its cheapest.
//
// It lives in a module of its own so that its dependencies never reach ours.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

// stopTimeout bounds the drain after a signal.
const stopTimeout = 5 * time.Second

type options struct {
	addr       string
	history    int
	historyTTL time.Duration
	presence   bool
	writeDelay time.Duration
	lean       bool
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:8100", "address to listen on")
	flag.IntVar(&o.history, "history", 0, "publications kept per channel; above 0 subscriptions are recoverable")
	flag.DurationVar(&o.historyTTL, "history-ttl", 5*time.Minute, "how long publications are kept")
	flag.BoolVar(&o.presence, "presence", false, "track presence")
	flag.DurationVar(&o.writeDelay, "write-delay", 0, "collect messages of one connection this long before writing")
	flag.BoolVar(&o.lean, "lean", false, "use the library's options that save memory: pooled write buffers, commands off the read loop, write timers")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// run serves until SIGINT or SIGTERM.
func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	node, err := newNode(o)
	if err != nil {
		return err
	}
	if err := node.Run(); err != nil {
		return fmt.Errorf("start node: %w", err)
	}

	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, websocketConfig(o)))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return err
	}
	fmt.Printf("peer: listening on %s, pid %d\n", listener.Addr(), os.Getpid())

	server := &http.Server{Handler: mux, ReadHeaderTimeout: stopTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
	}

	ending, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err = errors.Join(server.Shutdown(ending), node.Shutdown(ending))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func websocketConfig(o options) centrifuge.WebsocketConfig {
	config := centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }}
	if o.lean {
		config.UseWriteBufferPool = true
		config.ProcessCommandsOffReadLoop = true
		config.ReadBufferSize = 512
	}
	return config
}

func newNode(o options) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{ClientChannelLimit: 1000})
	if err != nil {
		return nil, fmt.Errorf("new node: %w", err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:    &centrifuge.Credentials{},
			WriteDelay:     o.writeDelay,
			WriteWithTimer: o.lean && o.writeDelay > 0,
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{
				EnableRecovery: o.history > 0,
				EmitPresence:   o.presence,
			}}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, reply centrifuge.PublishCallback) {
			reply(centrifuge.PublishReply{Options: centrifuge.PublishOptions{
				HistorySize: o.history,
				HistoryTTL:  o.historyTTL,
			}}, nil)
		})
		client.OnHistory(func(_ centrifuge.HistoryEvent, reply centrifuge.HistoryCallback) {
			reply(centrifuge.HistoryReply{}, nil)
		})
		client.OnPresence(func(_ centrifuge.PresenceEvent, reply centrifuge.PresenceCallback) {
			reply(centrifuge.PresenceReply{}, nil)
		})
	})
	return node, nil
}
