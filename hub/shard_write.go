package hub

import "time"

// output is the part of a session that its shard's goroutine owns.
type output struct {
	// first and more are what goes out in this round; most rounds need only
	// first.
	first []byte
	more  [][]byte
	// backlog is what the connection did not take. It goes out before
	// anything else.
	backlog []byte
	// blocked: NotifyWritable has been asked and has not answered.
	blocked bool
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

// flush does the one write of a round.
func (sh *shard) flush(s *Session) {
	o := &s.out
	o.dirty = false
	p := o.first
	if len(o.more) > 0 {
		sh.hub.metrics.Joined.Add(int64(len(o.more)))
		sh.scratch = append(sh.scratch[:0], o.first...)
		for i, b := range o.more {
			sh.scratch = append(sh.scratch, b...)
			o.more[i] = nil
		}
		p = sh.scratch
		o.more = o.more[:0]
		if cap(o.more) > 16 {
			o.more = nil
		}
	}
	o.first = nil
	if o.closed {
		return
	}
	if o.blocked {
		sh.hold(s, p)
		return
	}
	sh.write(s, p)
}

// hold keeps bytes for a connection that takes none now. A session that
// already has more waiting than it may is slow, and ends.
func (sh *shard) hold(s *Session, p []byte) {
	o := &s.out
	if len(o.backlog) > 0 && len(o.backlog)+len(p) > sh.hub.opts.Limits.QueueBytes && !o.closing {
		sh.hub.metrics.SlowDisconnects.Inc()
		sh.hub.opts.Metrics.Limit("queue").Inc()
		sh.giveUp(s, DisconnectSlow)
		return
	}
	o.backlog = append(o.backlog, p...)
}

// write hands p to the connection and keeps what it does not take.
func (sh *shard) write(s *Session, p []byte) {
	o := &s.out
	if len(p) > 0 {
		n, err := s.conn.WriteNow(p)
		sh.hub.metrics.Writes.Inc()
		sh.hub.metrics.WriteBytes.Add(int64(n))
		if err != nil {
			sh.shut(s)
			sh.hub.task(func() { s.Close(DisconnectWriteError) })
			return
		}
		if n < len(p) {
			o.backlog = append(o.backlog, p[n:]...)
			o.blocked = true
			s.conn.NotifyWritable(func() { sh.push(message{kind: msgWritable, session: s}) })
			return
		}
	}
	if o.closing {
		sh.shut(s)
	}
}

// writable goes on with the backlog.
func (sh *shard) writable(s *Session) {
	o := &s.out
	o.blocked = false
	if o.closed {
		return
	}
	rest := o.backlog
	o.backlog = nil
	sh.write(s, rest)
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
	o.closing = true
	o.deadline = time.Now().Add(lingerTimeout)
	sh.wheel.Schedule(&s.timer, lingerTimeout)
	switch {
	case o.blocked:
		// What waits is whole frames but for their beginning, which the
		// connection has: the goodbye can only stand behind all of it.
		for _, b := range append([][]byte{o.first}, o.more...) {
			o.backlog = append(o.backlog, b...)
		}
		o.first, o.more = nil, nil
		o.backlog = append(o.backlog, bye...)
	case o.dirty:
		o.more = append(o.more, bye)
	default:
		sh.write(s, bye)
	}
}

// shut closes the connection and lets go of everything.
func (sh *shard) shut(s *Session) {
	o := &s.out
	if o.closed {
		return
	}
	sh.wheel.Cancel(&s.timer)
	*o = output{closing: true, closed: true, dirty: o.dirty}
	s.conn.Close()
	sh.hub.clients.gone()
}
