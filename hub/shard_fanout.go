package hub

import (
	"slices"
	"sync"
	"time"

	"myelin/channel"
	"myelin/filter"
)

// delivery is one event on its way to the subscribers of a topic. It is
// shared by the shards.
type delivery struct {
	event Event
	// more is what is told along with it, of the same kind.
	more []Event
	// id is the topic's; base is the publication before this one, where the
	// namespace sends patches.
	id   int64
	base *channel.Publication
	// was is the entry that it replaces, where that had other tags.
	was *channel.Publication

	// mu guards the packets that have been made, not what is in them. Most have
	// one, which costs no allocation of its own.
	mu struct {
		sync.Mutex
		first   packet
		packets []*packet
		// end is what it is to who saw the entry that it replaces, and does not
		// see it.
		end *delivery
	}
}

// packet returns the event in a view, encoding it the first time. Its lane is
// that of its channel, always the same.
func (d *delivery) packet(v view, l lane) *packet {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.mu.first
	if p.view == v {
		return p
	}
	for _, p := range d.mu.packets {
		if p.view == v {
			return p
		}
	}
	if p.view.form != nil {
		p = new(packet)
		d.mu.packets = append(d.mu.packets, p)
	}
	p.view, p.d, p.lane = v, d, l
	if v.plain() {
		p.bytes = d.appendTo(nil, v.form)
	} else {
		p.bytes, p.saved = d.appendView(v)
	}
	return p
}

func (d *delivery) appendTo(b []byte, f Form) []byte {
	b = f.AppendEvent(b, &d.event)
	for i := range d.more {
		b = f.AppendEvent(b, &d.more[i])
	}
	return b
}

// whole returns a delivery of the same publication to somebody who may not have
// got what it grew from.
func (d *delivery) whole() *delivery {
	w := &delivery{event: d.event, id: d.id, base: d.base}
	w.event.Whole = true
	return w
}

// through returns what d is to those with a filter: itself, the end of an entry
// that they saw, or nil for nothing.
func (d *delivery) through(f *filter.Filter) *delivery {
	switch {
	case d.event.Kind != EventPublication || f.Match(d.event.Pub.Tags):
		return d
	case d.was != nil && f.Match(d.was.Tags):
		return d.ending()
	}
	return nil
}

// ending returns the end of the entry that d replaces, for those who may not
// know what it is now, nor whose doing that is.
func (d *delivery) ending() *delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.end == nil {
		e, p := d.event, d.event.Pub
		e.Whole = false
		e.Pub = &channel.Publication{
			Channel: p.Channel, Position: p.Position, Prev: p.Prev, Time: p.Time, Expires: p.Expires,
			Op: channel.OpDelete, Key: p.Key, Tags: endTags(d.was, d.was.Tags[TagKey] != ""),
		}
		d.mu.end = &delivery{id: d.id, event: e}
	}
	return d.mu.end
}

// part is what one shard knows of one topic.
type part struct {
	topic *topic
	// lists holds the live subscriptions of shared forms, one list a class;
	// index finds them where they are many, sieves their filters.
	lists  []*classList
	index  map[class]*classList
	sieves map[string]*sieve
	// private holds the live subscriptions of private forms, paced those that
	// are conflated, waiting those whose recovery is being read.
	private []*sub
	paced   []*sub
	waiting []*sub
	// batch is what has come since the last fan-out, which was number round.
	batch []*delivery
	round uint64
	// expiring: some of the batch expire. holes: some have.
	expiring, holes bool
	// lapsed is what has expired in a batch, nil for nothing.
	lapsed *trail
	// due is when a batch that waits leaves at the latest; zero while none does.
	due time.Time
}

func (p *part) empty() bool {
	return len(p.lists) == 0 && len(p.private) == 0 && len(p.paced) == 0 && len(p.waiting) == 0
}

// remove takes sb out of list, in constant time.
func remove(list *[]*sub, sb *sub) {
	l := *list
	last := l[len(l)-1]
	l[sb.index] = last
	last.index = sb.index
	l[len(l)-1] = nil
	*list = l[:len(l)-1]
	if cap(*list) > 64 && len(*list) < cap(*list)/4 {
		*list = slices.Clone(*list)
	}
}

func add(list *[]*sub, sb *sub) {
	sb.index = len(*list)
	*list = append(*list, sb)
}

// part returns what this shard knows of t, nil if nothing.
func (s *shard) part(t *topic) *part { return t.parts[s.number] }

func (s *shard) deliver(t *topic, d *delivery) {
	p := s.part(t)
	if p == nil {
		return
	}
	if n := len(p.batch); n == 0 || n == maxBatched-1 {
		s.touched = append(s.touched, p)
	}
	p.batch = append(p.batch, d)
	if d.event.Pub != nil && d.event.Pub.Expires != 0 {
		p.expiring = true
	}
}

