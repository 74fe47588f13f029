package hub

import (
	"sync"
	"time"

	"myelin/channel"
	"myelin/internal/rate"
	"myelin/observe"
)

// Bounds of what watchers are told of who comes and goes.
const (
	// newsAtOnce is how many joins and leaves of a channel are told one by
	// one at once, and newsRate how many a second.
	newsAtOnce = 32
	newsRate   = 64
	// newsEvery is how often what waited is told, in one batch.
	newsEvery = 100 * time.Millisecond
	// newsBytes is about how many bytes a batch holds.
	newsBytes = 32 << 10
	// newsHoles is how many that came to nothing may stand among what waits,
	// unless it is less than half.
	newsHoles = 1024
	// newsOverhead is what a join takes beside what it tells, about.
	newsOverhead = 96
)

// crowd is the users in a channel, on all nodes, and what watchers have not
// been told yet of who comes and goes. It is under the topic's lock.
type crowd struct {
	// users counts the announced connections of each user. In a cluster those
	// of other nodes are in it from the time on that seeded says.
	users  map[string]int
	seeded bool
	// told is what was told one by one.
	told rate.Meter
	// waiting is what has not been told, in order; what came to nothing has no
	// info. where finds it.
	waiting []news
	where   map[newsKey]int
	// first is the number of the first that waits; where has numbers. holes is
	// how many came to nothing.
	first, holes int
	queued       bool
}

// news is one join or leave, of a connection or of a user.
type news struct {
	kind EventKind
	info *channel.ClientInfo
}

// newsKey is whom it is about.
type newsKey struct {
	user bool
	id   string
}

func (n *news) joined() bool { return n.kind == EventJoin || n.kind == EventUserJoin }

func (n *news) key() newsKey {
	if n.kind == EventJoin || n.kind == EventLeave {
		return newsKey{id: n.info.Client}
	}
	return newsKey{user: true, id: n.info.User}
}

func (n *news) size() int {
	return newsOverhead + len(n.info.User) + len(n.info.Client) + len(n.info.ConnInfo) + len(n.info.ChanInfo)
}

// watchLocked counts a subscription that hears who comes and goes, or takes it
// back.
func (t *topic) watchLocked(sb *sub, n int) {
	if sb.watches {
		t.mu.watchers += n
	}
	if sb.watchesUsers {
		t.mu.userWatchers += n
	}
}

// seed has the users on other nodes counted, in the order of what is heard of
// them.
func (t *topic) seed() {
	if !t.ns.JoinLeave {
		return // nobody watches
	}
	c := t.hub.cluster
	t.mu.Lock()
	t.mu.crowd = &crowd{seeded: c == nil}
	t.mu.Unlock()
	if c != nil {
		c.push(item{kind: itemSeed, topic: t})
	}
}

// seeded takes in the users that are on other nodes now. Those who came here in
// the meantime and are nowhere else are news.
func (t *topic) seeded(elsewhere map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.crowd
	c.seeded = true
	for user := range c.users {
		if elsewhere[user] == 0 {
			t.newsLocked(news{EventUserJoin, &channel.ClientInfo{User: user}})
		}
	}
	for user, n := range elsewhere {
		c.addLocked(user, n)
	}
}

func (c *crowd) addLocked(user string, n int) (total int) {
	if c.users == nil {
		c.users = make(map[string]int)
	}
	total = c.users[user] + n
	if total > 0 {
		c.users[user] = total
	} else {
		delete(c.users, user)
	}
	return total
}

// movedLocked takes in that an announced member has come or gone, here or on
// another node, and tells those who watch.
func (t *topic) movedLocked(joined, elsewhere bool, info *channel.ClientInfo) {
	c := t.mu.crowd
	if c == nil {
		return
	}
	kind, userKind, n, turn := EventLeave, EventUserLeave, -1, 0
	if joined {
		kind, userKind, n, turn = EventJoin, EventUserJoin, 1, 1
	}
	t.newsLocked(news{kind, info})
	if elsewhere && !c.seeded {
		return // it will be among those who are there then
	}
	if c.addLocked(info.User, n) == turn && c.seeded {
		t.newsLocked(news{userKind, info})
	}
}

