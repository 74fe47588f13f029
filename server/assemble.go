package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/config"
	"myelin/engine/disk"
	"myelin/engine/memory"
	"myelin/hub"
)

// newEngine returns the engine the configuration names.
func newEngine(c *config.Config, log *slog.Logger) (channel.Engine, error) {
	switch kind := c.Kept(); kind {
	case "memory":
		return memory.New(memory.Options{MaxChannels: c.Engine.Memory.MaxChannels, MaxBytes: int64(c.Engine.Memory.MaxBytes)}), nil
	case "disk":
		d := c.Engine.Disk
		e, err := disk.Open(disk.Options{
			Path: d.Path, FlushInterval: time.Duration(d.FlushInterval), MaxChannels: d.MaxChannels, Logger: log,
		})
		if err != nil {
			return nil, fmt.Errorf("engine.disk: %w", err)
		}
		return e, nil
	default:
		return nil, fmt.Errorf("engine.kind %q is not in this build", kind)
	}
}

// durability reads a word of the configuration.
func durability(word string) channel.Durability {
	switch word {
	case "async":
		return channel.DurabilityAsync
	case "sync":
		return channel.DurabilitySync
	}
	return channel.DurabilityMemory
}

// newCertificate returns the main listener's certificate, nil without TLS.
func newCertificate(c *config.Config) (*tls.Certificate, error) {
	if c.TLS.CertFile == "" {
		return nil, nil //nolint:nilnil // no certificate is a valid answer
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file %s, tls.key_file %s: %w", c.TLS.CertFile, c.TLS.KeyFile, err)
	}
	return &pair, nil
}

// newVerifier returns what checks tokens.
func newVerifier(c *config.Config, log *slog.Logger) (*auth.Verifier, error) {
	t := c.Auth.Tokens
	var pem []byte
	if t.PublicKeyFile != "" {
		b, err := os.ReadFile(t.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("auth.tokens.public_key_file: %w", err)
		}
		pem = b
	}
	v, err := auth.NewVerifier(auth.Options{
		HMACSecret: string(t.HMACSecret), PublicKeyPEM: pem, JWKSURL: t.JWKSURL,
		Audience: t.Audience, Issuer: t.Issuer, UserIDClaim: t.UserIDClaim, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("auth.tokens: %w", err)
	}
	return v, nil
}

// newNamespaces returns the namespaces of the configuration.
func newNamespaces(c *config.Config) (map[string]*hub.Namespace, error) {
	spaces := make(map[string]*hub.Namespace, len(c.Namespaces))
	for name, ns := range c.Namespaces {
		n, err := namespace(name, ns, durability(c.Survives(ns)))
		if err != nil {
			return nil, err
		}
		spaces[name] = n
	}
	return spaces, nil
}

// newHub returns the hub of the configuration.
func (s *Server) newHub() *hub.Hub {
	l, client := s.cfg.Limits, s.cfg.Client
	o := hub.Options{
		Node: s.node, Engine: s.engine, Namespaces: s.spaces, Bans: s.bans, Metrics: s.metrics, Logger: s.log,
		Lifecycle:    s.lifecycle(),
		Hooks:        s.hooks(),
		PingInterval: time.Duration(client.PingInterval),
		PongTimeout:  time.Duration(client.PongTimeout),
		StaleAfter:   time.Duration(client.StaleAfter),
		ExpiredDelay: time.Duration(client.ExpiredCloseDelay),
		Limits: hub.Limits{
			Connections: l.Connections, ChannelsPerConnection: l.ChannelsPerConnection,
			MessageBytes: int(l.Message), QueueBytes: int(l.Queue), AlarmBytes: int(l.AlarmQueue),
			PatternsPerConnection: l.PatternsPerConnection, Patterns: l.Patterns,
			CommandsPerSecond: l.CommandsPerSecond, CommandBurst: l.CommandBurst, HistoryRead: l.HistoryRead, FilterNodes: l.FilterNodes, FilterBytes: int(l.FilterBytes), StateBytes: int64(l.State), PerUser: perUser(l.PerUser),
		},
	}
	if s.bus != nil {
		o.Bus = s.bus
	}
	return hub.New(o)
}

// namespace translates one namespace.
func namespace(name string, ns config.Namespace, d channel.Durability) (*hub.Namespace, error) {
	var rules auth.Rules
	var patterns auth.WhoSet
	for _, list := range []struct {
		key   string
		names []string
		set   *auth.WhoSet
	}{
		{"subscribe", ns.Subscribe, &rules.Subscribe},
		{"publish", ns.Publish, &rules.Publish},
		{"subscribe_patterns", ns.Patterns, &patterns},
		{"read_presence", ns.ReadPresence, &rules.Presence},
		{"read_history", ns.ReadHistory, &rules.History},
	} {
		set, err := auth.ParseWhoSet(list.names)
		if err != nil {
			return nil, fmt.Errorf("namespaces.%s.%s: %w", name, list.key, err)
		}
		*list.set = set
	}
	check := time.Duration(ns.PositionCheck)
	if check == 0 {
		check = -1
	}
	out := &hub.Namespace{
		Policy: &channel.Policy{
			Namespace: name, Durability: d, HistorySize: ns.Keeps(), HistoryTTL: time.Duration(ns.History.TTL),
			MetaTTL: time.Duration(ns.History.MetaTTL), DedupeWindow: time.Duration(ns.DedupeWindow),
		},
		Rules: rules, Presence: ns.Presence, JoinLeave: ns.JoinLeave, Recover: ns.Recovers(), PositionCheck: check,
		AskSubscribe: slices.Contains(ns.Hooks, "subscribe"), AskPublish: slices.Contains(ns.Hooks, "publish"),
		Rates: ratesOf(ns.Rate), MessageBytes: int(ns.Message),
		Patterns: patterns, JoinLeaveByUser: ns.JoinLeaveBy == "user", JoinLeaveRate: ns.JoinLeaveRate,
		Lane: laneOf(ns.Lane), Slow: slowOf(ns.Slow), Expiry: time.Duration(ns.Expiry),
		Delta: ns.Delta, NumericIDs: numericIDs(ns.NumericIDs), BatchDelay: time.Duration(ns.Batch.MaxDelay),
	}
	keepEntries(out, ns)
	return out, nil
}
