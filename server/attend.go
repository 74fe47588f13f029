package server

import (
	"errors"
	"time"
)

// attendPause is how often the server asks its parts how they are.
const attendPause = time.Second

// errNoKeys is what the health says while no token could be checked.
var errNoKeys = errors.New("the key set of auth.tokens.jwks_url has not been fetched yet; no token can be checked")

// attend keeps the health up to date until the server ends. It returns why the
// server has to end, nil where it has ended.
func (s *Server) attend() error {
	tick := time.NewTicker(attendPause)
	defer tick.Stop()
	for {
		s.lookAround()
		if s.network != nil {
			if err := s.network.Damage(); err != nil {
				return err
			}
		}
		if s.bus != nil {
			if err := s.bus.Err(); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return nil
		}
	}
}

// selfAware is an engine that knows how it is.
type selfAware interface {
	Healthy() error
}

// lookAround asks the parts that may be unwell while the process is not.
func (s *Server) lookAround() {
	var keys error
	if !s.verifier.Ready() {
		keys = errNoKeys
	}
	s.health.Set("tokens", keys)
	if s.hasStarted() {
		s.health.Set("bans", s.hub.BansHealthy())
	}
	if s.network != nil {
		s.health.Set("network", s.network.Healthy())
	}
	if e, ok := s.engine.(selfAware); ok {
		s.health.Set("engine", e.Healthy())
	}
}
