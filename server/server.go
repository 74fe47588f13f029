package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/config"
	"myelin/consumer"
	"myelin/conversation"
	"myelin/hook"
	"myelin/hub"
	"myelin/internal/gauge"
	"myelin/mesh"
	"myelin/observe"
)

// Timeouts of the listeners. There is no write timeout: a stream writes for as
// long as its client stays.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// closeTimeout is how long the engine may take to put things in order.
	closeTimeout = 10 * time.Second
)

// Options is what New needs beside the configuration.
type Options struct {
	Version string
	Logger  *slog.Logger
}

// Server is one node.
type Server struct {
	cfg     *config.Config
	opts    Options
	log     *slog.Logger
	node    string
	metrics *observe.Metrics
	health  *observe.Health

	spaces map[string]*hub.Namespace
	// joining is how the network is joined, which network is then; both are
	// nil for an engine that needs none.
	joining *mesh.Options
	network *mesh.Network
	// bus leads to the other nodes; nil for a node alone.
	bus *mesh.Bus
	// agreement compares the configuration with theirs; nil for a node alone.
	agreement *agreement

	engine   channel.Engine
	verifier *auth.Verifier
	bans     *auth.Bans
	proxies  proxies
	// senders tell webhooks.
	senders sync.WaitGroup
	caller  *hook.Caller // nil where the application is not asked
	origins *auth.Origins
	hub     *hub.Hub
	// consumers are what is delivered until it is acknowledged.
	consumers *consumer.Manager
	host      *conversation.Host
	sockets   []interface{ Wait() }

	// ctx ends what the doors do, after the drain.
	ctx  context.Context
	stop context.CancelFunc
	// started is closed once clients are served.
	started chan struct{}

	certificate     *tls.Certificate
	crowd           crowd
	main, admin     *http.Server
	mainLn, adminLn net.Listener
}

// New assembles a server as far as its own machine goes. It touches no address
// and no peer. Who does not Run it closes it.
func New(c *config.Config, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: c, opts: o, log: o.Logger, metrics: observe.New(), health: observe.NewHealth(), started: make(chan struct{}),
	}
	s.metrics.Info(o.Version, c.Kept())
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare reads what the configuration names, and opens the engine.
func (s *Server) prepare() error {
	c := s.cfg
	var err error
	if s.origins, err = auth.NewOrigins(c.Auth.AllowedOrigins); err != nil {
		return fmt.Errorf("auth.allowed_origins: %w", err)
	}
	if s.certificate, err = newCertificate(c); err != nil {
		return err
	}
	if s.node, err = nodeID(c); err != nil {
		return err
	}
	if s.spaces, err = newNamespaces(c); err != nil {
		return err
	}
	s.addLifecycle()
	s.addWebhooks()
	if s.bans, err = s.addBans(); err != nil {
		return err
	}
	if s.proxies, err = newProxies(c.TrustedProxies); err != nil {
		return err
	}
	s.addConsumers()
	s.addMercure()
	if s.caller, err = s.newCaller(); err != nil {
		return err
	}
	if s.verifier, err = newVerifier(c, s.log); err != nil {
		return err
	}
	if c.Kept() == "jetstream" {
		o, err := s.newNetwork()
		s.joining = &o
		return err
	}
	if s.engine, err = newEngine(c, s.log); err != nil {
		return err
	}
	s.assemble()
	return s.startEngine(s.ctx)
}

// assemble builds the rooms above the engine.
func (s *Server) assemble() {
	c := s.cfg
	s.hub = s.newHub()
	s.consumers.Attach(s.hub)
	talk := conversation.Options{
		Hub: s.hub, Verifier: s.verifier, Anonymous: c.Auth.Anonymous, Introspect: c.DevMode,
		Methods: s.consumers.RPCs(), Version: s.opts.Version, Metrics: s.metrics, Logger: s.log,
	}
	if s.caller != nil {
		talk.Hooks = s.caller
	}
	s.host = conversation.NewHost(s.ctx, talk)
	s.crowd = crowd{
		most: int64(c.Limits.Connections) + spareConnections, files: descriptors(),
		held: s.hub.Connections, hit: s.metrics.Limit("http_connections"), log: s.log,
	}
	s.main = s.httpServer(patient(s.hosted(s.gate(s.located(s.mainRoutes())))))
	s.main.ConnState = s.crowd.watch
	if c.Admin.Listen != "" {
		s.admin = s.httpServer(s.adminRoutes())
	}
}

// nodeID returns the name that this node keeps. Where its data is its own a
// name of this run will do: where it runs, and which run of it.
func nodeID(c *config.Config) (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	name, err := os.Hostname()
	if c.Kept() == "jetstream" {
		if err == nil {
			err = config.CheckNode(name)
		}
		if err != nil {
			return "", fmt.Errorf("node: the host name cannot be taken; set a name with --set node=NAME: %w", err)
		}
		return name, nil
	}
	if err != nil || name == "" {
		name = "node"
	}
	return name + "-" + rand.Text()[:8], nil
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: p, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(httpLog{s.log.Handler()}, slog.LevelError),
		BaseContext: func(net.Listener) context.Context { return s.ctx }, ConnContext: gauge.Remember,
	}
}

