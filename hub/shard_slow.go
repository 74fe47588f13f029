package hub

import (
	"encoding/json"

	"myelin/observe"
)

// lateSub is what a backlog knows of a subscription that was shed something.
type lateSub struct {
	// newest is the entries by key; nil unless the subscription is conflated
	// until the session has caught up.
	newest map[string]*entry
	// note is the word to the client that has not left yet.
	note *entry
}

// note is what a client is told of what it was not sent. It leaves where that
// would have.
type note struct {
	rule Slow
	// count is how many publications, the last of which was at offset to.
	count int
	from  uint64
	to    uint64
}

// of returns what is known of a subscription, making it known.
func (l *backlog) of(sb *sub) *lateSub {
	if sb.late == nil {
		sb.late = new(lateSub)
		l.subs = append(l.subs, sb)
	}
	return sb.late
}

// isPub reports whether an entry is a publication, and not about who comes and
// goes or what somebody is told.
func (e *entry) isPub() bool {
	return e.d != nil && e.sub != nil && e.note == nil && e.d.event.Kind == EventPublication
}

// skip notes that a publication will not be sent. Where it stood, or stands
// for the first of them, the client is told.
func (l *backlog) skip(e *entry, rule Slow) {
	late := l.of(e.sub)
	p := e.d.event.Pub
	e.sub.skipped(p, "slow: "+rule.String())
	if late.note != nil {
		n := late.note.note
		n.count++
		n.from, n.to = min(n.from, p.Offset), max(n.to, p.Offset)
		l.remove(e)
		return
	}
	l.count(e, -e.size)
	e.note = &note{rule: rule, count: 1, from: p.Offset, to: p.Offset}
	e.packet, e.size = &packet{lane: e.lane}, aboutEvent
	l.count(e, e.size)
	late.note = e
}

