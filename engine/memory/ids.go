package memory

import (
	"strings"
	"sync"
	"sync/atomic"

	"myelin/channel"
)

// idMemory knows which message ids were published on the channels of one
// shard, and where. It is apart from the books, so that an id is remembered
// even when its channel is not.
type idMemory struct {
	mu struct {
		sync.Mutex
		known map[idKey]*idEntry
		// perChannel holds the ids of each channel, oldest first, which with
		// one window per channel is also the order of their expiry.
		perChannel map[string]*idQueue
		// oldest and newest are the ends of the list of all ids.
		oldest, newest *idEntry
	}
	// total counts the ids of all shards.
	total      *atomic.Int64
	maxTotal   int64
	maxChannel int
	// wake tells the sweeper that there is something due from now on.
	wake func(due int64)
}

type idKey struct{ channel, id string }

type idEntry struct {
	idKey
	at             channel.Position
	expires        int64
	older, younger *idEntry
	next           *idEntry
}

type idQueue struct {
	first, last *idEntry
	n           int
}

// find returns the position an id was published at, if it is remembered.
func (m *idMemory) find(name, id string, now int64) (channel.Position, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.mu.known[idKey{name, id}]; e != nil && now < e.expires {
		return e.at, true
	}
	return channel.Position{}, false
}

// claim remembers that id was published at a position, unless it is
// remembered already: then it returns that position and true.
func (m *idMemory) claim(name, id string, at channel.Position, now, expires int64) (channel.Position, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := idKey{name, id}
	if e := m.mu.known[k]; e != nil {
		if now < e.expires {
			return e.at, true
		}
		for m.mu.known[k] != nil {
			m.forget(m.mu.perChannel[name].first)
		}
	}
	q := m.mu.perChannel[name]
	if q != nil && q.n >= m.maxChannel {
		m.forget(q.first)
		q = m.mu.perChannel[name]
	}
	if m.total.Load() >= m.maxTotal && m.mu.oldest != nil {
		m.forget(m.mu.oldest)
		q = m.mu.perChannel[name]
	}
	if m.mu.known == nil {
		m.mu.known = make(map[idKey]*idEntry)
		m.mu.perChannel = make(map[string]*idQueue)
	}
	if q == nil {
		q = &idQueue{}
		name = strings.Clone(name)
		m.mu.perChannel[name] = q
	} else {
		name = q.first.channel
	}
	m.remember(q, &idEntry{idKey: idKey{name, strings.Clone(id)}, at: at, expires: expires})
	return at, false
}

// remember links e in. The lock is held.
func (m *idMemory) remember(q *idQueue, e *idEntry) {
	m.mu.known[e.idKey] = e
	m.total.Add(1)
	e.older = m.mu.newest
	if e.older != nil {
		e.older.younger = e
	} else {
		m.mu.oldest = e
		m.wake(roundUp(e.expires, memoryTick))
	}
	m.mu.newest = e
	if q.last != nil {
		q.last.next = e
	} else {
		q.first = e
	}
	q.last = e
	q.n++
}

// forget unlinks e, which must be the oldest of its channel. The lock is held.
func (m *idMemory) forget(e *idEntry) {
	delete(m.mu.known, e.idKey)
	m.total.Add(-1)
	if e.older != nil {
		e.older.younger = e.younger
	} else {
		m.mu.oldest = e.younger
	}
	if e.younger != nil {
		e.younger.older = e.older
	} else {
		m.mu.newest = e.older
	}
	q := m.mu.perChannel[e.channel]
	q.first = e.next
	q.n--
	if q.n == 0 {
		delete(m.mu.perChannel, e.channel)
	}
	if len(m.mu.known) == 0 {
		m.mu.known, m.mu.perChannel = nil, nil
	}
}

// sweep forgets what has expired and returns when to come again. It stops at
// the first id that has not expired, so an id behind one with a longer window
// is held until that one goes; it counts as unknown all the same.
func (m *idMemory) sweep(now int64) (due int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.mu.oldest != nil {
		if e := m.mu.oldest; now < e.expires {
			return roundUp(e.expires, memoryTick)
		}
		m.forget(m.mu.oldest)
	}
	return never
}
