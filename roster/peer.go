package roster

import "myelin/channel"

// maxPages is how many pages one copy may have.
const maxPages = 1 << 16

// stage is how far the copy of a peer is.
type stage uint8

const (
	stageIdle    stage = iota
	stageAsked         // the first page has not come
	stageReading       // it has
)

// peer is what is known of one incarnation of another node. It is changed
// under the roster's lock.
type peer struct {
	node channel.Node
	gone bool
	// known: a whole copy was made. full: there was no room for all, and short
	// says so of the copy at work.
	known, full, short bool
	members            map[uint64]*member
	sum                uint64
	// last is the number of the newest frame that is included.
	last uint64
	// stale: the next digest begins a copy.
	stale bool

	// ahead is the highest number of a page. While last is behind it, pages
	// may have told what frames on their way tell again.
	ahead uint64
	// left holds who left during a copy, and while last is behind: nobody
	// comes twice.
	left map[uint64]struct{}

	// What follows is the copy at work.
	stage stage
	copy  uint32 // its number
	pages int
	// missed is the highest number of a frame that did not come since it
	// began, base that of its first page.
	missed, base uint64
	// fresh holds who joined before the first page came, and by which frame.
	fresh []arrival
}

type arrival struct{ ticket, frame uint64 }

// Fetch is a page that the roster wants. The caller asks the node for Request
// and hands the answer to Page.
type Fetch struct {
	// Node is whom to ask.
	Node    channel.Node
	Request []byte

	peer   *peer
	copy   uint32
	cursor uint64
}

func (p *peer) fetch(cursor uint64) *Fetch {
	return &Fetch{
		Node: p.node, peer: p, copy: p.copy, cursor: cursor,
		Request: head(kindAsk, p.node.Incarnation, cursor),
	}
}

// beginLocked begins a whole copy.
func (r *Roster) beginLocked(p *peer) *Fetch {
	r.copies++
	p.stage, p.copy, p.pages = stageAsked, p.copy+1, 0
	p.stale, p.short, p.missed, p.base = false, false, 0, 0
	p.fresh = nil
	if p.left == nil {
		p.left = make(map[uint64]struct{})
	}
	return p.fetch(0)
}

// endLocked ends a copy.
func (p *peer) endLocked() {
	p.stage, p.fresh = stageIdle, nil
	p.forget()
}

// forget lets go of who left once nobody can bring them back.
func (p *peer) forget() {
	if p.stage == stageIdle && p.last >= p.ahead {
		p.left = nil
	}
}

// remembers reports whether ticket is that of a member that has left.
func (p *peer) remembers(ticket uint64) bool {
	_, left := p.left[ticket]
	return left
}

// Hear takes a frame that a node has broadcast. The answer is what to tell
// watchers, and what to ask, if anything.
func (r *Roster) Hear(from channel.Node, frame []byte) ([]Event, *Fetch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.mu.peers[from.ID]
	if p == nil || p.node.Incarnation != from.Incarnation {
		return nil, nil
	}
	switch kindOf(frame) {
	case kindChanges:
		return r.changesLocked(p, frame)
	case kindDigest:
		return nil, r.digestLocked(p, frame)
	default:
		return nil, nil
	}
}

// changesLocked applies the changes of a frame. They are applied even behind a
// gap: what they say is true, and what is missing the copy brings.
func (r *Roster) changesLocked(p *peer, frame []byte) (events []Event, f *Fetch) {
	in := reader{b: frame}
	var number uint64
	if !in.open(kindChanges, &number) || number <= p.last {
		return nil, nil // unreadable, or included already
	}
	var e entry
	for len(in.b) > 0 && in.entry(&e) {
		if e.leave {
			events = r.removeLocked(events, p, e.ticket)
			p.noteLeft(e.ticket, r.limit)
			continue
		}
		if p.members[e.ticket] == nil && !p.remembers(e.ticket) {
			events = r.addLocked(events, p, &e)
		}
		p.noteJoined(e.ticket, number, r.limit)
	}
	switch {
	case in.bad:
		f = r.missedLocked(p, number)
	case number > p.last+1:
		f = r.missedLocked(p, number-1)
	}
	p.last = number
	p.forget()
	return events, f
}

