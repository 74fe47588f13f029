package server

import (
	"crypto/tls"
	"net/http"
	"time"

	"myelin/config"
	"myelin/hook"
	"myelin/hub"
)

// newCaller returns what asks the application, nil where nothing is asked.
func (s *Server) newCaller() (*hook.Caller, error) {
	h := s.cfg.Hooks
	calls := make(map[string]hook.Call)
	add := func(name, url string, timeout config.Duration, allow bool) {
		if url != "" {
			calls[name] = hook.Call{URL: url, Timeout: time.Duration(timeout), Allow: allow}
		}
	}
	add(hook.Connect, h.Connect.URL, h.Connect.Timeout, false)
	add(hook.RPC, h.RPC.URL, h.RPC.Timeout, false)
	for name, d := range map[string]config.HookDecision{hook.Subscribe: h.Subscribe, hook.Publish: h.Publish} {
		add(name, d.URL, d.Timeout, d.OnFailure == "allow")
	}
	for name, d := range map[string]config.HookRenewal{hook.Refresh: h.Refresh, hook.SubRefresh: h.SubRefresh} {
		add(name, d.URL, d.Timeout, d.OnFailure == "allow")
	}
	if len(calls) == 0 {
		return nil, nil //nolint:nilnil // nothing to ask is a valid answer
	}
	transport, err := s.hookTransport()
	if err != nil {
		return nil, err
	}
	return hook.NewCaller(hook.Options{
		Calls: calls, Secret: string(h.Secret), Headers: h.Headers, Concurrency: h.Concurrency,
		Failures: h.Breaker.Failures, Cooldown: time.Duration(h.Breaker.Cooldown),
		Transport: transport, Metrics: s.metrics, Logger: s.log,
	}), nil
}

// hookTransport returns the way to the application, nil for the usual one.
func (s *Server) hookTransport() (*http.Transport, error) {
	file := s.cfg.Hooks.CAFile
	if file == "" {
		return nil, nil //nolint:nilnil // this machine's own trust is a valid answer
	}
	pool, err := newPool("hooks.ca_file", file)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}, nil
}

// hooks returns what the hub asks, nil for nobody.
func (s *Server) hooks() hub.Hooks {
	if s.caller == nil {
		return nil
	}
	return s.caller
}
