package swarm

import (
	"errors"
	"fmt"
	"io"
)

// memberState is how far a member has come.
type memberState uint8

const (
	memberClosed memberState = iota
	memberDialing
	memberUpgrading
	memberConnecting
	memberSubscribing
	memberReady
)

// String says what the member is doing.
func (s memberState) String() string {
	return [...]string{"closed", "dialing", "upgrading", "connecting", "subscribing", "ready"}[s]
}

// command names what was asked in this state.
func (s memberState) command() string {
	return [...]string{"", "", "upgrade", "connect", "subscribe", "publish"}[s]
}

// The ids of a member's commands; the publisher counts on from firstPublish.
const (
	idConnect    = 1
	idSubscribe  = 2
	firstPublish = 2
)

// keptRoom is how much room a member keeps for bytes it has to hold back.
const keptRoom = 4096

// member is one connection. It belongs to its loop.
type member struct {
	loop       *loop
	publisher  *publisher // nil for a subscriber
	channel    string
	pending    []byte // the start of a frame whose end has not been read
	fragments  []byte // the message of the frames so far
	out        []byte // what the socket had no room for
	from       since  // where the subscription is
	fd         int
	index      int
	generation int32
	next       uint32 // the number expected next
	lane       uint32 // what the numbers of its channel leave modulo the channels
	state      memberState
	pongs      bool // the server wants answers to its pings
	parted     bool // a fragmented message is on its way
	resync     bool // the server said that publications are gone
}

func (m *member) key() event {
	return event{index: int32(m.index), generation: m.generation}
}

// dial starts a fresh connection.
func (m *member) dial() error {
	m.state = memberDialing
	m.generation++
	fd, err := dialSocket(m.loop.swarm.address)
	if err != nil {
		m.state = memberClosed
		return err
	}
	m.fd = fd
	return m.loop.poll.add(fd, m.key(), true)
}

// close resets the connection and forgets what belonged to it; the position in
// the channel stays.
func (m *member) close() {
	if m.state == memberClosed {
		return
	}
	m.state = memberClosed
	m.pending, m.fragments, m.out = nil, nil, nil
	m.pongs, m.parted = false, false
	if err := resetSocket(m.fd); err != nil {
		m.loop.swarm.fail(err)
	}
	m.fd = -1
}

// fail ends the member and, with it, the swarm's run.
func (m *member) fail(err error) {
	m.loop.swarm.fail(memberError(m, err))
	m.close()
}

func (m *member) handle(e event) error {
	if m.state == memberDialing {
		if !e.writable {
			return nil
		}
		if err := dialResult(m.fd); err != nil {
			return err
		}
		return m.dialled()
	}
	if e.writable {
		if err := m.flush(); err != nil {
			return err
		}
	}
	if e.readable {
		return m.read()
	}
	return nil
}

// dialled goes on when the TCP connection stands.
func (m *member) dialled() error {
	if err := m.loop.poll.change(m.fd, m.key(), false); err != nil {
		return err
	}
	if m.loop.swarm.config.Bare {
		m.state = memberReady
		m.loop.arrived(m)
		return nil
	}
	m.state = memberUpgrading
	return m.write(m.loop.swarm.handshake.request)
}

// write sends b now or, when the socket has no room, later.
func (m *member) write(b []byte) error {
	if len(m.out) > 0 {
		return m.holdBack(b)
	}
	n, err := writeSocket(m.fd, b)
	if err != nil {
		if !errors.Is(err, errAgain) {
			return fmt.Errorf("write: %w", err)
		}
		n = 0
	}
	if n < len(b) {
		if err := m.holdBack(b[n:]); err != nil {
			return err
		}
		return m.loop.poll.change(m.fd, m.key(), true)
	}
	return nil
}

// holdBack keeps bytes until the socket is writable.
func (m *member) holdBack(b []byte) error {
	if len(m.out)+len(b) > 2*MaxMessage {
		return fmt.Errorf("server has not read %d bytes", len(m.out))
	}
	m.out = append(m.out, b...)
	return nil
}

// flush sends what was held back.
func (m *member) flush() error {
	if len(m.out) == 0 {
		return nil
	}
	n, err := writeSocket(m.fd, m.out)
	if err != nil {
		if errors.Is(err, errAgain) {
			return nil
		}
		return fmt.Errorf("write: %w", err)
	}
	if m.out = m.out[n:]; len(m.out) > 0 {
		return nil
	}
	m.out = nil
	if err := m.loop.poll.change(m.fd, m.key(), false); err != nil {
		return err
	}
	if m.publisher != nil {
		m.publisher.pump()
	}
	return nil
}

// send frames a command built by build in the loop's scratch room.
func (m *member) send(build func(d dialect, b []byte) []byte) error {
	l, d := m.loop, m.loop.swarm.dialect
	l.scratch = build(d, l.scratch[:0])
	l.frame = appendFrame(l.frame[:0], d.opcode(), l.scratch)
	return m.write(l.frame)
}

// read takes what the socket has, one read at a time: the poller is level
// triggered and comes back when there is more.
func (m *member) read() error {
	l := m.loop
	kept := copy(l.buffer, m.pending)
	n, err := readSocket(m.fd, l.buffer[kept:])
	if err != nil {
		if errors.Is(err, errAgain) {
			return nil
		}
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("server closed the connection without a close frame: %w", io.ErrUnexpectedEOF)
	}
	l.now = l.swarm.elapsed()
	if m.publisher == nil {
		l.tally.Reads++
		l.tally.Bytes += int64(n)
	}
	rest, err := m.consume(l.buffer[:kept+n])
	if err != nil || m.state == memberClosed {
		return err
	}
	if len(rest) == 0 && cap(m.pending) > keptRoom {
		m.pending = nil
		return nil
	}
	m.pending = append(m.pending[:0], rest...)
	return nil
}