// newsLocked tells at once where little happens; otherwise it waits for others,
// and comes to nothing where its opposite comes first.
func (t *topic) newsLocked(n news) {
	c := t.mu.crowd
	key, watchers := n.key(), t.mu.watchers
	if key.user {
		watchers = t.mu.userWatchers
	}
	if watchers == 0 {
		return
	}
	if len(c.waiting) == 0 && c.admitLocked(t.hub.now()) {
		t.sendNewsLocked([]news{n})
		return
	}
	if c.where == nil {
		c.where = make(map[newsKey]int)
	}
	if at, ok := c.where[key]; ok {
		// Who came back may show another info: that is told.
		if old := &c.waiting[at-c.first]; old.joined() != n.joined() && (key.user || !n.joined() || sameInfo(old.info, n.info)) {
			old.info = nil
			delete(c.where, key)
			c.holes++
			c.compact()
			return
		}
	}
	c.where[key] = c.first + len(c.waiting)
	c.waiting = append(c.waiting, n)
	if len(c.waiting) > t.batch() {
		t.hub.opts.Metrics.Limit(observe.LimitJoinLeave).Inc()
	}
	if !c.queued {
		c.queued = true
		t.hub.pacer.add(t.hub, t)
	}
}

// compact forgets what came to nothing, where there is much of it: who comes and
// goes again and again is not to make the others' news longer.
func (c *crowd) compact() {
	if c.holes <= newsHoles || c.holes <= len(c.waiting)/2 {
		return
	}
	kept := make([]news, 0, len(c.waiting)-c.holes)
	for i, n := range c.waiting {
		if n.info == nil {
			continue
		}
		if key := n.key(); c.where[key] == c.first+i {
			c.where[key] = c.first + len(kept)
		}
		kept = append(kept, n)
	}
	c.waiting, c.holes = kept, 0
}

func sameInfo(a, b *channel.ClientInfo) bool {
	return a == b || a.Client == b.Client && a.User == b.User &&
		string(a.ConnInfo) == string(b.ConnInfo) && string(a.ChanInfo) == string(b.ChanInfo)
}

// admitLocked reports whether one more may be told by itself.
func (c *crowd) admitLocked(now time.Duration) bool {
	_, ok := c.told.Take(rate.Limit{N: newsRate, Burst: newsAtOnce}, 1, now)
	return ok
}

// batch is how many are told together.
func (t *topic) batch() int {
	return max(1, t.ns.JoinLeaveRate*int(newsEvery/time.Millisecond)/1000)
}

// tellWaiting tells the next batch of what waited, and reports whether there is
// more.
func (t *topic) tellWaiting() (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.crowd
	var out []news
	size := 0
	for _, n := range c.waiting {
		if n.info == nil {
			c.holes--
		} else {
			if len(out) == t.batch() || size > 0 && size+n.size() > newsBytes {
				break
			}
			size += n.size()
			out = append(out, n)
			if key := n.key(); c.where[key] == c.first {
				delete(c.where, key)
			}
		}
		c.first++
		c.waiting = c.waiting[1:]
	}
	t.sendNewsLocked(out)
	if c.queued = len(c.waiting) > 0; !c.queued {
		c.waiting, c.where = nil, nil
	}
	return c.queued
}

// sendNewsLocked hands news to those who watch, connections and users apart, as
// not everybody hears of both.
func (t *topic) sendNewsLocked(all []news) {
	var connections, users []Event
	for _, n := range all {
		e := Event{Kind: n.kind, Channel: t.name, Info: n.info}
		if n.key().user {
			users = append(users, e)
		} else {
			connections = append(connections, e)
		}
	}
	for _, events := range [][]Event{connections, users} {
		if len(events) > 0 {
			t.sendLocked(message{kind: msgDeliver, delivery: &delivery{id: t.id, event: events[0], more: events[1:]}})
		}
	}
}

// pacer is the topics in which so much comes and goes that it is told in
// batches. Its task comes and goes with them.
type pacer struct {
	mu struct {
		sync.Mutex
		topics  []*topic
		running bool
	}
}

func (p *pacer) add(h *Hub, t *topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.topics = append(p.mu.topics, t)
	if !p.mu.running {
		p.mu.running = true
		h.task(func() { p.work(h) })
	}
}

func (p *pacer) work(h *Hub) {
	tick := time.NewTicker(newsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		p.mu.Lock()
		topics := p.mu.topics
		p.mu.topics = nil
		p.mu.Unlock()
		var again []*topic
		for _, t := range topics {
			if t.tellWaiting() {
				again = append(again, t)
			}
		}
		p.mu.Lock()
		p.mu.topics = append(p.mu.topics, again...)
		if len(p.mu.topics) == 0 {
			p.mu.running = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}
