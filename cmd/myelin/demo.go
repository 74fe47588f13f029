package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"myelin/config"
	"myelin/demo"
	"myelin/server"
)

// demoConfig is the namespaces that the demo's feeds publish to.
const demoConfig = `
admin: {listen: ""}
namespaces:
  ward: {history: {size: 600, ttl: 5m}}
  host: {history: {size: 300, ttl: 10m}}
  chat: {history: {size: 200, ttl: 24h}, presence: true, join_leave: true}
`

// demoCommand runs a server with live feeds.
type demoCommand struct {
	Data    string   `type:"path" placeholder:"DIR" help:"Where the demo keeps its channels, so that they survive a restart. By default a directory in your cache."`
	Memory  bool     `help:"Keep nothing: a restart is a new beginning."`
	NoFeeds bool     `help:"Run the server alone. Of several nodes one runs the feeds, or none where --feeds-to does."`
	FeedsTo string   `placeholder:"URL" help:"Run the feeds alone, for the servers at this WebSocket address, such as ws://127.0.0.1:8000/connection/websocket."`
	Set     []string `help:"Set one key of the server's configuration: a.b=v. May be repeated." placeholder:"KEY=VALUE" sep:"none"`
}

// Run serves and feeds until a signal comes. The feeds are ordinary clients:
// they come in by the WebSocket door.
func (c *demoCommand) Run(ctx context.Context, s streams) error {
	cfg, err := config.Load(config.Source{
		Path: "(demo)", Bytes: []byte(demoConfig), Env: os.Environ(), Reserved: reserved(),
		Set: append(dataKeys(c.dir()), c.Set...), Dev: true,
	})
	if err != nil {
		return usageError{err}
	}
	log, err := newLogger(cfg, s)
	if err != nil {
		return usageError{err}
	}
	if c.FeedsTo != "" {
		return c.feed(ctx, c.FeedsTo, s, log)
	}
	srv, err := server.New(cfg, server.Options{Version: version, Logger: log})
	if err != nil {
		return usageError{err}
	}
	if err := srv.Listen(ctx); err != nil {
		return errors.Join(err, srv.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	var feedErr error
	beside.Go(func() {
		select {
		case <-srv.Started():
		case <-ctx.Done():
			return
		}
		c.welcome(s, srv, cfg.Directory())
		if c.NoFeeds {
			return
		}
		feedErr = demo.Run(ctx, demo.Options{URL: "ws://" + srv.Addr().String() + "/connection/websocket", Logger: log})
		if feedErr != nil {
			cancel()
		}
	})
	err = srv.Run(ctx)
	cancel()
	beside.Wait()
	if feedErr != nil {
		return fmt.Errorf("feeds: %w", feedErr)
	}
	return err
}

// welcome says where the demo is.
func (c *demoCommand) welcome(s streams, srv *server.Server, dir string) {
	kept := "Nothing is kept when it stops."
	if dir != "" {
		kept = "What it keeps is in " + dir + "."
	}
	fmt.Fprintf(s.err, "\n  The demo is at http://%s\n  A patient's ECG, this machine, and a chat. Stop it with Ctrl-C.\n  %s\n\n", srv.Addr(), kept)
}

// feed runs the feeds for servers elsewhere.
func (c *demoCommand) feed(ctx context.Context, url string, s streams, log *slog.Logger) error {
	if c.NoFeeds {
		return usageError{errors.New("--no-feeds and --feeds-to leave nothing to do; give one of them")}
	}
	fmt.Fprintf(s.err, "feeding %s; stop it with Ctrl-C\n", url)
	if err := demo.Run(ctx, demo.Options{URL: url, Logger: log}); err != nil {
		return fmt.Errorf("feeds: %w", err)
	}
	return nil
}

// dir returns the directory of the demo's channels, "" for memory.
func (c *demoCommand) dir() string {
	if c.Memory || c.Data != "" {
		return c.Data
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "myelin", "demo")
}
