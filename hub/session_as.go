package hub

import (
	"myelin/auth"
	"myelin/channel"
)

// speaker returns who the session is to those who hear it in a channel.
func (s *Session) speaker(name string) *channel.ClientInfo {
	i := s.info(nil)
	if sb := s.subscription(name); sb != nil && sb.as != "" {
		i.User = sb.as
	}
	return i
}

// SignIn makes an anonymous session that of a user, for doors whose clients say
// late who they are. Who is somebody already stays so: it is refused with
// DisconnectInvalidToken.
func (s *Session) SignIn(id *auth.Identity) error {
	switch s.hub.clients.move(s, id) {
	case moved:
		s.expiresAt.Store(id.ExpiresAt)
		s.shard.push(message{kind: msgRetime, session: s})
		return nil
	case notThere:
		return DisconnectConnectionClosed
	}
	return DisconnectInvalidToken
}

// move is how a session's change of user ended.
type move uint8

const (
	moved move = iota
	notThere
	notAnonymous
)

// move takes a session from the anonymous ones to those of a user.
func (r *registry) move(s *Session, id *auth.Identity) move {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.byID[s.id] != s {
		return notThere
	}
	s.mu.Lock()
	switch {
	case s.mu.identity == nil:
		s.mu.Unlock()
		return notThere
	case s.mu.identity.User == id.User:
		s.mu.identity = id
		s.mu.Unlock()
		return moved
	case s.mu.identity.User != "":
		s.mu.Unlock()
		return notAnonymous
	}
	s.mu.identity = id
	s.mu.Unlock()
	r.unlinkLocked(s, "")
	r.linkLocked(s, id.User)
	return moved
}