// consume handles all complete frames in b and returns the rest.
func (m *member) consume(b []byte) (rest []byte, err error) {
	if m.state == memberUpgrading {
		size, err := m.loop.swarm.handshake.check(b)
		if size == 0 || err != nil {
			return b, err
		}
		b = b[size:]
		m.state = memberConnecting
		token := m.loop.swarm.config.Token
		err = m.send(func(d dialect, b []byte) []byte { return d.connect(b, idConnect, token) })
		if err != nil {
			return nil, err
		}
	}
	for m.state != memberClosed {
		f, size, err := parseFrame(b)
		if size == 0 || err != nil {
			return b, err
		}
		if err := m.frame(f); err != nil {
			return nil, err
		}
		b = b[size:]
	}
	return nil, nil
}

func (m *member) frame(f frame) error {
	switch f.opcode {
	case opPong:
		return nil
	case opPing:
		m.loop.tally.Pings++
		return m.write(appendFrame(nil, opPong, f.payload))
	case opClose:
		return parseClose(f.payload)
	case opContinuation:
		if !m.parted {
			return errors.New("continuation frame without a message to continue")
		}
	default:
		if m.parted {
			return errors.New("new message within a fragmented one")
		}
		if f.final {
			return m.message(f.payload)
		}
		m.parted = true
	}
	if len(m.fragments)+len(f.payload) > MaxMessage {
		return errTooLarge
	}
	m.fragments = append(m.fragments, f.payload...)
	if !f.final {
		return nil
	}
	whole := m.fragments
	m.fragments, m.parted = nil, false
	return m.message(whole)
}

// message handles the replies of one WebSocket message.
func (m *member) message(b []byte) (err error) {
	l := m.loop
	if m.publisher == nil {
		l.tally.Messages++
	}
	for len(b) > 0 && m.state != memberClosed {
		whole := b
		if b, err = l.swarm.dialect.next(b, &l.reply); err != nil {
			return fmt.Errorf("%w: %.100q", err, whole)
		}
		switch l.reply.kind {
		case replyPublication:
			err = m.take(l.reply.publication)
		case replyPing:
			l.tally.Pings++
			if m.pongs {
				err = m.send(func(d dialect, b []byte) []byte { return d.pong(b) })
			}
		case replyResult:
			err = m.result(&l.reply)
		case replyRefused, replyEnd:
			err = l.reply.refused
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// result handles the answer to a command.
func (m *member) result(r *reply) error {
	switch {
	case m.state == memberConnecting && r.id == idConnect:
		m.pongs = r.pong
		if m.publisher != nil {
			m.state = memberReady
			m.loop.arrived(m)
			return nil
		}
		m.state = memberSubscribing
		return m.send(func(d dialect, b []byte) []byte { return d.subscribe(b, idSubscribe, m.channel, m.from) })
	case m.state == memberSubscribing && r.id == idSubscribe:
		return m.subscribed(r)
	case m.state == memberReady && m.publisher != nil:
		return m.publisher.acknowledged(r.id)
	}
	return fmt.Errorf("answer to a command with id %d that was not sent", r.id)
}

// subscribed takes the position, and what was recovered up to it.
func (m *member) subscribed(r *reply) error {
	if m.from.recover {
		if !r.recovered {
			m.loop.tally.Unrecovered++
			m.resync = true
		}
		m.loop.tally.Recovered += int64(len(r.publications))
		for _, p := range r.publications {
			if err := m.take(p); err != nil {
				return err
			}
		}
	} else if m.from.recoverable && !r.recoverable {
		return fmt.Errorf("subscription to %q is not recoverable: give the channel a history", m.channel)
	}
	m.from.epoch = r.epoch
	if m.from.offset < r.offset || m.resync {
		m.from.offset = r.offset
	}
	m.state = memberReady
	m.loop.arrived(m)
	return nil
}

// take checks a delivery against what is expected and settles it.
func (m *member) take(p publication) error {
	l, s := m.loop, m.loop.swarm
	if p.stamp.run != s.config.Run {
		return nil // of an earlier run, still in the channel's history
	}
	if number := p.stamp.number; number >= s.ledger.sent.Load() {
		return fmt.Errorf("publication number %d was delivered but never sent", number)
	}
	if p.offset > m.from.offset {
		m.from.offset = p.offset
	}
	stride := uint32(len(s.channels))
	if stride > 1 && p.stamp.number%stride != m.lane {
		return fmt.Errorf("publication number %d was delivered to a subscriber of another channel", p.stamp.number)
	}
	if p.stamp.number < m.next {
		l.tally.Repeated++
		return nil
	}
	for ; m.next < p.stamp.number; m.next += stride {
		if m.resync {
			l.tally.Skipped++
		} else {
			l.tally.Lost++
		}
		m.settle(m.next)
	}
	m.resync = false
	m.next += stride
	l.tally.Deliveries++
	l.tally.Latency.Record(l.now - p.stamp.sent)
	m.settle(p.stamp.number)
	return nil
}

// settle counts a delivery, or its certain loss, and lets the publisher go on
// when that completed the publication.
func (m *member) settle(number uint32) {
	if !m.loop.swarm.ledger.settle(number) {
		return
	}
	first := m.loop.swarm.loops[0]
	switch {
	case first != m.loop:
		first.poke()
	case first.publisher != nil:
		first.publisher.pump()
	}
}
