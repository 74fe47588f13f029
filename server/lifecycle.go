package server

import (
	"time"

	"myelin/channel"
	"myelin/hub"
)

// lifecycleSpace is the system namespace of who comes and goes, and
// lifecycleChannel its one channel.
const (
	lifecycleSpace   = "$lifecycle"
	lifecycleChannel = lifecycleSpace + ":events"
)

// addLifecycle adds the namespace of the lifecycle channel, where there is one.
func (s *Server) addLifecycle() {
	if l := s.cfg.Lifecycle; l.On() {
		s.spaces[lifecycleSpace] = s.systemNamespace(lifecycleSpace, channel.KindLog, l.History.Size, time.Duration(l.History.TTL))
	}
}

// lifecycle returns what the hub tells of, nil for nothing.
func (s *Server) lifecycle() *hub.Lifecycle {
	l := s.cfg.Lifecycle
	if !l.On() {
		return nil
	}
	o := &hub.Lifecycle{
		Channel: lifecycleChannel, Events: l.Events, VacatedAfter: time.Duration(l.VacatedAfter), Queue: l.Queue,
	}
	if len(l.Namespaces) > 0 {
		o.Namespaces = l.Namespaces
	}
	return o
}
