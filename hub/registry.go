package hub

import (
	"maps"
	"slices"
	"sync"
)

// registry finds sessions by id and by user.
type registry struct {
	// empty closes when the registry is closed and the last connection is.
	empty chan struct{}

	mu struct {
		sync.RWMutex
		// open counts the sessions whose connections are not closed yet, those
		// included that are in no map any more.
		open   int
		closed bool
		byID   map[string]*Session
		// byUser holds the first of a linked list; that of "" is the anonymous.
		byUser map[string]*Session
	}
}

func (r *registry) init() {
	r.empty = make(chan struct{})
	r.mu.byID = make(map[string]*Session)
	r.mu.byUser = make(map[string]*Session)
}

// add enters s, unless the registry is closed.
func (r *registry) add(s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return false
	}
	r.mu.open++
	r.mu.byID[s.id] = s
	return true
}

// gone notes that the connection of a session is closed.
func (r *registry) gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.open--
	if r.mu.closed && r.mu.open == 0 {
		close(r.empty)
	}
}

// close lets nobody in any more and returns who is there.
func (r *registry) close() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mu.closed {
		r.mu.closed = true
		if r.mu.open == 0 {
			close(r.empty)
		}
	}
	return r.allLocked()
}

// all returns every session.
func (r *registry) all() []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.allLocked()
}

func (r *registry) allLocked() []*Session {
	return slices.AppendSeq(make([]*Session, 0, len(r.mu.byID)), maps.Values(r.mu.byID))
}

// identify enters s under its user.
func (r *registry) identify(s *Session, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.byID[s.id] != s {
		return
	}
	r.linkLocked(s, user)
}

func (r *registry) linkLocked(s *Session, user string) {
	if first := r.mu.byUser[user]; first != nil {
		s.next, first.prev = first, s
	}
	r.mu.byUser[user] = s
}

func (r *registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user := "" // read under the lock, because it may change, see move
	if id := s.Identity(); id != nil {
		user = id.User
	}
	delete(r.mu.byID, s.id)
	r.unlinkLocked(s, user)
}

func (r *registry) unlinkLocked(s *Session, user string) {
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
