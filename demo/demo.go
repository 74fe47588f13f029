package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"myelin/client"
)

// The channels of the demo.
const (
	channelECG       = "ward:bed1.ecg"
	channelRate      = "ward:bed1.hr"
	channelTelemetry = "host:telemetry"
	channelChat      = "chat:lobby"
)

// maxBackoff keeps the feeds close behind a server that comes back: there are
// only three of them.
const maxBackoff = 2 * time.Second

// Options configure Run.
type Options struct {
	// URL of the server's WebSocket endpoint, such as
	// ws://127.0.0.1:8000/connection/websocket.
	URL string
	// Token authenticates the feeds. Without one they are anonymous.
	Token string
	// Dial opens the network connections. The default dials TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Proc is the proc file system of this machine. The default is /proc.
	Proc fs.FS
	// Logger tells what becomes of the connections. The default is silence.
	Logger *slog.Logger
}

// feed is one ordinary client and what it does.
type feed struct {
	name string
	// onConnected may be nil.
	onConnected func(client.ConnectedInfo)
	// run works until ctx ends.
	run func(ctx context.Context, c *client.Client, log *slog.Logger) error
}

// Run runs the feeds until ctx ends, and returns nil then. It returns an error
// if the server refuses one of them for good.
func Run(ctx context.Context, o Options) error {
	if o.Proc == nil {
		o.Proc = procHere()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ecg, err := loadRecord()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	room := newHost()
	feeds := []feed{
		{name: "patient", run: func(ctx context.Context, c *client.Client, log *slog.Logger) error {
			newPatient(ecg, time.Now(), runID(), log).play(ctx, c)
			return nil
		}},
		{name: "machine", run: func(ctx context.Context, c *client.Client, _ *slog.Logger) error {
			newMachine(o.Proc).play(ctx, c.Publish)
			return nil
		}},
		{name: "chat", onConnected: room.onConnected, run: func(ctx context.Context, c *client.Client, _ *slog.Logger) error {
			return room.run(ctx, c)
		}},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(func() {
			if err := f.start(ctx, &o); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("demo: feed %s: %w", f.name, err))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// procHere is the proc file system of this machine. It is empty where there is
// none.
func procHere() fs.FS { return os.DirFS("/proc") }

// start gives the feed its client and runs it until the client or ctx ends. It
// returns why the client has ended, if it has.
func (f feed) start(ctx context.Context, o *Options) error {
	log := o.Logger.With("feed", f.name)
	c, err := client.New(o.URL, client.Options{
		Token: o.Token, Name: "myelin-demo-" + f.name, Dial: o.Dial, MaxBackoff: maxBackoff,
		Handlers: client.Handlers{
			OnConnected: func(i client.ConnectedInfo) {
				log.Debug("connected")
				if f.onConnected != nil {
					f.onConnected(i)
				}
			},
			OnConnecting: func(code uint32, reason string) {
				log.Debug("connecting", "code", code, "reason", reason)
			},
			OnError: func(err error) { log.Debug("trouble", "error", err) },
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		// A feed does not outlive its client: there is nobody left to publish.
		defer cancel()
		select {
		case <-c.Done():
		case <-ctx.Done():
		}
	})
	if c.Connect(ctx) == nil {
		err = f.run(ctx, c, log)
	}
	err = errors.Join(err, c.Err())
	cancel()
	wg.Wait()
	return errors.Join(err, c.Close())
}
