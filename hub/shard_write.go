package hub

import (
	"slices"
	"time"

	"myelin/observe"
)

// output is the part of a session that its shard's goroutine owns.
type output struct {
	// first and more are what goes out in this round; most rounds need only
	// first.
	first piece
	// closing: nothing more is queued; the connection closes when all is out
	// or at the deadline. closed: it has been closed.
	closing, closed, dirty bool
	// blocked: NotifyWritable has been asked and has not answered, since
	// blockedAt (Unix ms) for a backlog that has not been empty since.
	blocked bool
	// late is what waits, nil while the session keeps up. What is queued then
	// goes there.
	late *backlog
	// credit is how many more bytes may be written before the connection is
	// asked again how much bulk it takes.
	credit int
	more   []piece
	// moved is how many bytes of what waited have been taken since somebody
	// asked.
	moved     int
	blockedAt int64
	deadline  time.Time
}

// piece is something for one session, on its way out. sub is the subscription
// that it is for; nil for what is the session's own.
type piece struct {
	*packet
	sub *sub
}

// packet is what many sessions may be sent.
type packet struct {
	// view is what bytes depend on; zero for a private form.
	view view
	// bytes are what leaves; nil for a private form, which encodes d when it
	// does, because what it says depends on what left before.
	bytes []byte
	// d is what bytes were made of, run where those are several.
	d    *delivery
	run  []*delivery
	lane lane
	// saved is how many bytes a patch is shorter than the data.
	saved int
}

// void reports whether there is nothing to send.
func (p *packet) void() bool { return len(p.bytes) == 0 && (p.d == nil || p.view.form != nil) }

// queue adds a piece to what s is sent in this round.
func (sh *shard) queue(s *Session, p piece) {
	o := &s.out
	if o.closing || o.closed || p.void() || (p.sub != nil && p.sub.shed) {
		return
	}
	if !o.dirty {
		o.dirty = true
		sh.dirty = append(sh.dirty, s)
	}
	switch {
	case o.late != nil:
		sh.keep(s, &p)
		return
	case p.lane == laneBulk && !sh.admitsNow(s, &p):
		sh.fallBehind(s)
		sh.keep(s, &p)
		return
	}
	if o.first.packet == nil {
		o.first = p
	} else {
		o.more = append(o.more, p)
	}
}

// fallBehind makes what is queued wait.
func (sh *shard) fallBehind(s *Session) {
	o := &s.out
	first, more := o.first, o.more
	o.first, o.more = piece{}, nil
	o.late = newBacklog(s)
	if first.packet != nil {
		sh.keep(s, &first)
	}
	for i := range more {
		sh.keep(s, &more[i])
	}
}

// send queues bytes of the session's own.
func (sh *shard) send(s *Session, l lane, b []byte) {
	sh.queue(s, piece{packet: &packet{bytes: b, lane: l}})
}

// tell queues an event for one session.
func (sh *shard) tell(s *Session, l lane, e *Event) { sh.queue(s, sh.said(s, l, e)) }

// said returns an event as a piece of the session's own.
func (sh *shard) said(s *Session, l lane, e *Event) piece {
	if s.private {
		return piece{packet: &packet{d: &delivery{event: *e}, lane: l}}
	}
	return piece{packet: &packet{bytes: s.form.AppendEvent(nil, e), lane: l}}
}

func (sh *shard) flushSessions() {
	for i := 0; i < len(sh.dirty); i++ { //nolint:intrange // a flush may make a session dirty again
		sh.flush(sh.dirty[i])
	}
	clear(sh.dirty)
	sh.dirty = sh.dirty[:0]
	if cap(sh.scratch) > 1<<20 {
		sh.scratch = nil
	}
}

// flush does the one write of a round, and further ones where there is more
// than one may hold.
func (sh *shard) flush(s *Session) {
	o := &s.out
	o.dirty = false
	if o.first.packet != nil {
		sh.direct(s)
	}
	if o.late != nil && !o.blocked {
		sh.catchUp(s)
	}
	sh.finish(s)
}

// direct writes what was queued while the session kept up.
func (sh *shard) direct(s *Session) {
	o := &s.out
	if b := o.first.bytes; len(o.more) == 0 && b != nil {
		o.first = piece{}
		s.sent(b)
		sh.put(s, b)
		return
	}
	first, more := o.first, o.more
	o.first, o.more = piece{}, nil
	if mixed(first.lane, more) {
		more = slices.Insert(more, 0, first)
		slices.SortStableFunc(more, func(a, b piece) int { return int(a.lane) - int(b.lane) })
		first, more = more[0], more[1:]
	}
	sh.merge(s, first, more)
	if cap(more) <= 16 && !o.closed && o.late == nil {
		clear(more)
		o.more = more[:0]
	}
}

// mixed reports whether what is queued has to be sorted: among replies and
// ordinary publications the order of their coming does.
func mixed(first lane, more []piece) bool {
	lanes := uint8(1) << first
	for i := range more {
		lanes |= 1 << more[i].lane
	}
	return lanes&(1<<laneAlarm|1<<laneBulk) != 0 && lanes&(lanes-1) != 0
}

