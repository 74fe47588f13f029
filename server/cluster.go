package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"myelin/channel"
	"myelin/config"
	"myelin/conversation"
	"myelin/engine/jetstream"
	"myelin/mesh"
	"myelin/observe"
)

const (
	// joinTimeout is how long this node's part of the network may take to
	// work: the server inside this process, or a way to those elsewhere.
	joinTimeout = 30 * time.Second
	// retireTimeout is how long a node that stops may take to hand over what
	// it leads.
	retireTimeout = 10 * time.Second
	// frameOverhead is what a publication has on the network beside its data
	// and tags.
	frameOverhead = 64 << 10
	// largestFrame is the longest message that NATS takes without complaint.
	largestFrame = 8 << 20
)

// newNetwork returns how the configuration wants this node's part of the
// network.
func (s *Server) newNetwork() (mesh.Options, error) {
	c, js := s.cfg, s.cfg.Engine.JetStream
	o := mesh.Options{
		Node: s.node, Prefix: js.Prefix, Version: s.opts.Version, Logger: s.log, Metrics: s.metrics,
		MaxPayload: min(2*int(c.Limits.Message)+frameOverhead, largestFrame),
	}
	var err error
	if c.External() {
		o.URLs, o.CredentialsFile, o.User = js.URL, js.CredentialsFile, js.User
		o.Password, o.Token = string(js.Password), string(js.Token)
		o.ExternalTLS, err = newExternalTLS(js)
		return o, err
	}
	// What the server keeps for itself needs it, whatever the namespaces say.
	o.StorePath, o.Storage, o.SyncAlways = js.Path, true, true
	o.MaxStore, o.MaxMemory = int64(js.MaxBytes), int64(js.MaxMemory)
	if c.Clustered() {
		cl := c.Cluster
		o.Cluster, o.Listen, o.Advertise, o.Peers, o.Secret = cl.Name, cl.Listen, cl.Advertise, cl.Peers, string(cl.Secret)
		o.Storage, o.StorageNodes = cl.Storage, cl.StorageNodes
		o.TLS, err = newClusterTLS(cl.TLS)
	}
	return o, err
}

// newClusterTLS returns what this node shows the others and wants of them, nil
// for no TLS.
func newClusterTLS(t config.ClusterTLS) (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil //nolint:nilnil // no TLS is a valid answer
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.tls.cert_file %s, cluster.tls.key_file %s: %w", t.CertFile, t.KeyFile, err)
	}
	pool, err := newPool("cluster.tls.ca_file", t.CAFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// newExternalTLS returns how servers elsewhere are trusted, nil for as this
// machine does.
func newExternalTLS(js config.JetStream) (*tls.Config, error) {
	if js.CAFile == "" {
		return nil, nil //nolint:nilnil // this machine's own trust is a valid answer
	}
	pool, err := newPool("engine.jetstream.ca_file", js.CAFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// newPool reads certificates of authorities.
func newPool(key, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate; it should begin with -----BEGIN CERTIFICATE-----", key, file)
	}
	return pool, nil
}

// join opens this node's part of the network, and builds the rooms above it.
func (s *Server) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	s.joining.Addr = s.mainLn.Addr().String()
	n, err := mesh.Open(ctx, *s.joining)
	if err != nil {
		return err
	}
	s.network = n
	if s.cfg.Clustered() || s.cfg.External() {
		s.bus = n.Bus()
	}
	if c := s.cfg; c.Clustered() {
		if s.agreement, err = agree(s.ctx, c, s.bus, s.log); err != nil {
			return err
		}
	}
	policies := make([]*channel.Policy, 0, len(s.spaces))
	for _, space := range s.spaces {
		policies = append(policies, space.Policy)
	}
	c, js := s.cfg, s.cfg.Engine.JetStream
	o := jetstream.Options{
		Network: n, Namespaces: policies, Replicas: c.Replicas(), Prefix: js.Prefix,
		PublishTimeout: time.Duration(js.PublishTimeout), MaxMetaTTL: time.Duration(js.MaxMetaTTL),
		Synced: s.joining.SyncAlways || js.Synced, Alone: !c.External() && !c.Clustered(),
		Logger: s.log, Metrics: s.metrics,
	}
	if c.External() {
		o.MaxBytesPerStream = int64(js.MaxBytes)
	}
	if s.engine, err = jetstream.New(o); err != nil {
		return err
	}
	s.assemble()
	return nil
}

// comeUp waits for the others, as far as it needs them, and starts the engine.
func (s *Server) comeUp(ctx context.Context) error {
	if err := s.network.Ready(ctx); err != nil {
		return err
	}
	// Only now the others can say that they know this node by another process.
	if s.bus != nil {
		if err := s.bus.Start(ctx); err != nil {
			return err
		}
	}
	if err := s.startEngine(ctx); err != nil {
		return fmt.Errorf("engine.jetstream: %w", err)
	}
	return nil
}

// retire hands over what this node leads, so that a planned stop is hardly
// noticed.
func (s *Server) retire(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	if err := s.network.Retire(ctx); err != nil {
		s.log.Warn("not all that this node leads was handed over; publishers wait for an election", observe.KeyErr, err)
	}
}

// leave closes this node's part of the network.
func (s *Server) leave(ctx context.Context) error {
	if s.network == nil {
		return nil
	}
	var bye error
	if s.bus != nil {
		bye = s.bus.Close(ctx)
	}
	s.agreement.wait()
	return errors.Join(bye, s.network.Close(ctx))
}

// errWaiting is what clients are told before this node has come up.
func errWaiting() error {
	return channel.ErrUnavailable.With("this node is starting and waits for the others; try again, or at another node")
}

// gate keeps clients out until the node has come up. Probes and metrics pass.
func (s *Server) gate(h http.Handler) http.Handler {
	if s.network == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.hasStarted() && !strings.HasPrefix(r.URL.Path, "/health/") && r.URL.Path != "/metrics" {
			w.Header().Set("Retry-After", "1")
			conversation.Refuse(w, errWaiting())
			return
		}
		h.ServeHTTP(w, r)
	})
}

// bringUp has clients served, as soon as that is possible. What comes back is
// why it never will be, nil where ctx ended first.
func (s *Server) bringUp(ctx context.Context) error {
	if s.network != nil {
		s.log.Info("listening; clients are served when the network is ready",
			observe.KeyAddr, s.mainLn.Addr().String(), observe.KeyNode, s.node)
		err := s.comeUp(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was given up, and so nobody is interested
		}
		if err != nil {
			return err
		}
	}
	if err := s.tellWebhooks(&s.senders); err != nil {
		return err
	}
	s.begin()
	return nil
}