// Listen takes the configured addresses, and joins the network where there is
// one.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return listenError("listen", err)
	}
	s.mainLn = ln
	if s.cfg.Admin.Listen != "" {
		if s.adminLn, err = lc.Listen(ctx, "tcp", s.cfg.Admin.Listen); err != nil {
			_ = ln.Close()
			return listenError("admin.listen", err)
		}
	}
	if s.joining != nil {
		return s.join(ctx)
	}
	return nil
}

// listenError says what can be done about an address that cannot be had.
func listenError(key string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %w (is another server running? choose another address with --set %s=127.0.0.1:PORT)", key, err, key)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %w (ports below 1024 need a privilege; choose another with --set %s=127.0.0.1:PORT)", key, err, key)
	}
	return fmt.Errorf("%s: %w", key, err)
}

// Addr returns the address of the main listener, after Listen.
func (s *Server) Addr() net.Addr { return s.mainLn.Addr() }

// AdminAddr returns the address of the admin listener, nil where there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.adminLn == nil {
		return nil
	}
	return s.adminLn.Addr()
}

// Run serves until ctx ends, then drains. It returns nil after a whole drain.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 4)
	var serving, coming sync.WaitGroup
	serving.Go(func() { failed <- s.serve(s.main, s.mainLn) })
	if s.admin != nil {
		serving.Go(func() { failed <- s.admin.Serve(s.adminLn) })
	}
	s.warnOfDescriptors()
	s.lookAround()
	serving.Go(func() {
		if err := s.attend(); err != nil {
			failed <- err
		}
	})
	up, enough := context.WithCancel(ctx)
	coming.Go(func() {
		if err := s.bringUp(up); err != nil {
			failed <- err
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	enough()
	coming.Wait()
	drained := s.drain(err == nil && s.hasStarted())
	serving.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return drained
}

// begin says that clients are served.
func (s *Server) begin() {
	s.hub.Begin()
	s.consumers.Start()
	s.health.Started()
	close(s.started)
	s.log.Info("serving", observe.KeyListener, "main", observe.KeyAddr, s.mainLn.Addr().String())
	if s.adminLn != nil {
		s.log.Info("serving", observe.KeyListener, "admin", observe.KeyAddr, s.adminLn.Addr().String())
	}
}

// hasStarted reports whether clients are served.
func (s *Server) hasStarted() bool {
	select {
	case <-s.started:
		return true
	default:
		return false
	}
}

// Started returns a channel that is closed once clients are served.
func (s *Server) Started() <-chan struct{} { return s.started }

func (s *Server) serve(srv *http.Server, ln net.Listener) error {
	if s.certificate != nil {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.certificate}, MinVersion: tls.VersionTLS12}
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}

// drain takes the server down; gently, where there is no reason to hurry.
func (s *Server) drain(gently bool) error {
	s.health.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.cfg.Drain.Timeout))
	defer cancel()
	var closing sync.WaitGroup
	if gently && s.network != nil {
		closing.Go(func() { s.retire(ctx) })
	}
	if gently {
		s.log.Info("draining", observe.KeyCount, s.hub.Connections())
		pause := time.NewTimer(time.Duration(s.cfg.Drain.Grace))
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
	closing.Go(func() { _ = s.main.Shutdown(ctx) })
	s.warnOfStorm(ctx)
	err := s.hub.Drain(ctx, s.cfg.Drain.Rate)
	if err != nil {
		err = fmt.Errorf("drain: %d clients were left after drain.timeout (%v) and were closed at once; drain.rate is %d per second: %w",
			s.hub.Connections(), s.cfg.Drain.Timeout, s.cfg.Drain.Rate, err)
	}
	s.consumers.Close()
	s.hub.Close()
	closing.Wait()
	return errors.Join(err, s.Close())
}

// Close lets go of everything at once. It is for a server that does not run;
// Run ends with it.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if s.main != nil {
		_ = s.main.Close()
	}
	if s.hub != nil {
		s.consumers.Close()
		s.hub.Close()
	}
	for _, d := range s.sockets {
		d.Wait()
	}
	s.stop()
	if s.host != nil {
		s.host.Wait()
	}
	s.senders.Wait()
	if s.caller != nil {
		s.caller.Close()
	}
	if s.admin != nil {
		_ = s.admin.Close()
	}
	for _, ln := range []net.Listener{s.mainLn, s.adminLn} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	if s.engine != nil {
		errs = append(errs, s.engine.Close(ctx))
	}
	errs = append(errs, s.leave(ctx))
	if s.verifier != nil {
		errs = append(errs, s.verifier.Close())
	}
	return errors.Join(errs...)
}
