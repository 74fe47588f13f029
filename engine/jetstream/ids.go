package jetstream

import (
	"sync"
	"time"

	"myelin/channel"
)

// ids remembers the message ids of channels that nothing keeps, on this node.
type ids struct {
	most int
	mu   struct {
		sync.Mutex
		known map[string]*claim
		// order holds what is known, oldest first.
		order []*claim
	}
}

// claim is an id that somebody publishes, or has published.
type claim struct {
	ids  *ids
	id   string
	done chan struct{}
	ends time.Time
	at   channel.Position
	// failed: it was not published, and the id is free again.
	failed bool
}

// turn is somebody's view of a claim.
type turn struct {
	*claim
	first bool
}

func newIDs(most int) *ids {
	t := &ids{most: most}
	t.mu.known = make(map[string]*claim)
	return t
}

// claim returns the claim on an id, which is a new one where it is not known.
func (t *ids) claim(id string, window time.Duration) turn {
	orElse(&window, channel.DefaultDedupeWindow)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(func(c *claim) bool { return !now.Before(c.ends) })
	if c := t.mu.known[id]; c != nil && now.Before(c.ends) {
		return turn{claim: c}
	}
	t.forgetLocked(func(*claim) bool { return len(t.mu.order) >= t.most })
	c := &claim{ids: t, id: id, done: make(chan struct{}), ends: now.Add(window)}
	t.mu.known[id] = c
	t.mu.order = append(t.mu.order, c)
	return turn{claim: c, first: true}
}

// forgetLocked lets go of the oldest as long as over says so.
func (t *ids) forgetLocked(over func(c *claim) bool) {
	for len(t.mu.order) > 0 && over(t.mu.order[0]) {
		if c := t.mu.order[0]; t.mu.known[c.id] == c {
			delete(t.mu.known, c.id)
		}
		t.mu.order[0] = nil
		t.mu.order = t.mu.order[1:]
	}
}

// wait returns the position of the publication with this id, once it has one.
// It says no where that failed, and the id is free again.
func (t turn) wait() (channel.Position, bool) {
	<-t.done
	return t.at, !t.failed
}

// settle says what became of the publication. The first one must call it.
func (t turn) settle(at channel.Position, err error) {
	t.at, t.failed = at, err != nil
	if t.failed {
		t.ids.mu.Lock()
		defer t.ids.mu.Unlock()
		if t.ids.mu.known[t.id] == t.claim {
			delete(t.ids.mu.known, t.id)
		}
	}
	close(t.done)
}
