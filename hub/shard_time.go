package hub

import (
	"math/rand/v2"
	"time"
)

// clock is the part of a session that its shard's timers own.
type clock struct {
	opened    time.Time
	nextPing  time.Time
	pongBy    time.Time // zero when no ping is unanswered
	connected bool
	// pinged is when the last ping was sent, answered when the last one was
	// that the client has answered before another followed. Unix ms.
	pinged, answered int64
}

// retime begins or moves the timers of a session.
func (sh *shard) retime(s *Session, kind msgKind) {
	if s.out.closing || s.out.closed {
		return
	}
	now := time.Now()
	switch kind {
	case msgOpen:
		s.clock.opened = now
	case msgConnected:
		s.clock.connected = true
		if every := sh.hub.opts.PingInterval; every > 0 {
			// Spread the first pings, or a reconnect storm pings in step for ever.
			s.clock.nextPing = now.Add(every/2 + rand.N(every/2+1))
		}
	}
	sh.arm(s, now)
}

// arm schedules the session's timer for the next thing that is due.
func (sh *shard) arm(s *Session, now time.Time) {
	c := &s.clock
	var next time.Time
	consider := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !c.connected {
		consider(c.opened.Add(sh.hub.opts.StaleAfter))
	} else {
		consider(c.nextPing)
		consider(c.pongBy)
		if at := s.nextExpiry(); at != 0 {
			consider(time.Unix(at, 0).Add(sh.hub.opts.ExpiredDelay))
		}
	}
	if next.IsZero() {
		sh.wheel.Cancel(&s.timer)
		return
	}
	sh.wheel.Schedule(&s.timer, max(next.Sub(now), 0))
}

// tick is what the wheel calls when a session's timer is due.
func (sh *shard) tick(s *Session) {
	now := time.Now()
	if s.out.closing {
		if !now.Before(s.out.deadline) {
			sh.shut(s)
		} else {
			sh.wheel.Schedule(&s.timer, s.out.deadline.Sub(now))
		}
		return
	}
	if why, over := sh.overdue(s, now); over {
		sh.giveUp(s, why)
		return
	}
	c := &s.clock
	if c.connected && !c.nextPing.IsZero() && !now.Before(c.nextPing) {
		if !s.pinged.Swap(true) {
			c.answered = c.pinged
		}
		c.pinged = c.answered
		if s.out.late == nil { // otherwise it goes before what waits, and says nothing of that
			c.pinged = now.UnixMilli()
		}
		sh.tell(s, laneControl, &Event{Kind: EventPing})
		sh.hub.metrics.PingsSent.Inc()
		c.nextPing = now.Add(sh.hub.opts.PingInterval)
		if s.pongs && c.pongBy.IsZero() {
			s.out.moved = 0
			c.pongBy = now.Add(sh.hub.opts.PongTimeout)
		}
	}
	if s.dueSubs(now.Unix() - int64(sh.hub.opts.ExpiredDelay/time.Second)) {
		sh.hub.task(s.expireSubs)
	}
	sh.arm(s, now)
}

// overdue reports whether the session has run out of time, and for what.
func (sh *shard) overdue(s *Session, now time.Time) (Disconnect, bool) {
	c := &s.clock
	if !c.connected {
		return DisconnectStale, !now.Before(c.opened.Add(sh.hub.opts.StaleAfter))
	}
	if !c.pongBy.IsZero() {
		if !s.pinged.Load() {
			c.pongBy = time.Time{}
		} else if !now.Before(c.pongBy) {
			if s.out.moved < minProgress {
				return DisconnectNoPong, true
			}
			// The ping stands behind what the client is still taking.
			s.out.moved = 0
			c.pongBy = now.Add(sh.hub.opts.PongTimeout)
		}
	}
	at := s.expiresAt.Load()
	return DisconnectExpired, at != 0 && !now.Before(time.Unix(at, 0).Add(sh.hub.opts.ExpiredDelay))
}
