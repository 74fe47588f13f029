package hub

import (
	"time"

	"myelin/internal/wheel"
	"myelin/observe"
)

const (
	// lateWrite is how many bytes are joined for one write to a session that is
	// behind: what is more urgent goes before the next.
	lateWrite = 16 << 10
	// gateTick is how often a connection that takes no more bulk now is asked
	// again.
	gateTick = 4 * time.Millisecond
	// maxCredit is how many bytes may leave between two questions.
	maxCredit = 32 << 10
)

// Gauge is what a Conn may be beside. It can tell how many bytes of bulk it
// takes now without what comes after them being late; 0 or less is none.
type Gauge interface {
	Room() int
}

// backlog is what waits for a session that is behind.
type backlog struct {
	session *Session
	// cut is the rest of a write that came short. It goes before anything.
	cut   []byte
	lanes [laneCount]lateList
	// bytes is how many wait in the lanes that share Limits.QueueBytes.
	bytes int
	// full: something of a closing session did not fit, and nothing may follow
	// it but the goodbye.
	full bool
	// open: there is too much bulk, and the gate is no more in force for what
	// waits now.
	open bool
	// timer runs while there is nothing to do but ask the gauge again.
	timer wheel.Timer[sleeper]
	// subs are the subscriptions that have been shed something.
	subs []*sub
}

// entry is something that waits.
type entry struct {
	next, prev *entry
	piece
	// note tells the client what it was not sent; nil on others.
	note *note
	size int
}

// lateList is what waits in one lane, in the order of leaving.
type lateList struct {
	head, tail *entry
	bytes      int
}

func newBacklog(s *Session) *backlog {
	l := &backlog{session: s}
	l.timer.Owner = l
	return l
}

func (l *backlog) push(e *entry) {
	q := &l.lanes[e.lane]
	e.prev = q.tail
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	l.count(e, e.size)
}

