package server

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"myelin/observe"
)

// maxLogged is how much of what a client sent a log line holds.
const maxLogged = 256

// httpLog gives each line of net/http's own log the level it deserves. Most of
// them are what clients do, such as a broken TLS handshake, and no news.
type httpLog struct{ slog.Handler }

// Handle logs one line.
func (h httpLog) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case strings.Contains(r.Message, "panic serving"):
		r.Level = slog.LevelError
	case strings.Contains(r.Message, "Accept error"):
		// Nobody gets in: there are no file descriptors left, as a rule.
		r.Level = slog.LevelWarn
	default:
		r.Level = slog.LevelDebug
	}
	if !h.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// refuseOrigin logs that a page was refused, which the page itself cannot find
// out. With --dev, where nobody but this machine could fill the log with it, it
// is a warning.
func (s *Server) refuseOrigin(r *http.Request) {
	level := slog.LevelDebug
	if s.cfg.DevMode {
		level = slog.LevelWarn
	}
	origin := r.Header.Get("Origin")
	s.log.Log(r.Context(), level, "a page was refused: its origin is not in auth.allowed_origins",
		observe.KeyOrigin, origin[:min(len(origin), maxLogged)], observe.KeyPath, r.URL.Path)
}

// watch logs the pages that h will refuse.
func (s *Server) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.origins.Allow(r) {
			s.refuseOrigin(r)
		}
		h.ServeHTTP(w, r)
	})
}
