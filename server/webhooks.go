package server

import (
	"maps"
	"slices"
	"sync"
	"time"

	"myelin/channel"
	"myelin/hook"
)

// The system namespaces of webhooks: how far each has been told, and what none
// took.
const (
	webhookSpace   = "$webhooks"
	webhookCursors = webhookSpace + ":cursors"
	deadSpace      = "$dead"
)

// deadKept is how many dead letters of each webhook are kept, and how long.
const (
	deadKept    = 1000
	deadKeptFor = 30 * 24 * time.Hour
)

// addWebhooks adds their namespaces, where there are any.
func (s *Server) addWebhooks() {
	if len(s.cfg.Webhooks) == 0 {
		return
	}
	s.spaces[webhookSpace] = s.systemNamespace(webhookSpace, channel.KindState, 1, 0)
	s.spaces[deadSpace] = s.systemNamespace(deadSpace, channel.KindLog, deadKept, deadKeptFor)
}

// tellWebhooks has them told until the server ends.
func (s *Server) tellWebhooks(senders *sync.WaitGroup) error {
	transport, err := s.hookTransport()
	if err != nil {
		return err
	}
	incarnation := uint64(time.Now().UnixNano())
	if s.bus != nil {
		incarnation = s.bus.Self().Incarnation
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Webhooks)) {
		w := s.cfg.Webhooks[name]
		o := hook.SenderOptions{
			Webhook: hook.Webhook{
				Name: name, URL: w.URL, Secret: string(w.Secret), Events: w.Events, Namespaces: w.Namespaces,
				Timeout: time.Duration(w.Timeout), Batch: w.Batch,
				MinPause: time.Duration(w.Retry.Min), MaxPause: time.Duration(w.Retry.Max), GiveUp: time.Duration(w.Retry.GiveUp),
			},
			Engine: s.engine, Tap: s.hub.Tap,
			Lifecycle: lifecycleChannel, LifecyclePolicy: s.spaces[lifecycleSpace].Policy,
			State: webhookCursors, StatePolicy: s.spaces[webhookSpace].Policy,
			Dead: deadSpace + ":" + name, DeadPolicy: s.spaces[deadSpace].Policy,
			Node: s.node, Incarnation: incarnation, Alone: s.bus == nil,
			Metrics: s.metrics, Logger: s.log,
		}
		if transport != nil {
			o.Transport = transport.Clone()
		}
		senders.Go(func() { hook.NewSender(o).Run(s.ctx) })
	}
	return nil
}
