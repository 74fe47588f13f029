package hub

import "time"

// output is the part of a session that its shard's goroutine owns.
type output struct {
	// first and more are what goes out in this round; most rounds need only
	// first.
	first []byte
	more  [][]byte
	// backlog is what the connection did not take. It goes out before
	// anything else. Its last behind bytes came after the write that stopped;
	// moved is what has been taken of it since somebody asked.
	backlog []byte
	behind  int
	moved   int
	// blocked: NotifyWritable has been asked and has not answered, since
	// blockedAt (Unix ms) for a backlog that has not been empty since.
	blocked   bool
	blockedAt int64
	// closing: nothing more is queued; the connection closes when all is out
	// or at the deadline. closed: it has been closed.
	closing  bool
	closed   bool
	deadline time.Time
	dirty    bool
}

// queue adds bytes to what s is sent in this round.
func (sh *shard) queue(s *Session, b []byte) {
	o := &s.out
	if len(b) == 0 || o.closing || o.closed {
		return
	}
	s.sent(b)
	if o.first == nil {
		o.first = b
	} else {
		o.more = append(o.more, b)
	}
	if !o.dirty {
		o.dirty = true
		sh.dirty = append(sh.dirty, s)
	}
}

// tell queues an event for one session.
func (sh *shard) tell(s *Session, e *Event) { sh.queue(s, s.form.AppendEvent(nil, e)) }

func (sh *shard) flushSessions() {
	for i, s := range sh.dirty {
		sh.flush(s)
		sh.dirty[i] = nil
	}
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
	p := o.first
	o.first = nil
	ok := true
	if len(o.more) > 0 {
		p, ok = sh.merge(s, p)
	}
	if ok && sh.put(s, p) {
		sh.finish(s)
	}
}

// merge joins what is queued behind p for one write. Where that is too much
// for one it does those before the last.
func (sh *shard) merge(s *Session, p []byte) ([]byte, bool) {
	more := s.out.more
	s.out.more = nil
	sh.hub.metrics.Joined.Add(int64(len(more)))
	sh.scratch = append(sh.scratch[:0], p...)
	for i, b := range more {
		if len(sh.scratch)+len(b) > maxWrite {
			if !sh.put(s, sh.scratch) {
				return nil, false
			}
			sh.scratch = sh.scratch[:0]
		}
		sh.scratch = append(sh.scratch, b...)
		more[i] = nil
	}
	if cap(more) <= 16 {
		s.out.more = more[:0]
	}
	return sh.scratch, true
}

// finish closes the connection of a closing session when all is out.
func (sh *shard) finish(s *Session) {
	if s.out.closing && !s.out.blocked {
		sh.shut(s)
	}
}

// put writes p, or keeps it where the connection takes nothing now. It
// reports whether the session takes more.
func (sh *shard) put(s *Session, p []byte) bool {
	o := &s.out
	switch {
	case o.closed:
		return false
	case o.blocked:
		return sh.hold(s, p)
	}
	rest, ok := sh.write(s, p)
	if len(rest) > 0 {
		o.backlog = append(o.backlog, rest...)
	}
	return ok
}

// hold keeps bytes behind a write that stopped. A session that has more there
// than it may is slow, and ends. The write itself does not count: a long reply
// on a slow link is not the client's fault.
func (sh *shard) hold(s *Session, p []byte) bool {
	o := &s.out
	if o.behind+len(p) <= sh.hub.opts.Limits.QueueBytes {
		o.backlog = append(o.backlog, p...)
		o.behind += len(p)
		return true
	}
	if !o.closing {
		sh.hub.metrics.SlowDisconnects.Inc()
		sh.hub.opts.Metrics.Limit("queue").Inc()
		sh.giveUp(s, DisconnectSlow)
	}
	return false
}

// write hands p to the connection and returns what it does not take. It
// reports whether the session goes on.
func (sh *shard) write(s *Session, p []byte) (rest []byte, ok bool) {
	if len(p) == 0 {
		return nil, true
	}
	n, err := s.conn.WriteNow(p)
	sh.hub.metrics.Writes.Inc()
	sh.hub.metrics.WriteBytes.Add(int64(n))
	if err != nil {
		sh.shut(s)
		sh.hub.task(func() { s.Close(DisconnectWriteError) })
		return nil, false
	}
	if n < len(p) {
		s.out.blocked = true
		if s.out.blockedAt == 0 {
			s.out.blockedAt = time.Now().UnixMilli()
		}
		s.conn.NotifyWritable(func() { sh.push(message{kind: msgWritable, session: s}) })
	}
	return p[n:], true
}

// writable goes on with the backlog.
func (sh *shard) writable(s *Session) {
	o := &s.out
	o.blocked = false
	if o.closed {
		return
	}
	rest, ok := sh.write(s, o.backlog)
	if !ok {
		return
	}
	o.moved += len(o.backlog) - len(rest)
	o.backlog, o.behind = rest, min(o.behind, len(rest))
	if len(rest) == 0 {
		o.backlog, o.blockedAt = nil, 0
	}
	sh.finish(s)
}

// giveUp ends a session from within the shard: the client is told behind what
// is queued, and a task does what may wait.
func (sh *shard) giveUp(s *Session, d Disconnect) {
	sh.end(s, &Event{Kind: EventDisconnected, Code: d.Code, Reason: d.Reason})
	sh.hub.task(func() { s.Close(d) })
}

// end says why and closes when all is out.
func (sh *shard) end(s *Session, e *Event) {
	o := &s.out
	if o.closing || o.closed {
		return
	}
	bye := s.form.AppendEvent(nil, e)
	s.sent(bye)
	o.closing = true
	if s.trail != nil {
		s.trail.code, s.trail.reason = e.Code, e.Reason
	}
	o.deadline = time.Now().Add(lingerTimeout)
	sh.wheel.Schedule(&s.timer, lingerTimeout)
	switch {
	case o.dirty:
		o.more = append(o.more, bye)
	case o.blocked:
		o.backlog = append(o.backlog, bye...)
	default:
		sh.put(s, bye)
		sh.finish(s)
	}
}

// shut closes the connection and lets go of everything.
func (sh *shard) shut(s *Session) {
	o := &s.out
	if o.closed {
		return
	}
	sh.wheel.Cancel(&s.timer)
	sh.remember(s)
	if t := s.tail.Load(); t != nil {
		s.unlisten(t)
	}
	*o = output{closing: true, closed: true, dirty: o.dirty}
	s.conn.Close()
	sh.hub.clients.gone()
}
