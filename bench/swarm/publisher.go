package swarm

import "fmt"

// publisher sends numbered publications over a connection of its own, each in
// a frame of its own, as the ledger's window allows. It belongs to the first
// loop.
type publisher struct {
	member  *member
	payload []byte
	size    int
	next    uint32 // the number to send next
	limit   uint32 // numbers below it may be sent
}

// pump sends what may be sent, as long as the socket has room.
func (p *publisher) pump() {
	m := p.member
	for p.next < p.limit && m.state == memberReady && len(m.out) == 0 && m.loop.swarm.ledger.free(p.next) {
		if err := p.send(); err != nil {
			m.fail(err)
		}
	}
}

func (p *publisher) send() error {
	s, number := p.member.loop.swarm, p.next
	p.next++
	s.ledger.open(number)
	channel := s.channels[int(number)%len(s.channels)]
	return p.member.send(func(d dialect, b []byte) []byte {
		p.payload = AppendPayload(p.payload[:0], p.size, s.config.Run, number, s.elapsed())
		return d.publish(b, number+firstPublish, channel, p.payload)
	})
}

// acknowledged settles the publication whose command had this id.
func (p *publisher) acknowledged(id uint32) error {
	number := id - firstPublish
	if number >= p.next {
		return fmt.Errorf("answer to a publish command with id %d that was not sent", id)
	}
	p.member.settle(number)
	return nil
}
