package hub

import (
	"slices"

	"myelin/channel"
	"myelin/filter"
)

// class is what subscriptions to one topic have in common that are served with
// the same bytes: those of a class are one list, and cost one write of what is
// encoded once.
type class struct {
	form Form
	// filter is the canonical form of their filter, "" for none.
	filter string
	// delta: they get patches. numeric: they know the channel by its id.
	delta, numeric bool
}

// shape is how the data of a publication stands in a frame.
type shape uint8

const (
	shapePlain shape = iota
	// shapeFull is all of the data, for a client that takes patches.
	shapeFull
	// shapePatch is the patch against the publication before.
	shapePatch
)

// view is what the bytes of an event depend on, beside the event.
type view struct {
	form    Form
	numeric bool
	shape   shape
}

func (v view) plain() bool { return !v.numeric && v.shape == shapePlain }

// appendView encodes a delivery in a view that is not plain.
func (d *delivery) appendView(v view) (b []byte, saved int) {
	tell := func(e Event) {
		if v.numeric {
			e.ID = d.id
		}
		if v.shape != shapePlain {
			e.Delta = true
		}
		if v.shape == shapePatch {
			e.Base = d.base
		}
		b = v.form.AppendEvent(b, &e)
		saved += e.Saved
	}
	tell(d.event)
	for i := range d.more {
		tell(d.more[i])
	}
	return b, saved
}

// classList is the live subscriptions of one class.
type classList struct {
	class
	sieve *sieve // nil without a filter
	place int    // in its part's lists
	subs  []*sub
}

// sieve is one filter of a part, shared by all lists that have it: it looks at
// each publication once.
type sieve struct {
	filter *filter.Filter
	lists  int
	// round is the fan-out that passed belongs to: what it lets through.
	round  uint64
	passed []*delivery
}

// fewLists is up to how many lists of a part are looked for one by one.
const fewLists = 16

// find returns the list of a class, nil where there is none.
func (p *part) find(c class) *classList {
	if p.index != nil {
		return p.index[c]
	}
	for _, l := range p.lists {
		if l.class == c {
			return l
		}
	}
	return nil
}

// open returns the list of a class, which it makes where there is none.
func (p *part) open(c class, f *filter.Filter) *classList {
	if l := p.find(c); l != nil {
		return l
	}
	l := &classList{class: c, place: len(p.lists)}
	if f != nil {
		l.sieve = p.sieves[c.filter]
		if l.sieve == nil {
			l.sieve = &sieve{filter: f}
			if p.sieves == nil {
				p.sieves = make(map[string]*sieve, 1)
			}
			p.sieves[c.filter] = l.sieve
		}
		l.sieve.lists++
	}
	p.lists = append(p.lists, l)
	switch {
	case p.index != nil:
		p.index[c] = l
	case len(p.lists) > fewLists:
		p.index = make(map[class]*classList, 2*fewLists)
		for _, l := range p.lists {
			p.index[l.class] = l
		}
	}
	return l
}

// discard forgets an empty list: clients choose filters, so there may be any
// number of them in time.
func (p *part) discard(l *classList) {
	last := p.lists[len(p.lists)-1]
	p.lists[l.place], last.place = last, l.place
	p.lists[len(p.lists)-1] = nil
	p.lists = p.lists[:len(p.lists)-1]
	delete(p.index, l.class)
	if l.sieve != nil {
		if l.sieve.lists--; l.sieve.lists == 0 {
			delete(p.sieves, l.filter)
		}
	}
}

// class returns which one a live subscription of a shared form belongs to.
func (sb *sub) class() class {
	return class{form: sb.session.form, filter: sb.filter.String(), delta: sb.delta, numeric: sb.numeric}
}

// enlist adds a live subscription to the list it belongs to.
func (p *part) enlist(sb *sub) {
	switch {
	case sb.pace != nil:
		add(&p.paced, sb)
	case sb.session.private || sb.judged:
		add(&p.private, sb)
	default:
		l := p.open(sb.class(), sb.filter)
		if l.sieve != nil {
			sb.filter = l.sieve.filter // equal ones need not be kept twice
		}
		add(&l.subs, sb)
	}
}