// missedLocked notes that frames up to a number did not come, and begins a
// copy unless there is one.
func (r *Roster) missedLocked(p *peer, number uint64) *Fetch {
	if p.stage != stageIdle {
		p.missed = max(p.missed, number)
		return nil
	}
	if p.stale || p.full {
		return nil // with the next digest
	}
	return r.beginLocked(p)
}

// noteLeft remembers who left, as long as it matters.
func (p *peer) noteLeft(ticket uint64, most int) {
	switch {
	case p.left == nil:
	case len(p.left) >= most:
		p.missed = ^uint64(0) // the copy will not do
	default:
		p.left[ticket] = struct{}{}
	}
}

// noteJoined remembers during a copy who joined by a frame.
func (p *peer) noteJoined(ticket, frame uint64, most int) {
	switch {
	case p.stage == stageReading:
		if m := p.members[ticket]; m != nil {
			m.shown = p.copy
		}
	case p.stage == stageAsked && len(p.fresh) >= most:
		p.missed = ^uint64(0)
	case p.stage == stageAsked:
		p.fresh = append(p.fresh, arrival{ticket, frame})
	}
}

// digestLocked compares what is here with what a node says of itself.
func (r *Roster) digestLocked(p *peer, frame []byte) *Fetch {
	in := reader{b: frame}
	var d digest
	if !in.open(kindDigest, &d.number, &d.count, &d.sum) || d.number < p.last {
		return nil
	}
	behind := d.number > p.last
	p.last = d.number
	p.forget()
	if p.stage != stageIdle {
		if behind {
			p.missed = max(p.missed, d.number)
		}
		return nil
	}
	if p.full {
		if others := r.mu.count - len(p.members); d.count > uint64(max(r.limit-others, 0)) {
			return nil
		}
		return r.beginLocked(p)
	}
	if d.number < p.ahead {
		return nil // it is older than what is here
	}
	if behind || p.stale || !p.known {
		return r.beginLocked(p)
	}
	if d.count != uint64(len(p.members)) || d.sum != p.sum {
		r.diverged++
		return r.beginLocked(p)
	}
	return nil
}

// Page takes the answer to a fetch, or why there is none.
func (r *Roster) Page(f *Fetch, answer []byte, err error) ([]Event, *Fetch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := f.peer
	if p.gone || p.stage == stageIdle || p.copy != f.copy {
		return nil, nil
	}
	in := reader{b: answer}
	var number, next uint64
	if err != nil || !in.open(kindPage, &number, &next) || (next != 0 && next <= f.cursor) || p.pages >= maxPages {
		p.giveUp()
		return nil, nil
	}
	p.pages++
	p.ahead = max(p.ahead, number)
	if p.stage == stageAsked {
		p.firstPage(number)
	}
	if p.missed > p.base {
		p.giveUp()
		return nil, nil
	}
	var events []Event
	var e entry
	for len(in.b) > 0 {
		if !in.entry(&e) || e.leave {
			p.giveUp()
			return events, nil
		}
		events = r.shownLocked(events, p, &e)
	}
	switch {
	case next != 0:
		return events, p.fetch(next)
	default:
		return r.wholeLocked(events, p), nil
	}
}

// giveUp ends a copy that came to nothing. The next digest begins another one.
func (p *peer) giveUp() {
	p.stale = true
	p.endLocked()
}

// firstPage takes the number of the first page: what joined by a later frame
// need not be on any page.
func (p *peer) firstPage(number uint64) {
	p.stage, p.base = stageReading, number
	p.last = max(p.last, number)
	for _, a := range p.fresh {
		if m := p.members[a.ticket]; m != nil && a.frame > number {
			m.shown = p.copy
		}
	}
	p.fresh = nil
}

// shownLocked takes a member that a page shows.
func (r *Roster) shownLocked(events []Event, p *peer, e *entry) []Event {
	if p.remembers(e.ticket) {
		return events
	}
	if p.members[e.ticket] == nil {
		events = r.addLocked(events, p, e)
	}
	if m := p.members[e.ticket]; m != nil {
		m.shown = p.copy
	}
	return events
}

// wholeLocked ends a copy whose pages have all come: who was not shown is
// gone.
func (r *Roster) wholeLocked(events []Event, p *peer) []Event {
	for ticket, m := range p.members {
		if m.shown != p.copy {
			events = r.removeLocked(events, p, ticket)
			p.noteLeft(ticket, r.limit)
		}
	}
	p.known, p.full = true, p.short
	p.endLocked()
	return events
}