func (l *backlog) remove(e *entry) {
	q := &l.lanes[e.lane]
	if e.prev == nil {
		q.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.next, e.prev = nil, nil
	l.count(e, -e.size)
}

// count notes that the bytes of an entry have come or gone.
func (l *backlog) count(e *entry, n int) {
	l.lanes[e.lane].bytes += n
	if e.lane != laneAlarm && e.lane != laneLast {
		l.bytes += n
	}
}

// each calls fn for each entry that rules for slow clients may touch. fn may
// remove it.
func (l *backlog) each(fn func(e *entry)) {
	for _, q := range []lane{laneBulk, laneOrdinary} {
		for e := l.lanes[q].head; e != nil; {
			next := e.next
			if e.sub != nil && e.note == nil {
				fn(e)
			}
			e = next
		}
	}
}

func (l *backlog) empty() bool {
	for i := range l.lanes {
		if l.lanes[i].head != nil {
			return false
		}
	}
	return len(l.cut) == 0
}

// size is how many bytes wait.
func (l *backlog) size() int {
	if l == nil {
		return 0
	}
	return len(l.cut) + l.bytes + l.lanes[laneAlarm].bytes + l.lanes[laneLast].bytes
}

// keep makes a piece wait.
func (sh *shard) keep(s *Session, p *piece) {
	if p.run == nil {
		sh.hold(s, &entry{piece: *p, size: p.size()})
		return
	}
	for _, d := range p.run {
		one := piece{d.packet(p.view, p.lane), p.sub}
		sh.hold(s, &entry{piece: one, size: one.size()})
	}
}

// hold makes an entry wait, if there is room or room can be made. A session
// that has more waiting than it may is slow, and ends. The write that stopped
// does not count: a long reply on a slow link is not the client's fault.
func (sh *shard) hold(s *Session, e *entry) {
	o := &s.out
	if o.late == nil { // it was let through, and is behind no more
		o.late = newBacklog(s)
	}
	l := o.late
	most := sh.hub.opts.Limits.QueueBytes
	switch {
	case o.closing && e.lane != laneLast:
		l.full = l.full || l.bytes+e.size > most || l.lanes[laneLast].head != nil
		if l.full {
			return
		}
	case e.sub != nil && e.sub.shed:
		return
	case l.conflate(e):
		for l.bytes > most && sh.shedOne(l) {
			continue // the values have grown
		}
		return
	case e.lane == laneAlarm && l.lanes[laneAlarm].bytes+e.size > sh.hub.opts.Limits.AlarmBytes:
		sh.hub.opts.Metrics.Limit(observe.LimitAlarmQueue).Inc()
		sh.slowDown(s)
		return
	case e.lane != laneAlarm && e.lane != laneLast && l.bytes+e.size > most:
		sh.hub.opts.Metrics.Limit(observe.LimitQueue).Inc()
		if !sh.relieve(s, e) {
			return
		}
		l = o.late
	}
	l.add(e)
}

// slowDown ends a session that is slow.
func (sh *shard) slowDown(s *Session) {
	if s.out.closing {
		return
	}
	sh.hub.metrics.SlowDisconnects.Inc()
	sh.hub.opts.Metrics.Slow(SlowDisconnect.String()).Inc()
	sh.giveUp(s, DisconnectSlow)
}

// writable goes on with what waits.
func (sh *shard) writable(s *Session) {
	o := &s.out
	o.blocked = false
	if o.closed || o.late == nil {
		return
	}
	if cut := o.late.cut; len(cut) > 0 {
		rest, ok := sh.write(s, cut)
		if !ok {
			return
		}
		o.moved += len(cut) - len(rest)
		o.late.cut = rest
		if len(rest) == 0 {
			o.late.cut = nil
		}
	}
	sh.catchUp(s)
	sh.finish(s)
}

// catchUp writes what waits, the urgent first, until the connection takes no
// more or the gate is shut.
func (sh *shard) catchUp(s *Session) {
	o := &s.out
	for o.late != nil && !o.blocked && !o.closed {
		l := o.late
		sh.scratch = sh.chunk(l, sh.scratch[:0])
		n := len(sh.scratch)
		if n == 0 {
			if l.empty() {
				sh.forget(l)
				o.late, o.blockedAt = nil, 0
			} else {
				sh.paces.Schedule(&l.timer, gateTick)
			}
			return
		}
		rest, ok := sh.write(s, sh.scratch)
		if !ok {
			return
		}
		o.moved += n - len(rest)
		if len(rest) > 0 {
			l.cut = append([]byte(nil), rest...)
		}
	}
}

// chunk takes out what the next write is made of.
func (sh *shard) chunk(l *backlog, dst []byte) []byte {
	for q := range l.lanes {
		for e := l.lanes[q].head; e != nil; e = l.lanes[q].head {
			if len(dst) > 0 && len(dst)+e.size > lateWrite {
				return dst
			}
			if e.lane == laneBulk && !sh.admits(l, len(dst)) {
				return dst
			}
			l.remove(e)
			if e.isPub() && expired(e.d.event.Pub) {
				l.of(e.sub) // what follows does not start from it
				sh.expire(e.sub, e.d, queueBacklog)
				if e.sub.late.newest[e.d.event.Pub.Key] == e {
					delete(e.sub.late.newest, e.d.event.Pub.Key)
				}
				continue
			}
			dst = l.leave(dst, e)
		}
	}
	return dst
}

// leave appends what an entry has to say.
func (l *backlog) leave(dst []byte, e *entry) []byte {
	if e.note != nil {
		return l.tell(dst, e)
	}
	if e.sub != nil && e.sub.late != nil && e.isPub() {
		if late := e.sub.late; late.newest[e.d.key()] == e {
			delete(late.newest, e.d.key())
		}
		e.complete()
	}
	return e.appendTo(dst, l.session)
}

// complete makes a publication one that needs nothing of what went before it,
// which may not have been sent.
func (e *entry) complete() {
	d := e.d
	if d.event.Pub.Base > 0 {
		d = d.whole()
	}
	switch s := e.sub.session; {
	case s.private:
		e.packet = &packet{d: d, lane: e.lane}
	case e.sub.delta:
		e.packet = d.packet(view{form: s.form, numeric: e.sub.numeric, shape: shapeFull}, e.lane)
	case d != e.d:
		e.packet = d.packet(view{form: s.form, numeric: e.sub.numeric}, e.lane)
	}
}

// admits reports whether a connection takes bulk beyond what is pending.
func (sh *shard) admits(l *backlog, pending int) bool {
	o := &l.session.out
	if l.session.gauge == nil || o.closing || l.open || o.credit > pending {
		return true
	}
	o.credit = min(l.session.gauge.Room(), maxCredit)
	return o.credit > pending
}

// admitsNow reports whether bulk may go out with the rest of this round. One
// publication may be longer than there is room, or it would never leave.
func (sh *shard) admitsNow(s *Session, p *piece) bool {
	o := &s.out
	if s.gauge == nil {
		return true
	}
	size := p.size()
	if o.credit < size {
		o.credit = min(s.gauge.Room(), maxCredit)
	}
	if o.credit <= 0 || (p.run != nil && o.credit < size) {
		return false
	}
	o.credit -= size
	return true
}

// sleeper is what the shard's fine wheel wakes.
type sleeper interface{ wake(sh *shard) }

// wake asks the gauge again.
func (l *backlog) wake(sh *shard) {
	sh.catchUp(l.session)
	sh.finish(l.session)
}

// forget lets go of a backlog.
func (sh *shard) forget(l *backlog) {
	sh.paces.Cancel(&l.timer)
	for _, sb := range l.subs {
		sb.late = nil
	}
}
