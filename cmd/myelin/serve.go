package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"myelin/config"
	"myelin/observe"
	"myelin/server"
)

// version is set by the linker in releases.
var version = "dev"

// configFlags say where the configuration comes from.
type configFlags struct {
	Config string   `short:"c" help:"Configuration file (YAML)." placeholder:"FILE"`
	Set    []string `help:"Set one key: a.b=v. May be repeated; wins over file and environment." placeholder:"KEY=VALUE" sep:"none"`
	Data   string   `type:"path" placeholder:"DIR" help:"Keep channels in this directory, so that they survive a restart; the same as --set engine.disk.path=DIR, and --set engine.jetstream.path=DIR/jetstream for a cluster."`
	Dev    bool     `help:"To try things out: loopback only, anonymous clients may do everything, the API needs no key."`
}

func (f *configFlags) load() (*config.Config, error) {
	c, err := config.Load(config.Source{
		Path: f.Config, Env: os.Environ(), Reserved: reserved(), Set: append(dataKeys(f.Data), f.Set...), Dev: f.Dev,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// dataKeys returns the overrides that --data stands for, none for none. The
// engine in force takes one of them.
func dataKeys(dir string) []string {
	if dir == "" {
		return nil
	}
	return []string{"engine.disk.path=" + dir, "engine.jetstream.path=" + filepath.Join(dir, "jetstream")}
}

// reserved returns the variables that begin like configuration and are the
// command line's own, see connectFlags.
func reserved() []string { return []string{"MYELIN_URL", "MYELIN_TOKEN"} }

// serveCommand runs the server.
type serveCommand struct {
	configFlags
}

// Run serves until a signal comes.
func (c *serveCommand) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	log, err := newLogger(cfg, s)
	if err != nil {
		return usageError{err}
	}
	srv, err := server.New(cfg, server.Options{Version: version, Logger: log})
	if err != nil {
		return usageError{err}
	}
	if err := srv.Listen(ctx); err != nil {
		return errors.Join(err, srv.Close())
	}
	if c.Dev {
		fmt.Fprintf(s.err, "myelin %s --dev: everybody on this machine may do everything. http://%s\n", version, srv.Addr())
	}
	return srv.Run(ctx)
}

func newLogger(cfg *config.Config, s streams) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, err
	}
	return observe.NewLogger(s.err, cfg.Log.Format, level), nil
}
