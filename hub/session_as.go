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
// late who they are. Bans and quotas hold as when it is known from the start; on
// a Disconnect the session is to be closed. Who is somebody already stays so.
func (s *Session) SignIn(id *auth.Identity) error {
	if err := s.hub.keptOut(s.address, id); err != nil {
		return err
	}
	var seats []seat
	if was := s.Identity(); was != nil && was.User != id.User {
		var err error
		if seats, err = s.hub.quotas.sit(s, id); err != nil {
			return err
		}
	}
	if err := s.hub.clients.move(s, id, &seats); err != nil {
		s.hub.quotas.stand(seats)
		return err
	}
	s.hub.quotas.stand(seats)
	s.expiresAt.Store(id.ExpiresAt)
	s.shard.push(message{kind: msgRetime, session: s})
	// Once more: who is banned from here on is found among the others.
	return s.hub.keptOut(s.address, id)
}

// move takes a session from the anonymous ones to those of a user, with the
// seats that it has taken. What is left of them is to be given back.
func (r *registry) move(s *Session, id *auth.Identity, seats *[]seat) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.byID[s.id] != s {
		return DisconnectConnectionClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.identity == nil || s.mu.state == sessionClosed:
		return DisconnectConnectionClosed
	case s.mu.identity.User == id.User:
		s.mu.identity = id
		return nil
	case s.mu.identity.User != "":
		return channel.ErrPermissionDenied.With("the connection is another user's already")
	}
	s.mu.identity = id
	s.mu.seats, *seats = append(s.mu.seats, *seats...), nil
	r.unlinkLocked(s, "")
	r.linkLocked(s, id.User)
	return nil
}