// delist takes a live subscription out of its list.
func (p *part) delist(sb *sub) {
	switch {
	case sb.pace != nil:
		remove(&p.paced, sb)
	case sb.session.private || sb.judged:
		remove(&p.private, sb)
	default:
		l := p.find(sb.class())
		remove(&l.subs, sb)
		if len(l.subs) == 0 {
			p.discard(l)
		}
	}
}

// wanted returns what of the part's batch the subscriptions of a list get, and
// the offset they have then seen.
func (p *part) wanted(l *classList) []*delivery {
	if l.sieve == nil {
		return p.batch
	}
	v := l.sieve
	if v.round == p.round {
		return v.passed
	}
	v.round = p.round
	v.passed = v.passed[:0]
	for _, d := range p.batch {
		if d = d.through(v.filter); d != nil {
			v.passed = append(v.passed, d)
		}
	}
	return v.passed
}

// newestOf returns the offset of the last publication of a batch, 0 where it
// has none.
func newestOf(batch []*delivery) uint64 {
	for _, d := range slices.Backward(batch) {
		if d.event.Kind == EventPublication {
			return d.event.offset()
		}
	}
	return 0
}

// deal hands a batch to the subscriptions of a list, and returns how many
// deliveries that were.
func (s *shard) deal(p *part, l *classList) int {
	batch := p.wanted(l)
	delivered := 0
	if p.holes && l.delta { // a patch may start from what is missing
		for _, sb := range l.subs {
			delivered += s.each(sb, batch)
		}
		return delivered
	}
	for rest := batch; len(rest) > 0; {
		var n, size int
		if l.delta {
			size, n = s.dealPatches(l, rest)
		} else {
			size, n = s.dealRun(l, rest)
		}
		rest = rest[size:]
		delivered += n
	}
	if skipped := len(p.batch) - len(batch); skipped > 0 {
		// What was not for them they have seen all the same.
		seen := newestOf(p.batch)
		for _, sb := range l.subs {
			sb.last = max(sb.last, seen)
		}
		p.topic.ns.metrics.Filtered.Add(int64(skipped * len(l.subs)))
	}
	return delivered
}

// dealRun hands the beginning of a batch to the subscriptions of a list. It
// returns how long that was, and how many deliveries.
func (s *shard) dealRun(l *classList, batch []*delivery) (size, delivered int) {
	run, joined := join(batch, view{form: l.form, numeric: l.numeric}, l.subs[0].lane())
	first, last := span(run)
	for _, sb := range l.subs {
		if first <= sb.last {
			delivered += s.each(sb, run)
			continue
		}
		sb.last = last
		delivered += len(run)
		s.queue(sb.session, piece{joined, sb})
	}
	return len(run), delivered
}

// dealPatches is dealRun for subscriptions that get patches. Most have the
// publication that the first patch starts from; others begin with a whole one.
func (s *shard) dealPatches(l *classList, batch []*delivery) (size, delivered int) {
	if batch[0].event.Kind != EventPublication {
		return s.dealRun(l, batch)
	}
	in := l.subs[0].lane()
	v := view{form: l.form, numeric: l.numeric, shape: shapePatch}
	run, joined := join(batch, v, in)
	head := run[0].packet(v, in)
	tail := &packet{view: v, bytes: joined.bytes[len(head.bytes):], run: run[1:], lane: in}
	if joined.run != nil {
		tail.run = joined.run[1:]
	}
	rest := 0 // what the patches behind the first save
	for _, d := range run[1:] {
		rest += d.packet(v, in).saved
	}
	v.shape = shapeFull
	first, last := span(run)
	total := 0
	for _, sb := range l.subs {
		switch {
		case first <= sb.last:
			delivered += s.each(sb, run)
			continue
		case sb.starts(run[0].base):
			total += head.saved
			s.queue(sb.session, piece{joined, sb})
		default:
			s.queue(sb.session, piece{run[0].packet(v, in), sb})
			s.queue(sb.session, piece{tail, sb})
		}
		total += rest
		sb.last, sb.based = last, true
		delivered += len(run)
	}
	saved(l.subs[0].topic.ns, total)
	return len(run), delivered
}

// starts reports whether the client has the publication that a patch starts
// from.
func (sb *sub) starts(base *channel.Publication) bool {
	return sb.based && base != nil && base.Offset == sb.last
}

// saved counts what patches saved.
func saved(ns *Namespace, bytes int) {
	if bytes > 0 {
		ns.metrics.DeltaSaved.Add(int64(bytes))
	}
}
