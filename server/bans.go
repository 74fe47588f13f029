package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/config"
	"myelin/conversation"
	"myelin/door/api"
	"myelin/hub"
)

// revokedKept is how many changes of the list of who is kept out are kept, so
// that nodes need not read all of it for each.
const revokedKept = 1000

// addBans adds the namespace of who is kept out, and returns those that the
// configuration names.
func (s *Server) addBans() (*auth.Bans, error) {
	s.spaces[hub.RevokedNamespace] = s.systemNamespace(hub.RevokedNamespace, channel.KindState, revokedKept, 0)
	return newBans(s.cfg.Auth.Block)
}

func newBans(b config.Block) (*auth.Bans, error) {
	var all []auth.Ban
	for _, user := range b.Users {
		all = append(all, auth.Ban{Kind: auth.BanUser, Value: user})
	}
	for _, address := range b.Addresses {
		all = append(all, auth.Ban{Kind: auth.BanAddress, Value: address})
	}
	bans, err := auth.NewBans(all)
	if err != nil {
		return nil, fmt.Errorf("auth.block: %w", err)
	}
	return bans, nil
}

// startEngine starts the engine and reads who is kept out, before anybody is
// let in.
func (s *Server) startEngine(ctx context.Context) error {
	if err := s.engine.Start(ctx, s.hub); err != nil {
		return err
	}
	if err := s.hub.LearnBans(ctx); err != nil {
		return fmt.Errorf("who is kept out cannot be read, so nobody can be let in: %w", err)
	}
	return nil
}

// proxies are those whose word on where a client is counts.
type proxies []netip.Prefix

func newProxies(list []string) (proxies, error) {
	var out proxies
	for _, text := range list {
		p, err := auth.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p proxies) trust(a auth.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// client returns where the client behind a request is: the last address in
// X-Forwarded-For that no trusted proxy has, for each proxy adds who it got the
// request from. What stands before may be made up.
func (p proxies) client(r *http.Request) auth.Addr {
	at := auth.ParseAddress(r.RemoteAddr)
	if !p.trust(at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop := auth.ParseAddress(strings.TrimSpace(text))
		if !hop.IsValid() {
			return at
		}
		if at = hop; !p.trust(at) {
			return at
		}
	}
	return at
}

// located notes where the client behind a request is, and refuses those from
// addresses that are kept out. The HTTP API has a key instead.
func (s *Server) located(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := s.proxies.client(r)
		path := r.URL.Path
		own := strings.HasPrefix(path, api.Prefix) || path == "/api" || strings.HasPrefix(path, "/health/") || path == "/metrics"
		if !own {
			if d, banned := s.hub.BannedAddress(at); banned {
				conversation.Refuse(w, d)
				return
			}
		}
		h.ServeHTTP(w, r.WithContext(auth.WithAddress(r.Context(), at)))
	})
}