func (s *shard) flushParts() {
	for i, p := range s.touched {
		s.touched[i] = nil
		if !s.delay(p) {
			s.fanout(p)
		}
	}
	s.touched = s.touched[:0]
}

// fanout hands a part's batch to its subscriptions.
func (s *shard) fanout(p *part) {
	if len(p.batch) == 0 {
		return
	}
	delivered := 0
	p.round++
	all := p.batch
	if p.expiring {
		p.batch = s.fresh(p)
	}
	for _, l := range p.lists {
		delivered += s.deal(p, l)
	}
	for _, sb := range p.private {
		delivered += s.each(sb, p.batch)
	}
	for _, sb := range p.paced {
		delivered += s.pace(sb, p.batch)
	}
	for _, sb := range p.waiting {
		sb.keep(all) // it looks at the time when it is live
	}
	if p.holes {
		p.seen(all)
	}
	p.batch, p.expiring = all, false
	p.topic.ns.metrics.Delivered.Add(int64(delivered))
	for _, v := range p.sieves {
		clear(v.passed)
	}
	clear(p.batch)
	p.batch = p.batch[:0]
	if cap(p.batch) > 256 {
		p.batch = nil
	}
}

// join returns the beginning of a batch that goes out as one, and its bytes in
// one view: publications, as long as they are no more than one write holds, or
// a single other event.
func join(batch []*delivery, v view, l lane) (these []*delivery, joined *packet) {
	joined = batch[0].packet(v, l)
	if batch[0].event.Kind != EventPublication {
		return batch[:1], joined
	}
	n, size := 1, len(joined.bytes)
	for ; n < len(batch) && batch[n].event.Kind == EventPublication; n++ {
		more := len(batch[n].packet(v, l).bytes)
		if size+more > maxWrite {
			break
		}
		size += more
	}
	if n == 1 {
		return batch[:1], joined
	}
	joined = &packet{view: v, bytes: make([]byte, 0, size), run: slices.Clone(batch[:n]), lane: l}
	for _, d := range batch[:n] {
		joined.bytes = append(joined.bytes, d.packet(v, l).bytes...)
	}
	return batch[:n], joined
}

// span returns the first and last offset of a run of publications. Another
// event has offset 0, which is news to nobody: it goes to those who want it.
func span(run []*delivery) (first, last uint64) {
	if run[0].event.Kind != EventPublication {
		return 0, 0
	}
	return run[0].event.offset(), run[len(run)-1].event.offset()
}

// each hands over what one subscription has not seen yet and wants, and
// returns how many that were.
func (s *shard) each(sb *sub, batch []*delivery) int {
	n := 0
	for _, d := range batch {
		v := sb.view(d)
		d := sb.pick(d)
		switch {
		case d == nil:
		case expired(d.event.Pub):
			s.expire(sb, d, queueWaiting)
		default:
			s.one(sb, d, v)
			n++
		}
	}
	return n
}

// expire counts a delivery that came to nothing, of which the client is to know
// only that it has been.
func (s *shard) expire(sb *sub, d *delivery, queue string) {
	s.hub.opts.Metrics.Expired(queue).Inc()
	sb.based = false
	sb.skipped(d.event.Pub, skipExpired)
	if sb.session.private {
		sb.forgo(&d.event)
	}
}

// view returns how a subscription sees what it is about to be handed.
func (sb *sub) view(d *delivery) view {
	v := view{form: sb.session.form, numeric: sb.numeric}
	if sb.delta && d.event.Kind == EventPublication {
		v.shape = shapeFull
		if sb.starts(d.base) {
			v.shape = shapePatch
		}
	}
	return v
}

// one hands over one delivery.
func (s *shard) one(sb *sub, d *delivery, v view) {
	if sb.session.private {
		s.queue(sb.session, piece{&packet{d: d, lane: sb.lane()}, sb})
		return
	}
	p := d.packet(v, sb.lane())
	if v.shape != shapePlain {
		saved(sb.topic.ns, p.saved)
		sb.based = true
	}
	s.queue(sb.session, piece{p, sb})
}

// pick returns what of d is news to the subscription and for it, nil for
// nothing, and remembers it.
func (sb *sub) pick(d *delivery) *delivery {
	wants := true
	switch d.event.Kind {
	case EventPublication:
		if d.event.offset() <= sb.last {
			return nil
		}
		sb.last = d.event.offset()
		if got := d.through(sb.filter); got != nil && (!sb.judged || sb.lets(got.event.Pub)) {
			return got
		}
		sb.pass(&d.event)
		return nil
	case EventJoin, EventLeave:
		wants = sb.watches
	case EventUserJoin, EventUserLeave:
		wants = sb.watchesUsers
	}
	if !wants {
		return nil
	}
	return d
}

