package mesh

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// staleRoute is how long a connection between nodes may be silent before it
// does not speak for its node any more. Pings come more often.
const staleRoute = 2 * routePing

// guard decides which peers may connect: those that know the secret, and whose
// name nobody else has. Two nodes of one name would count as one when votes are
// cast, and data could be lost.
type guard struct {
	secret string
	voice  *voice
	server atomic.Pointer[server.Server]
}

// watch tells the guard which server it stands before.
func (g *guard) watch(s *server.Server) { g.server.Store(s) }

// Check implements server.Authentication.
func (g *guard) Check(c server.ClientAuthentication) bool {
	peer := c.GetOpts()
	if !hmac.Equal([]byte(peer.Password), []byte(routePassword(g.secret, peer.Username))) {
		return false
	}
	s := g.server.Load()
	if s == nil {
		return false
	}
	state, err := s.Routez(nil)
	if err != nil {
		return false
	}
	for _, r := range state.Routes {
		// The name that a peer connects by is the id of its process.
		if r.RemoteName == peer.Username && r.RemoteID != peer.Name && time.Since(r.LastActivity) < staleRoute {
			g.voice.suffer(troubleTwins, c.RemoteAddress().String(), fmt.Sprintf("node %q", peer.Username))
			return false
		}
	}
	return true
}

// routePassword is what a node shows its peers instead of the secret.
func routePassword(secret, node string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("myelin route\n" + node))
	return hex.EncodeToString(mac.Sum(nil))
}
