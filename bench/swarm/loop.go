package swarm

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// readRoom is how much one read may bring: a whole message of any size behind
// what an earlier read left over.
const readRoom = 2*MaxMessage + 64

// inboxRoom is how many calls may wait for a loop. Swarm's methods wait for
// each of theirs, so few ever do.
const inboxRoom = 16

// loop carries members. Everything in it, but for the inbox, the counters and
// the poller's bell, belongs to its goroutine.
type loop struct {
	swarm     *Swarm
	poll      *poller
	publisher *publisher // on the first loop only, once there is one
	arrivals  *latch     // counts down as members become ready
	began     time.Duration
	inbox     chan func()
	done      chan struct{} // closed when the goroutine has ended

	members  []*member // by index in the poller's keys
	waiting  []*member // to be dialled
	dialling int

	buffer  []byte // what a read brings
	scratch []byte // the payload of a command
	frame   []byte // the frame around it
	reply   reply
	now     time.Duration // of the read in progress, since the swarm's start
	tally   Tally

	progress atomic.Int64 // deliveries so far; a look from outside
	poked    atomic.Bool  // the publisher may have room
	stopping bool
}

func newLoop(s *Swarm) (*loop, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{
		swarm:  s,
		poll:   poll,
		inbox:  make(chan func(), inboxRoom),
		done:   make(chan struct{}),
		buffer: make([]byte, readRoom),
	}, nil
}

// run is the goroutine. It ends after a call set stopping, or when the poller
// breaks.
func (l *loop) run() {
	defer close(l.done)
	for !l.stopping {
		n, err := l.poll.wait()
		if err != nil {
			l.swarm.fail(err)
			break
		}
		for i := range n {
			l.handle(l.poll.event(i))
		}
		l.progress.Store(l.tally.Deliveries + l.tally.Lost + l.tally.Skipped)
	}
	for _, m := range l.members {
		m.close()
	}
	if err := l.poll.close(); err != nil {
		l.swarm.fail(err)
	}
}

func (l *loop) handle(e event) {
	if e.index == wakeKey {
		l.poll.woken()
		l.calls()
		return
	}
	m := l.members[e.index]
	if m.generation != e.generation || m.state == memberClosed {
		return // of a socket that was closed after the poller saw it
	}
	if err := m.handle(e); err != nil {
		m.fail(err)
	}
}

// calls runs what others asked for.
func (l *loop) calls() {
	if l.poked.Swap(false) && l.publisher != nil {
		l.publisher.pump()
	}
	for {
		select {
		case call := <-l.inbox:
			call()
		default:
			return
		}
	}
}

// do runs f on the loop's goroutine and waits for it; false says that the loop
// has ended.
func (l *loop) do(f func()) bool {
	ran := make(chan struct{})
	select {
	case l.inbox <- func() { f(); close(ran) }:
	case <-l.done:
		return false
	}
	l.poll.wake()
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	}
}

// poke tells the first loop that the publisher may have room.
func (l *loop) poke() {
	if !l.poked.Swap(true) {
		l.poll.wake()
	}
}

// dial queues members and starts as many as may be on the way at once.
func (l *loop) dial(members []*member, arrivals *latch) {
	l.arrivals = arrivals
	l.began = l.swarm.elapsed()
	l.waiting = append(l.waiting, members...)
	l.dialNext()
}

func (l *loop) dialNext() {
	for l.dialling < l.swarm.config.Dialing && len(l.waiting) > 0 {
		m := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.dialling++
		if err := m.dial(); err != nil {
			m.fail(err)
			return
		}
	}
}

// arrived notes that a member is ready.
func (l *loop) arrived(m *member) {
	l.dialling--
	if m.publisher == nil {
		l.tally.Ready.Record(l.swarm.elapsed() - l.began)
	}
	l.arrivals.down()
	l.dialNext()
}

// drop closes all members but the publisher, as if the network had.
func (l *loop) drop() {
	for _, m := range l.members {
		if m.publisher == nil {
			m.close()
		}
	}
}

// latch opens when it was counted down to zero.
type latch struct {
	opened chan struct{}
	left   atomic.Int64
}

func newLatch(n int) *latch {
	l := &latch{opened: make(chan struct{})}
	l.left.Store(int64(n))
	if n == 0 {
		close(l.opened)
	}
	return l
}

func (l *latch) down() {
	if l.left.Add(-1) == 0 {
		close(l.opened)
	}
}

// memberError says which member failed, and while doing what.
func memberError(m *member, err error) error {
	who := fmt.Sprintf("connection %d", m.index)
	if m.publisher != nil {
		who = "publisher's connection"
	}
	if refused, ok := errors.AsType[*Refused](err); ok && refused.Command == "" {
		refused.Command = m.state.command()
	}
	return fmt.Errorf("%s, %s: %w", who, m.state, err)
}
