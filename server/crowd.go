package server

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"myelin/channel"
	"myelin/conversation"
	"myelin/observe"
)

// Bounds of what comes in before it is a session.
const (
	// requestTimeout is how long a request may take to be read, and how long
	// its answer to be written; streams go on from there by rules of their own.
	requestTimeout = 30 * time.Second
	// spareConnections is how many HTTP connections there may be beside
	// limits.connections: requests, and pages that keep theirs open.
	spareConnections = 512
	// spareDescriptors is what a node needs beside its connections.
	spareDescriptors = 64
	// maxStreams is how many requests one HTTP/2 connection may have under way.
	maxStreams = 128
)

// crowd counts the HTTP connections of the main listener and turns away what
// is too many, so that those who are in, and the operator, still get through.
type crowd struct {
	open  atomic.Int64
	most  int64
	files int64      // descriptors the process may have, 0 for unknown
	held  func() int // sessions, whose sockets count too
	hit   *observe.Counter
	log   *slog.Logger
	said  atomic.Int64 // when the log last heard of it, in Unix seconds
}

// full reports whether the n-th connection is too many.
func (c *crowd) full(n int64) bool {
	if n > c.most {
		return true
	}
	// Where there are few descriptors half of them are kept back.
	return c.files > 0 && n+int64(c.held()) > c.files-min(spareDescriptors, c.files/2)
}

// tell lets the log hear of it, at most once in ten seconds.
func (c *crowd) tell(n int64) {
	now, last := time.Now().Unix(), c.said.Load()
	if now-last >= 10 && c.said.CompareAndSwap(last, now) {
		c.log.Warn("too many connections: new ones are closed; raise limits.connections, or the open file limit (ulimit -n)",
			observe.KeyCount, n, observe.KeyLimit, c.most)
	}
}

// watch is an http.Server's ConnState.
func (c *crowd) watch(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if n := c.open.Add(1); c.full(n) {
			c.hit.Inc()
			c.tell(n)
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	}
}

// descriptors returns how many descriptors the process may have, 0 for unknown.
func descriptors() int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<40 {
		return 0
	}
	return int64(l.Cur)
}

// warnOfDescriptors says when the system will not let in as many connections
// as the configuration does.
func (s *Server) warnOfDescriptors() {
	if f := s.crowd.files; !s.cfg.DevMode && f > 0 && f < int64(s.cfg.Limits.Connections)+spareDescriptors {
		s.log.Warn("the open file limit is lower than limits.connections needs; raise it with ulimit -n or LimitNOFILE",
			observe.KeyLimit, f, "connections", s.cfg.Limits.Connections)
	}
}

// patient bounds how long a request may take. net/http reads what a handler
// left of a body before it answers, which without a deadline may last for ever.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		until := time.Now().Add(requestTimeout)
		_ = rc.SetReadDeadline(until)
		_ = rc.SetWriteDeadline(until)
		h.ServeHTTP(w, r)
	})
}

// hosted refuses, where everybody may do everything, requests that were not
// sent to this machine by a name of its own: a page elsewhere could have its
// own name point here (DNS rebinding) and would be let in as the same origin.
func (s *Server) hosted(h http.Handler) http.Handler {
	if !s.cfg.DevMode {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownName(r.Host) {
			conversation.Refuse(w, channel.ErrPermissionDenied.With("with --dev this server answers to localhost and loopback addresses only"))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ownName reports whether a Host header names this machine and nothing else.
func ownName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		name = name[1 : len(name)-1]
	}
	ip := net.ParseIP(name)
	return name == "localhost" || (ip != nil && ip.IsLoopback())
}