// SlowNotice is the data of an EventNotice about publications that a client
// was not sent because it was slow.
type SlowNotice struct {
	Channel string `json:"channel"`
	// Rule is conflate or drop_oldest.
	Rule string `json:"rule"`
	// Skipped is how many there were, the first at offset From, the last at To.
	Skipped int    `json:"skipped"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
}

// tell appends what a note says.
func (l *backlog) tell(dst []byte, e *entry) []byte {
	if e.sub.late != nil && e.sub.late.note == e {
		e.sub.late.note = nil
	}
	n := e.note
	data, err := json.Marshal(map[string]map[string]SlowNotice{"myelin": {"slow": {
		Channel: e.sub.topic.name, Rule: n.rule.String(), Skipped: n.count, From: n.from, To: n.to,
	}}})
	if err != nil {
		return dst
	}
	return l.session.form.AppendEvent(dst, &Event{Kind: EventNotice, Channel: e.sub.topic.name, Data: data})
}

// conflate takes an entry of a subscription that is conflated, where an older
// of the same key waits.
func (l *backlog) conflate(e *entry) bool {
	if e.sub == nil || e.sub.late == nil || e.sub.late.newest == nil || !e.isPub() {
		return false
	}
	old := e.sub.late.newest[e.d.key()]
	if old == nil {
		return false
	}
	e.sub.topic.ns.metrics.Conflated.Inc()
	l.skip(old, SlowConflate)
	l.add(e)
	return true
}

// add makes an entry the last of its lane, and the newest of its key.
func (l *backlog) add(e *entry) {
	l.push(e)
	if e.isPub() && e.sub.late != nil && e.sub.late.newest != nil {
		e.sub.late.newest[e.d.key()] = e
	}
}

// relieve makes room for an entry by the rules of what waits, the mildest
// first, and reports whether the entry is to wait still.
func (sh *shard) relieve(s *Session, e *entry) bool {
	l := s.out.late
	fits := func() bool { return l.bytes+e.size <= sh.hub.opts.Limits.QueueBytes }
	sh.conflateAll(l)
	if l.conflate(e) {
		return false
	}
	if fits() {
		return true
	}
	sh.dropOldest(l, e.size)
	for !fits() && sh.shedOne(l) {
		continue
	}
	switch {
	case e.sub != nil && e.sub.shed:
		return false
	case fits():
		return true
	case !s.out.blocked && !l.open:
		// The gate is shut, not the connection, which has buffers of its own.
		l.open = true
		sh.catchUp(s)
		return sh.relieved(s, e)
	}
	return sh.refuse(s, e)
}

// relieved reports whether an entry is to wait after all that waited was let
// through.
func (sh *shard) relieved(s *Session, e *entry) bool {
	o := &s.out
	switch {
	case o.closed:
		return false
	case o.late == nil:
		o.late = newBacklog(s)
		return true
	case o.late.bytes+e.size <= sh.hub.opts.Limits.QueueBytes:
		return true
	}
	return sh.refuse(s, e)
}

// refuse does what is left where no room could be made: by the rule of the
// entry's own channel, if that has a mild one.
func (sh *shard) refuse(s *Session, e *entry) bool {
	if e.sub != nil && e.sub.slow() != SlowDisconnect {
		sh.shed(e.sub)
		return false
	}
	sh.slowDown(s)
	return false
}

// conflateAll leaves only the newest of each key of the subscriptions whose
// rule that is, from now on until the session has caught up.
func (sh *shard) conflateAll(l *backlog) {
	l.each(func(e *entry) {
		if e.sub.slow() != SlowConflate || !e.isPub() {
			return
		}
		late := l.of(e.sub)
		if late.newest == nil {
			late.newest = make(map[string]*entry)
			sh.hub.opts.Metrics.Slow(SlowConflate.String()).Inc()
		}
		key := e.d.key()
		old := late.newest[key]
		if old == e {
			return
		}
		late.newest[key] = e
		if old != nil {
			e.sub.topic.ns.metrics.Conflated.Inc()
			l.skip(old, SlowConflate)
		}
	})
}

// dropOldest forgets the oldest publications of the subscriptions whose rule
// that is, some more than needed, so that it need not be done each time.
func (sh *shard) dropOldest(l *backlog, size int) {
	most := sh.hub.opts.Limits.QueueBytes
	if l.bytes+size <= most {
		return
	}
	enough := max(most/4*3, size)
	l.each(func(e *entry) {
		if l.bytes+size <= enough || e.sub.slow() != SlowDropOldest || !e.isPub() {
			return
		}
		if l.of(e.sub).note == nil {
			sh.hub.opts.Metrics.Slow(SlowDropOldest.String()).Inc()
		}
		e.sub.topic.ns.metrics.Dropped.Inc()
		l.skip(e, SlowDropOldest)
	})
}

// shedOne ends the subscription that has the most waiting, of those that may be
// asked to come again. It reports whether there was one.
func (sh *shard) shedOne(l *backlog) bool {
	bytes := make(map[*sub]int)
	var most *sub
	l.each(func(e *entry) {
		if e.sub.shed || (e.sub.slow() != SlowResync && e.sub.slow() != SlowConflate) {
			return
		}
		bytes[e.sub] += e.size
		if most == nil || bytes[e.sub] > bytes[most] {
			most = e.sub
		}
	})
	if most == nil {
		return false
	}
	l.each(func(e *entry) {
		if e.sub == most {
			if e.isPub() {
				e.sub.topic.ns.metrics.Dropped.Inc()
				e.sub.skipped(e.d.event.Pub, "slow: "+SlowResync.String())
			}
			l.remove(e)
		}
	})
	if late := most.late; late != nil && late.note != nil {
		l.remove(late.note)
		late.note = nil
	}
	sh.shed(most)
	return true
}

// shed ends a subscription that has missed something because its session is
// slow. Its client comes again when it has heard so.
func (sh *shard) shed(sb *sub) {
	sb.shed = true
	sb.topic.ns.metrics.Dropped.Inc()
	sh.hub.opts.Metrics.Slow(SlowResync.String()).Inc()
	sh.hub.opts.Metrics.Limit(observe.LimitQueue).Inc()
	sh.drop([]*sub{sb}, UnsubscribeSlow)
}
