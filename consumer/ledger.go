package consumer

import (
	"slices"
	"time"

	"myelin/channel"
)

// windowBytes is how many bytes of publications a ledger holds before it takes
// no more, memberBytes how many one member may have unacknowledged. Either
// takes one publication whatever its size.
const (
	windowBytes = 1 << 20
	memberBytes = 32 << 10
)

// member is one who takes part in the work of a consumer: a subscription
// somewhere. It is the ledger's handle for it.
type member struct {
	seat  seat
	out   int // deliveries it has not answered
	bytes int
	since uint64 // which one came first
}

// entry is one publication that has been taken from the channel and is not
// settled.
type entry struct {
	offset   uint64
	attempts int
	// pub is nil after a restart until it has been read again.
	pub *channel.Publication
	// holder has it now; nil while it waits. due is when its acknowledgement
	// is due, or until when it waits.
	holder *member
	due    time.Time
	// doomed is why it goes to the dead letters; "" for not at all.
	doomed string
	// to is who got the last delivery, and at is when, in Unix ms; both are
	// not known of deliveries before the last restart.
	to person
	at int64
}

func (e *entry) size() int {
	if e.pub == nil {
		return 0
	}
	return len(e.pub.Data)
}

// ledger is the books of one consumer: what has been taken from the channel,
// who has it, what is settled. It does nothing by itself and knows no clock.
// Everything at or before next that is not among the entries is settled.
type ledger struct {
	set     Settings
	epoch   string
	next    uint64
	entries []*entry // by offset
	bytes   int
	members []*member
	came    uint64

	counts Counts
	// changed: there is something that the record does not say.
	changed bool
}

// Counts is what became of publications, since the consumer was made.
type Counts struct {
	// Acked were acknowledged. Redelivered is deliveries after the first.
	Acked       uint64 `json:"acked"`
	Redelivered uint64 `json:"redelivered"`
	// DeadLettered were given up for too many attempts, Expired because their
	// time was over, Lost because the channel did not keep them for long
	// enough. Lost is at most that many where offsets are not dense.
	DeadLettered uint64 `json:"dead_lettered"`
	Expired      uint64 `json:"expired"`
	Lost         uint64 `json:"lost"`
}

func (l *ledger) find(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(l.entries, offset, func(e *entry, at uint64) int {
		switch {
		case e.offset < at:
			return -1
		case e.offset > at:
			return 1
		}
		return 0
	})
}

func (l *ledger) get(offset uint64) *entry {
	if i, ok := l.find(offset); ok {
		return l.entries[i]
	}
	return nil
}

// room is how many publications and bytes may be taken now.
func (l *ledger) room() (pubs, bytes int) {
	return max(l.set.MaxUnacked-len(l.entries), 0), max(windowBytes-l.bytes, 0)
}

// take takes publications from the channel, the next ones in order.
func (l *ledger) take(pubs []*channel.Publication) {
	for _, p := range pubs {
		if p.Offset <= l.next {
			continue
		}
		l.entries = append(l.entries, &entry{offset: p.Offset, pub: p})
		l.bytes += len(p.Data)
		l.next = p.Offset
		l.changed = true
	}
}

// skip goes past offsets that are gone from the channel.
func (l *ledger) skip(to uint64, lost uint64) {
	l.next = to
	l.counts.Lost += lost
	l.changed = true
}

// unread returns the span of entries whose publications have to be read again.
func (l *ledger) unread() (first, last uint64, ok bool) {
	for _, e := range l.entries {
		if e.pub == nil && e.doomed == "" {
			if !ok {
				first = e.offset
			}
			last, ok = e.offset, true
		}
	}
	return first, last, ok
}

// restore gives entries their publications back. All that is unread up to
// offset to and is not among them is gone.
func (l *ledger) restore(pubs []*channel.Publication, to uint64) {
	for _, p := range pubs {
		if e := l.get(p.Offset); e != nil && e.pub == nil && e.doomed == "" {
			e.pub = p
			l.bytes += len(p.Data)
			l.spend(e) // who had it is not known any more
		}
	}
	for _, e := range l.entries {
		if e.offset <= to && e.pub == nil && e.doomed == "" {
			e.doomed = reasonEvicted
		}
	}
}

// join lets somebody take part.
func (l *ledger) join(s seat) {
	for _, m := range l.members {
		if m.seat == s {
			return
		}
	}
	l.came++
	l.members = append(l.members, &member{seat: s, since: l.came})
}

// leave takes somebody out; what he has waits for another.
func (l *ledger) leave(s seat, now time.Time) {
	for i, m := range l.members {
		if m.seat != s {
			continue
		}
		l.members = slices.Delete(l.members, i, i+1)
		for _, e := range l.entries {
			if e.holder == m {
				l.back(e, now)
			}
		}
		return
	}
}

// back takes an entry back from its holder, to be delivered again at a time.
func (l *ledger) back(e *entry, at time.Time) {
	if e.holder != nil {
		e.holder.out--
		e.holder.bytes -= e.size()
		e.holder = nil
	}
	e.due = at
	l.spend(e)
}

// spend dooms an entry that nobody has and that was delivered as often as it
// may be.
func (l *ledger) spend(e *entry) {
	if l.set.MaxAttempts > 0 && e.attempts >= l.set.MaxAttempts && e.doomed == "" {
		e.doomed = reasonAttempts
	}
}

// settle ends an entry.
func (l *ledger) settle(e *entry) {
	if e.holder != nil {
		e.holder.out--
		e.holder.bytes -= e.size()
		e.holder = nil
	}
	l.bytes -= e.size()
	if i, ok := l.find(e.offset); ok {
		l.entries = slices.Delete(l.entries, i, i+1)
	}
	l.changed = true
}

