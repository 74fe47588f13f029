package server

import (
	"net/http"
	"net/http/pprof"

	"myelin/console"
	"myelin/door/ack"
	"myelin/door/api"
	"myelin/door/emulation"
	"myelin/door/httpstream"
	"myelin/door/sse"
	"myelin/door/websocket"
)

// mainRoutes is everything that clients reach.
func (s *Server) mainRoutes() http.Handler {
	mux := http.NewServeMux()
	for path, oneWay := range map[string]bool{"/connection/websocket": false, "/connection/uni_websocket": true} {
		d := websocket.New(websocket.Options{Host: s.host, Origins: s.origins, OneWay: oneWay, Metrics: s.metrics, Logger: s.log})
		s.sockets = append(s.sockets, d)
		mux.Handle(path, s.watch(d))
	}
	for path, oneWay := range map[string]bool{"/connection/sse": false, "/connection/uni_sse": true} {
		mux.Handle(path, s.guard(sse.New(sse.Options{Host: s.host, OneWay: oneWay, Metrics: s.metrics})))
	}
	for path, oneWay := range map[string]bool{"/connection/http_stream": false, "/connection/uni_http_stream": true} {
		mux.Handle(path, s.guard(httpstream.New(httpstream.Options{Host: s.host, OneWay: oneWay, Metrics: s.metrics})))
	}
	mux.Handle("/emulation", s.guard(emulation.New(emulation.Options{Host: s.host, Node: s.hub.Node(), Metrics: s.metrics})))
	mux.Handle("/consumer/ack", s.guard(ack.New(ack.Options{Consumers: s.consumers, Metrics: s.metrics})))
	calls := s.guard(api.New(api.Options{
		Hub: s.hub, Key: string(s.cfg.API.Key), Insecure: s.cfg.API.Insecure,
		Consumers: s.consumers, Version: s.opts.Version, Metrics: s.metrics, Logger: s.log,
	}))
	mux.Handle(api.Prefix, calls)
	mux.Handle("/api", calls)
	s.foreignRoutes(mux)
	mux.Handle("/", console.Handler())
	if s.cfg.DevMode {
		s.operatorRoutes(mux)
	}
	return mux
}

// adminRoutes is everything that operators reach.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	s.operatorRoutes(mux)
	mux.Handle("POST /backup", &backups{server: s})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (s *Server) operatorRoutes(mux *http.ServeMux) {
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.Handle("GET /health/live", s.health.Live())
	mux.Handle("GET /health/ready", s.health.Ready())
	mux.Handle("GET /health/startup", s.health.Startup())
}