// pass notes that a publication was not for the subscription.
func (sb *sub) pass(e *Event) {
	sb.topic.ns.metrics.Filtered.Inc()
	if sb.session.private {
		sb.forgo(e)
	}
}

// keep holds a batch back until the subscription is live.
func (sb *sub) keep(batch []*delivery) {
	switch {
	case sb.lost:
	case len(sb.held)+len(batch) > maxWaiting:
		sb.lost, sb.held = true, nil
	default:
		sb.held = append(sb.held, batch...)
	}
}

// attach puts a subscription among those that wait. What is delivered from
// here on is held back for it.
func (s *shard) attach(sb *sub) {
	t := sb.topic
	p := t.parts[s.number]
	if p == nil {
		p = &part{topic: t}
		t.parts[s.number] = p
	}
	s.fanout(p)
	if sb.state == subGone {
		return
	}
	sb.state = subWaiting
	add(&p.waiting, sb)
}

// live sends the reply of a subscription, which brings the client to offset
// seen, and after it what was held back and is newer, and lets the
// subscription take part in the fan-out.
func (s *shard) live(sb *sub, reply []byte, seen uint64) {
	p := s.part(sb.topic)
	if sb.state != subWaiting || p == nil {
		s.send(sb.session, sb.lane(), reply)
		if sb.ended != nil {
			s.tell(sb.session, sb.lane(), sb.ended)
			sb.ended = nil
		}
		return
	}
	s.fanout(p)
	s.send(sb.session, sb.lane(), reply)
	remove(&p.waiting, sb)
	held := sb.held
	sb.held = nil
	if sb.lost {
		sb.state = subGone
		s.drop([]*sub{sb}, UnsubscribeInsufficient)
		return
	}
	sb.state = subLive
	sb.last, sb.from = max(sb.last, seen), max(sb.from, seen)
	p.enlist(sb)
	if sb.pace != nil {
		s.pace(sb, held)
	} else {
		s.each(sb, held)
	}
}

// detach forgets a subscription. What was delivered before it went is sent,
// then the word that it ended, if any.
func (s *shard) detach(sb *sub, word *Event) {
	p := s.part(sb.topic)
	if p != nil {
		s.fanout(p)
	}
	sb.ends(word)
	s.waits(sb.session)
	switch sb.state {
	case subWaiting:
		remove(&p.waiting, sb)
		sb.ended = word // not before its reply
	case subLive:
		s.hurry(sb)
		p.delist(sb)
		fallthrough
	default:
		if word != nil {
			s.tell(sb.session, sb.lane(), word)
		}
	}
	sb.state, sb.held = subGone, nil
	if p != nil && p.empty() {
		sb.topic.parts[s.number] = nil
	}
}

// insufficient ends every subscription of a topic whose continuity is gone.
func (s *shard) insufficient(t *topic) {
	p := s.part(t)
	if p == nil {
		return
	}
	s.fanout(p)
	var gone []*sub
	for _, l := range p.lists {
		gone = append(gone, l.subs...)
	}
	p.lists, p.index, p.sieves = nil, nil, nil
	for _, sb := range p.paced {
		s.hurry(sb)
	}
	gone = append(gone, p.private...)
	gone = append(gone, p.paced...)
	p.private, p.paced = nil, nil
	for _, sb := range p.waiting {
		sb.lost, sb.held = true, nil
	}
	for _, sb := range gone {
		sb.state = subGone
	}
	s.drop(gone, UnsubscribeInsufficient)
}

// checkPosition ends the subscriptions that have not seen offset although it
// was delivered before this check was queued.
func (s *shard) checkPosition(t *topic, offset uint64) {
	p := s.part(t)
	if p == nil {
		return
	}
	s.fanout(p)
	var gone []*sub
	behind := func(list []*sub) {
		for _, sb := range list {
			if sb.last < offset {
				gone = append(gone, sb)
			}
		}
	}
	for _, l := range p.lists {
		behind(l.subs)
	}
	behind(p.private)
	behind(p.paced)
	for _, sb := range gone {
		s.hurry(sb)
		p.delist(sb)
		sb.state = subGone
	}
	t.ns.metrics.PositionFailures.Add(int64(len(gone)))
	s.drop(gone, UnsubscribeInsufficient)
}

// drop ends subscriptions that missed something. A task does it, because it
// may have to wait for the engine. Their clients hear of it last: who is told
// to subscribe again must not find himself subscribed.
func (s *shard) drop(gone []*sub, why Unsubscribe) {
	if len(gone) == 0 {
		return
	}
	s.hub.task(func() {
		for _, sb := range gone {
			if sb.serverSide {
				sb.session.Close(why.forServerSide())
			} else {
				sb.session.leave(sb, why)
			}
		}
	})
}
