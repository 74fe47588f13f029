package server

import (
	"time"

	"myelin/channel"
	"myelin/hub"
)

// systemNamespace returns a namespace that the server uses itself, as safe as
// the engine can keep it. size is how many publications of each of its channels
// are kept, and for how long; 0 is for ever.
func (s *Server) systemNamespace(name string, kind channel.Kind, size int, ttl time.Duration) *hub.Namespace {
	return &hub.Namespace{
		Policy: &channel.Policy{
			Namespace: name, Kind: kind, Durability: s.safest(), HistorySize: size, HistoryTTL: ttl,
			MetaTTL: max(channel.DefaultMetaTTL, ttl),
		},
		Recover: true, System: true,
	}
}

// safest returns the highest durability that the configured engine promises.
func (s *Server) safest() channel.Durability {
	switch c := s.cfg; {
	case c.Kept() == "memory":
		return channel.DurabilityMemory
	case c.Kept() == "jetstream" && c.External() && !c.Engine.JetStream.Synced:
		return channel.DurabilityAsync
	}
	return channel.DurabilitySync
}
