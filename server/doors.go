package server

import (
	"net/http"

	"myelin/channel"
	"myelin/door/mercure"
	"myelin/door/pusher"
	"myelin/hub"
)

// foreignRoutes adds the doors of other protocols that are switched on.
func (s *Server) foreignRoutes(mux *http.ServeMux) {
	if p := s.cfg.Pusher; p.Key != "" {
		d := pusher.New(s.ctx, pusher.Options{
			Hub: s.hub, Host: s.host, Origins: s.origins, AppID: p.AppID, Key: p.Key, Secret: string(p.Secret),
			Public: p.Namespace, Private: p.PrivateNamespace, Members: p.PresenceMembers, ClientEvents: p.ClientEvents,
			Metrics: s.metrics, Logger: s.log,
		})
		s.sockets = append(s.sockets, d)
		mux.Handle("/app/{key}", s.watch(d))
		mux.Handle("/apps/", d.API())
	}
	if m := s.cfg.Mercure; m.Enabled {
		d := mercure.New(s.ctx, mercure.Options{
			Hub: s.hub, Host: s.host, Verifier: s.verifier, Origins: s.origins, Anonymous: s.cfg.Auth.Anonymous,
			Public: m.Namespace, Private: m.PrivateNamespace, Audience: s.cfg.Auth.Tokens.Audience,
			Subscriptions: m.Subscriptions, Metrics: s.metrics, Logger: s.log,
		})
		mux.Handle(mercure.Path, s.guard(d))
		if m.Subscriptions {
			list := s.guard(http.HandlerFunc(d.ServeSubscriptions))
			mux.Handle(mercure.SubscriptionsPath, list)
			mux.Handle(mercure.SubscriptionsPath+"/", list)
		}
		mux.Handle("GET "+mercure.MetadataPath, s.guard(http.HandlerFunc(d.ServeMetadata)))
	}
}

// addMercure adds the namespace of active subscriptions, where there is one:
// nothing is published to it, its members are what counts.
func (s *Server) addMercure() {
	if m := s.cfg.Mercure; m.Enabled && m.Subscriptions {
		s.spaces[mercure.SubscriptionsNamespace] = &hub.Namespace{
			Policy: &channel.Policy{Namespace: mercure.SubscriptionsNamespace}, Presence: true, System: true, PositionCheck: -1,
		}
	}
}
