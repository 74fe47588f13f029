package server

import (
	"net/http"

	"myelin/door/pusher"
)

// foreignRoutes adds the doors of other protocols that are switched on.
func (s *Server) foreignRoutes(mux *http.ServeMux) {
	if p := s.cfg.Pusher; p.Key != "" {
		d := pusher.New(s.ctx, pusher.Options{
			Hub: s.hub, Origins: s.origins, AppID: p.AppID, Key: p.Key, Secret: string(p.Secret),
			Public: p.Namespace, Private: p.PrivateNamespace, Members: p.PresenceMembers, ClientEvents: p.ClientEvents,
			Metrics: s.metrics, Logger: s.log,
		})
		s.sockets = append(s.sockets, d)
		mux.Handle("/app/{key}", s.watch(d))
		mux.Handle("/apps/", d.API())
	}
}
