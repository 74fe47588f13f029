package hub

import (
	"runtime"
	"sync"
	"time"

	"myelin/internal/wheel"
)

// msgKind is what a message asks a shard to do.
type msgKind uint8

const (
	msgDeliver      msgKind = iota // delivery to the subscribers of its topic
	msgSend                        // bytes to one session
	msgTell                        // event to one session
	msgOpen                        // session begins: start its timers
	msgConnected                   // session identified itself
	msgRetime                      // session's expiry moved
	msgAttach                      // subscription waits for its recovery
	msgLive                        // reply bytes, then the subscription is live
	msgFilter                      // subscription has another filter
	msgDetach                      // subscription is gone; event, if any, says so
	msgInsufficient                // every subscription of the topic missed something
	msgPosition                    // check the topic's subscriptions against an offset
	msgWritable                    // session's connection takes bytes again
	msgClose                       // session ends: say why, flush, close
	msgCall                        // call a function
	msgJudge                       // what a pattern brings is to be judged, or not any more
	msgStop                        // shard ends
)

// message is an entry of a shard's inbox. Which fields are set goes by kind.
type message struct {
	kind     msgKind
	lane     lane // of a msgSend
	session  *Session
	sub      *sub
	topic    *topic
	delivery *delivery
	event    *Event
	bytes    []byte
	offset   uint64
	call     func()
}

// shard owns the output and the timers of its sessions. Its goroutine takes
// everything queued, so it joins more the busier it is.
type shard struct {
	hub *Hub
	// number is the shard's place in the hub, and its parts' in a topic.
	number int

	mu struct {
		sync.Mutex
		inbox   []message
		drained chan struct{} // closed when the inbox is taken; nil when nobody waits
	}
	wake chan struct{}
	gone chan struct{} // closed when the goroutine has ended

	// What follows is the goroutine's own.
	wheel   *wheel.Wheel[*Session]
	paces   *wheel.Wheel[sleeper]
	spare   []message
	touched []*part
	// delayed are the parts whose batches wait, the first until batchDue.
	delayed  []*part
	batchDue time.Time
	dirty    []*Session
	scratch  []byte
	wrote    tally
	stopped  bool
}

func newShard(h *Hub, number int) *shard {
	s := &shard{hub: h, number: number, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	s.wheel = wheel.New(timerTick, s.tick)
	s.paces = wheel.New(paceTick, func(z sleeper) { z.wake(s) })
	return s
}

// push queues m, returns at once and says how many are queued. Publishers
// first wait until there is room, see full; for a feed see inboxLimit.
func (s *shard) push(m message) int {
	s.mu.Lock()
	s.mu.inbox = append(s.mu.inbox, m)
	n := len(s.mu.inbox)
	s.mu.Unlock()
	if n == 1 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return n
}

// full returns a channel that closes when the inbox has been taken, or nil
// while there is room.
func (s *shard) full() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.inbox) < inboxHighWater {
		return nil
	}
	if s.mu.drained == nil {
		s.mu.drained = make(chan struct{})
	}
	return s.mu.drained
}

// take returns all that is queued.
func (s *shard) take() []message {
	s.mu.Lock()
	batch := s.mu.inbox
	s.mu.inbox = s.spare[:0]
	if s.mu.drained != nil {
		close(s.mu.drained)
		s.mu.drained = nil
	}
	s.mu.Unlock()
	return batch
}

// run is the shard's goroutine.
func (s *shard) run() {
	defer close(s.gone)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !s.stopped {
		var due <-chan time.Time
		if wait, ok := s.next(); ok {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-s.wake:
			// Let a reader that has more commands in hand go on first, so
			// that what it publishes shares the write.
			runtime.Gosched()
		case <-due:
		}
		now := time.Now()
		s.wheel.Advance(now)
		s.paces.Advance(now)
		s.round()
	}
}

// next is how long until a timer is due, if there is one.
func (s *shard) next() (time.Duration, bool) {
	wait, some := s.wheel.Next()
	if d, ok := s.paces.Next(); ok && (!some || d < wait) {
		wait, some = d, true
	}
	if d, ok := s.nextBatch(); ok && (!some || d < wait) {
		wait, some = d, true
	}
	return wait, some
}

// round handles what is queued now and writes what came of it.
func (s *shard) round() {
	batch := s.take()
	s.hub.metrics.InboxDepth.Set(int64(len(batch)))
	for i := range batch {
		s.handle(&batch[i])
	}
	s.flushParts()
	s.releaseBatches()
	s.flushSessions()
	s.wrote.report(s.hub.metrics)
	clear(batch)
	if cap(batch) <= inboxHighWater {
		s.spare = batch[:0]
	} else {
		s.spare = nil
	}
}

func (s *shard) handle(m *message) {
	switch m.kind {
	case msgDeliver:
		s.deliver(m.topic, m.delivery)
	case msgSend:
		s.send(m.session, m.lane, m.bytes)
	case msgTell:
		if m.sub != nil {
			s.tell(m.session, m.sub.lane(), m.event)
		} else {
			s.tell(m.session, laneControl, m.event)
		}
	case msgOpen, msgConnected, msgRetime:
		s.retime(m.session, m.kind)
	case msgAttach:
		s.attach(m.sub)
	case msgLive:
		s.live(m.sub, m.bytes, m.offset)
	case msgFilter:
		s.refilter(m.sub)
	case msgDetach:
		s.detach(m.sub, m.event)
		s.send(m.sub.session, m.sub.lane(), m.bytes)
	case msgInsufficient:
		s.insufficient(m.topic)
	case msgPosition:
		s.checkPosition(m.topic, m.offset)
	case msgWritable:
		s.writable(m.session)
	case msgClose:
		s.end(m.session, m.event)
	case msgCall:
		m.call()
	case msgJudge:
		s.rejudge(m.sub, m.offset == 1)
	case msgStop:
		s.stopped = true
	}
}