// merge joins pieces for one write. Where that is too much for one it does
// several. What is left when the connection takes no more waits.
func (sh *shard) merge(s *Session, first piece, more []piece) {
	o := &s.out
	sh.wrote.joined += int64(len(more))
	sh.scratch = first.appendTo(sh.scratch[:0], s)
	for i := range more {
		p := &more[i]
		if o.late == nil && len(sh.scratch) > 0 && len(sh.scratch)+p.size() > maxWrite {
			sh.put(s, sh.scratch)
			sh.scratch = sh.scratch[:0]
		}
		switch {
		case o.closed:
			return
		case o.late != nil:
			sh.keep(s, p)
		default:
			sh.scratch = p.appendTo(sh.scratch, s)
		}
	}
	if len(sh.scratch) > 0 {
		sh.put(s, sh.scratch)
	}
}

// appendTo appends what leaves.
func (p *packet) appendTo(dst []byte, s *Session) []byte {
	mark := len(dst)
	switch {
	case p.bytes != nil:
		dst = append(dst, p.bytes...)
	case p.d.event.Kind == EventPassed:
		p.d.appendTo(nil, s.form) // told, and not sent
		return dst
	default:
		dst = p.d.appendTo(dst, s.form)
	}
	s.sent(dst[mark:])
	return dst
}

// size is how many bytes a piece has, about so many where they are not known
// before it leaves.
func (p *packet) size() int {
	if p.bytes != nil {
		return len(p.bytes)
	}
	return p.d.about()
}

// aboutEvent is about how long an event is beside its data.
const aboutEvent = 128

// about is about how long a delivery is in any form.
func (d *delivery) about() int {
	n := aboutEvent * (1 + len(d.more))
	if p := d.event.Pub; p != nil {
		n += len(p.Data) + len(p.Channel)
	}
	return n
}

// finish closes the connection of a closing session when all is out.
func (sh *shard) finish(s *Session) {
	if s.out.closing && s.out.late == nil {
		sh.shut(s)
	}
}

// put writes p for a session that keeps up. What the connection does not take
// waits, and nothing goes before it.
func (sh *shard) put(s *Session, p []byte) {
	if s.out.closed {
		return
	}
	if rest, ok := sh.write(s, p); ok && len(rest) > 0 {
		late := s.out.late
		if late == nil {
			late = newBacklog(s)
			s.out.late = late
		}
		late.cut = append(late.cut, rest...)
	}
}

// write hands p to the connection and returns what it does not take. It
// reports whether the session goes on.
func (sh *shard) write(s *Session, p []byte) (rest []byte, ok bool) {
	if len(p) == 0 {
		return nil, true
	}
	n, err := s.conn.WriteNow(p)
	sh.wrote.writes++
	sh.wrote.bytes += int64(n)
	s.out.credit -= n
	switch {
	case err != nil:
		sh.shut(s)
		sh.hub.task(func() { s.Close(DisconnectWriteError) })
		return nil, false
	case n < len(p):
		sh.block(s)
		return p[n:], true
	}
	return nil, true
}

// block asks the connection to say when it takes more.
func (sh *shard) block(s *Session) {
	s.out.blocked = true
	if s.out.blockedAt == 0 {
		s.out.blockedAt = time.Now().UnixMilli()
	}
	s.conn.NotifyWritable(func() { sh.push(message{kind: msgWritable, session: s}) })
}

// tally is what a shard has written since it last said so: counters that all
// shards share are not for every write.
type tally struct{ writes, bytes, joined int64 }

// report adds the tally to the metrics, and begins a new one.
func (t *tally) report(m *observe.Hub) {
	m.Writes.Add(t.writes)
	m.WriteBytes.Add(t.bytes)
	m.Joined.Add(t.joined)
	*t = tally{}
}

// giveUp ends a session from within the shard: the client is told behind what
// is queued, and a task does what may wait.
func (sh *shard) giveUp(s *Session, d Disconnect) {
	sh.end(s, &Event{Kind: EventDisconnected, Code: d.Code, Reason: d.Reason})
	sh.hub.task(func() { s.Close(d) })
}

// end says why and closes when all is out, at the end of this round at the
// earliest.
func (sh *shard) end(s *Session, e *Event) {
	o := &s.out
	if o.closing || o.closed {
		return
	}
	if s.trail == nil {
		s.trail = new(trail)
	}
	s.trail.code, s.trail.reason = e.Code, e.Reason
	o.deadline = time.Now().Add(lingerTimeout)
	sh.wheel.Schedule(&s.timer, lingerTimeout)
	sh.queue(s, sh.said(s, laneLast, e))
	if !o.dirty { // there was nothing to say, and it closes in this round all the same
		o.dirty = true
		sh.dirty = append(sh.dirty, s)
	}
	o.closing = true
	sh.waits(s)
}

// shut closes the connection and lets go of everything.
func (sh *shard) shut(s *Session) {
	o := &s.out
	if o.closed {
		return
	}
	sh.wheel.Cancel(&s.timer)
	sh.remember(s, true)
	if t := s.tail.Load(); t != nil {
		s.unlisten(t)
	}
	if o.late != nil {
		sh.forget(o.late)
	}
	*o = output{closing: true, closed: true, dirty: o.dirty}
	s.conn.Close()
	sh.hub.clients.gone()
}