// bury settles a doomed entry.
func (l *ledger) bury(e *entry) {
	switch e.doomed {
	case reasonExpired:
		l.counts.Expired++
	case reasonEvicted, reasonEpoch:
		l.counts.Lost++
	default:
		l.counts.DeadLettered++
	}
	l.settle(e)
}

// verdict is what became of a word about one offset.
type verdict uint8

const (
	// verdictDone: it was done.
	verdictDone verdict = iota
	// verdictStale: the offset is settled, by whomever.
	verdictStale
	// verdictNever: the offset was never delivered.
	verdictNever
	// verdictOthers: somebody else has it.
	verdictOthers
)

// about returns the entry that a word about an offset is about. by is who
// says it, nil for one who has shown that it was delivered to him. anyway is
// for an operator, whose word counts before a delivery, too.
func (l *ledger) about(offset uint64, by *seat, anyway bool) (*entry, verdict) {
	e := l.get(offset)
	switch {
	case e == nil && (offset > l.next || offset == 0):
		return nil, verdictNever
	case e == nil:
		return nil, verdictStale
	case anyway:
	case e.attempts == 0:
		return nil, verdictNever
	case by != nil && (e.holder == nil || e.holder.seat != *by):
		return nil, verdictOthers
	}
	return e, verdictDone
}

// ack settles an offset.
func (l *ledger) ack(offset uint64, by *seat, anyway bool) verdict {
	e, v := l.about(offset, by, anyway)
	if e != nil {
		l.counts.Acked++
		l.settle(e)
	}
	return v
}

// nack has an offset delivered again at a time.
func (l *ledger) nack(offset uint64, by *seat, anyway bool, at time.Time) verdict {
	e, v := l.about(offset, by, anyway)
	if e != nil {
		l.back(e, at)
	}
	return v
}

// progress gives the holder of an offset more time.
func (l *ledger) progress(offset uint64, by *seat, anyway bool, now time.Time) verdict {
	e, v := l.about(offset, by, anyway)
	if e != nil && e.holder != nil {
		e.due = now.Add(l.set.AckTimeout)
	}
	return v
}

// tick does what is due: takes back what was not acknowledged until heard, up
// to when all acknowledgements are known, and dooms what has expired by now.
// Whoever has an expired one may still acknowledge it in time.
func (l *ledger) tick(heard, now time.Time) {
	for _, e := range l.entries {
		if e.holder != nil && !heard.Before(e.due) {
			l.back(e, heard)
		}
		if e.holder == nil && e.doomed == "" && stale(e.pub, now) {
			e.doomed = reasonExpired
		}
		if e.holder == nil && e.pub != nil {
			l.spend(e) // it may be allowed fewer than before
		}
	}
}

func stale(p *channel.Publication, now time.Time) bool {
	return p != nil && p.Expires > 0 && now.UnixMilli() >= p.Expires
}

// doomed returns those that go to the dead letters, in order.
func (l *ledger) doomed() []*entry {
	var out []*entry
	for _, e := range l.entries {
		if e.doomed != "" && e.holder == nil {
			out = append(out, e)
		}
	}
	return out
}

// delivery is one publication on its way to a member.
type delivery struct {
	to    *member
	entry *entry
}

// assign hands out what waits to those who have room. busy says who cannot be
// handed anything just now.
func (l *ledger) assign(now time.Time, busy func(seat) bool) []delivery {
	var out []delivery
	for _, e := range l.entries {
		if l.set.Ordered && e != l.entries[0] {
			break
		}
		if e.holder != nil || e.doomed != "" || e.pub == nil || now.Before(e.due) {
			continue
		}
		m := l.choose(e, busy)
		if m == nil {
			break // smaller ones that are newer wait as well
		}
		e.holder, e.due = m, now.Add(l.set.AckTimeout)
		e.attempts++
		m.out++
		m.bytes += e.size()
		if e.attempts > 1 {
			l.counts.Redelivered++
		}
		l.changed = true
		out = append(out, delivery{m, e})
	}
	return out
}

// choose returns the member with the least to do that has room; of an exclusive
// consumer only the first to come is one.
func (l *ledger) choose(e *entry, busy func(seat) bool) *member {
	var best *member
	for _, m := range l.members {
		if l.set.Exclusive && m != l.members[0] {
			break
		}
		if m.out >= l.set.MaxPerSession || (m.out > 0 && m.bytes+e.size() > memberBytes) || busy(m.seat) {
			continue
		}
		if best == nil || m.out < best.out {
			best = m
		}
	}
	return best
}

// wake returns when there is something to do next, zero for never. What is due
// already waits for something else than time.
func (l *ledger) wake(now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, e := range l.entries {
		sooner(e.due)
		if e.holder == nil && e.pub != nil && e.pub.Expires > 0 {
			sooner(time.UnixMilli(e.pub.Expires))
		}
	}
	return at
}

// seek starts over behind a position: nothing before it is asked for any more.
func (l *ledger) seek(epoch string, next uint64) {
	for _, m := range l.members {
		m.out, m.bytes = 0, 0
	}
	l.entries, l.bytes = nil, 0
	l.epoch, l.next = epoch, next
	l.changed = true
}

// oldest returns when the oldest publication that is not settled was
// published, in Unix ms, 0 for none.
func (l *ledger) oldest() int64 {
	for _, e := range l.entries {
		if e.pub != nil {
			return e.pub.Time
		}
	}
	return 0
}

// outstanding is how many deliveries wait for their acknowledgement.
func (l *ledger) outstanding() (n int) {
	for _, m := range l.members {
		n += m.out
	}
	return n
}
