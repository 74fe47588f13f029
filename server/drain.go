package server

import (
	"context"
	"time"

	"myelin/hub"
	"myelin/observe"
)

// warnOfStorm says when the time that is left does not let all clients go at
// drain.rate: the rest will be closed at once, and come back at once.
func (s *Server) warnOfStorm(ctx context.Context) {
	until, ok := ctx.Deadline()
	if !ok {
		return
	}
	clients := s.hub.Connections()
	if in := time.Duration(clients) * hub.DrainPause(s.cfg.Drain.Rate); in > time.Until(until) {
		s.log.Warn("not all clients can go at drain.rate within drain.timeout, and the rest will be closed at once; raise one of them",
			observe.KeyCount, clients, observe.KeyLimit, s.cfg.Drain.Rate)
	}
}
