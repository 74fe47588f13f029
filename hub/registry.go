package hub

import "sync"

// registry finds sessions by id and by user.
type registry struct {
	mu struct {
		sync.RWMutex
		byID map[string]*Session
		// byUser holds the first of a linked list; that of "" is the anonymous.
		byUser map[string]*Session
	}
}

func (r *registry) init() {
	r.mu.byID = make(map[string]*Session)
	r.mu.byUser = make(map[string]*Session)
}

func (r *registry) add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.byID[s.id] = s
}

// identify enters s under its user.
func (r *registry) identify(s *Session, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.byID[s.id] != s {
		return
	}
	if first := r.mu.byUser[user]; first != nil {
		s.next, first.prev = first, s
	}
	r.mu.byUser[user] = s
}

func (r *registry) remove(s *Session) {
	user := ""
	if id := s.Identity(); id != nil {
		user = id.User
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.byID, s.id)
	if s.prev != nil {
		s.prev.next = s.next
	} else if r.mu.byUser[user] == s {
		if s.next != nil {
			r.mu.byUser[user] = s.next
		} else {
			delete(r.mu.byUser, user)
		}
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
}

// all returns every session.
func (r *registry) all() []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*Session, 0, len(r.mu.byID))
	for _, s := range r.mu.byID {
		out = append(out, s)
	}
	return out
}

// users returns how many different users are connected, anonymous ones as one.
func (r *registry) users() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.mu.byUser)
}

// of returns the sessions of a user, or the one with a client id, or that one
// only if it is the user's where both are given.
func (r *registry) of(user, client string) []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if client != "" {
		s := r.mu.byID[client]
		if s == nil || (user != "" && !s.is(user)) {
			return nil
		}
		return []*Session{s}
	}
	var out []*Session
	for s := r.mu.byUser[user]; s != nil; s = s.next {
		out = append(out, s)
	}
	return out
}

func (s *Session) is(user string) bool {
	id := s.Identity()
	return id != nil && id.User == user
}
