package memory

import (
	"sync"
	"time"

	"myelin/channel"
)

// book is what is kept of one channel. There may be millions of them, nearly
// all idle, so what only some need is behind a pointer.
type book struct {
	mu struct {
		sync.Mutex
		policy *channel.Policy
		// title is the epoch and the name in one string, which spares an
		// allocation and a string header.
		title string
		// top is the offset of the last publication.
		top  uint64
		ring ring
		// state is nil until the first entry.
		state *state
		// used is when the channel was last used.
		used int64
		// armed is when the sweeper comes, or never.
		armed      int64
		subscribed bool
		// dead books are out of the map, or about to be.
		dead bool
	}
	// where is the place in the heap of the shard, under its lock.
	where int32
}

func newBook(title string, p *channel.Policy) *book {
	b := &book{where: -1}
	b.mu.policy = p
	b.mu.used = never
	b.mu.armed = never
	b.mu.title = title
	return b
}

func (b *book) place() int     { return int(b.where) }
func (b *book) setPlace(i int) { b.where = int32(i) }

// What follows wants the lock held.

func (b *book) name() string  { return b.mu.title[epochLen:] }
func (b *book) epoch() string { return b.mu.title[:epochLen] }

func (b *book) position() channel.Position {
	return channel.Position{Epoch: b.epoch(), Offset: b.mu.top}
}

// floor returns the offset after which everything is kept.
func (b *book) floor() uint64 { return b.mu.top - uint64(b.mu.ring.len()) }

// idle reports whether nothing but the position is worth keeping.
func (b *book) idle() bool {
	return !b.mu.subscribed && b.mu.ring.len() == 0 && b.mu.state.len() == 0
}

// blank reports whether b is as it came to be: its epoch says it all.
func (b *book) blank() bool { return b.mu.top == 0 && b.mu.state == nil }

// needless reports whether nobody could tell the difference if b were
// forgotten at once.
func (b *book) needless() bool {
	return !b.mu.subscribed && (b.blank() || fleeting(b.mu.policy))
}

// expired reports whether the position need not be remembered any longer. That
// of a book that was never used does not expire.
func (b *book) expired(now int64) bool {
	return b.idle() && now >= later(b.mu.used, metaTTL(b.mu.policy))
}

// fleeting reports whether channels of a policy are kept for a subscriber
// only.
func fleeting(p *channel.Policy) bool {
	return p.Kind == channel.KindLog && !p.Recoverable()
}

// The ticks that times are rounded up to, so that what is due at about the
// same time takes one waking.
const (
	keyTick    = int64(10 * time.Millisecond)
	memoryTick = int64(time.Second)
)

func roundUp(t, tick int64) int64 {
	if t > never-tick {
		return never
	}
	return (t + tick - 1) / tick * tick
}

// later returns t+d, or never where there is no such time.
func later(t, d int64) int64 {
	if d > never-t {
		return never
	}
	return t + d
}

// due returns when the sweeper should come, or never.
func (b *book) due() int64 {
	due := int64(never)
	if ttl := int64(b.mu.policy.HistoryTTL); ttl > 0 && b.mu.ring.len() > 0 {
		due = roundUp(later(b.mu.ring.at(0).since, ttl), memoryTick)
	}
	due = min(due, roundUp(b.mu.state.due(), keyTick))
	if b.idle() {
		due = min(due, roundUp(later(b.mu.used, metaTTL(b.mu.policy)), memoryTick))
	}
	return due
}

func metaTTL(p *channel.Policy) int64 {
	if p.MetaTTL > 0 {
		return int64(p.MetaTTL)
	}
	return int64(channel.DefaultMetaTTL)
}

func dedupeWindow(p *channel.Policy) int64 {
	if p.DedupeWindow > 0 {
		return int64(p.DedupeWindow)
	}
	return int64(channel.DefaultDedupeWindow)
}
