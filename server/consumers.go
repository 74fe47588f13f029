package server

import (
	"time"

	"myelin/channel"
	"myelin/config"
	"myelin/consumer"
	"myelin/hub"
)

// consumerMetaTTL is how long a consumer that nothing happens to is remembered.
const consumerMetaTTL = 365 * 24 * time.Hour

// addConsumers makes the acknowledged consumers, which begin with Start, and
// their namespace.
func (s *Server) addConsumers() {
	c := s.cfg.Consumers
	rules := make(map[string]consumer.Rules, len(s.cfg.Namespaces))
	for name, ns := range s.cfg.Namespaces {
		rules[name] = consumerRules(ns.Consumers)
	}
	s.consumers = consumer.New(consumer.Options{
		Policy: &channel.Policy{
			Namespace: consumer.StateNamespace, Kind: channel.KindState, Durability: s.safest(), HistorySize: 1, MetaTTL: consumerMetaTTL,
		},
		Rules: rules, Limits: consumer.Limits{Consumers: c.Max, PerChannel: c.PerChannel, PerUser: c.PerUser}, Metrics: s.metrics, Logger: s.log,
	})
	s.spaces[consumer.Namespace] = &hub.Namespace{
		Policy: &channel.Policy{Namespace: consumer.Namespace}, Gate: s.consumers, System: true, PositionCheck: -1,
	}
}

func consumerRules(n config.NamespaceConsumers) consumer.Rules {
	who := map[string]consumer.Clients{"own": consumer.ClientsOwn, "any": consumer.ClientsAny}
	return consumer.Rules{
		Clients: who[n.Clients], Start: n.Start,
		Settings: consumer.Settings{
			AckTimeout: time.Duration(n.AckTimeout), MaxUnacked: n.MaxUnacked, MaxPerSession: n.MaxPerSession,
			MaxAttempts: n.MaxAttempts, DeadLetter: n.DeadLetter, Ordered: n.Ordered, Exclusive: n.Exclusive,
		},
	}
}
