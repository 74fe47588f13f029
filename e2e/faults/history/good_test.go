package history_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
)

// server is a server that keeps its promises, with clients that it serves, in a
// world where time is a number.
type server struct {
	*rand.Rand
	h    *history.History
	rule history.Rule
	now  time.Duration

	epoch  int
	log    []history.Kept
	offset uint64
	tries  int
	// lost are tries that had no answer, though they were done.
	lost    []history.Publish
	clients []*listener
}

// listener is a client of it.
type listener struct {
	*history.Subscriber
	on    bool
	epoch int
	next  int
}

const (
	syncChannel   = "sync:a"
	memoryChannel = "memory:a"
)

// good returns a history in which every promise was kept.
func good(seed uint64) *history.History {
	h := &history.History{Rules: []history.Rule{
		{Channel: syncChannel, Durability: channel.DurabilitySync, Size: 1000, Exact: true},
		{Channel: memoryChannel, Durability: channel.DurabilityMemory, Size: 1000},
	}}
	for i, rule := range h.Rules {
		s := &server{Rand: rand.New(rand.NewPCG(seed, uint64(i))), h: h, rule: rule, epoch: 1}
		for c := range 3 {
			sub := &history.Subscriber{Client: fmt.Sprintf("client%d", c), Door: "websocket", Channel: rule.Channel}
			h.Subscribers = append(h.Subscribers, sub)
			s.clients = append(s.clients, &listener{Subscriber: sub})
		}
		s.run(300)
	}
	return h
}

func (s *server) run(steps int) {
	for _, c := range s.clients {
		s.join(c)
	}
	for n := range steps {
		s.now += time.Millisecond
		switch k := s.IntN(10); {
		case n == steps/2 && s.rule.Durability == channel.DurabilityMemory:
			s.restart()
		case k < 5:
			s.publish()
		case k < 8:
			s.deliver(s.clients[s.IntN(len(s.clients))])
		case k < 9:
			if c := s.clients[s.IntN(len(s.clients))]; c.on {
				s.leave(c)
			} else {
				s.join(c)
			}
		default:
			s.h.Readings = append(s.h.Readings, history.Reading{
				Node: "a", Channel: s.rule.Channel, Call: s.now, Return: s.now + 100*time.Microsecond, Position: s.top(),
			})
		}
	}
	s.end()
}

func (s *server) top() history.Position {
	return history.Position{Epoch: fmt.Sprintf("e%d", s.epoch), Offset: s.offset}
}

func (s *server) publish() {
	s.tries++
	p := history.Publish{
		Publisher: "p", Node: "a", Channel: s.rule.Channel, ID: fmt.Sprintf("m%d", s.tries),
		Call: s.now - upTo(s.Rand, time.Millisecond), Return: s.now + upTo(s.Rand, 3*time.Millisecond),
	}
	if len(s.lost) > 0 && s.IntN(2) == 0 {
		// A retry is told what the first try became.
		p.ID, p.Position, p.Outcome = s.lost[0].ID, s.lost[0].Position, history.Acked
		s.lost = s.lost[1:]
		s.h.Publishes = append(s.h.Publishes, p)
		return
	}
	switch s.IntN(10) {
	case 0:
		p.Outcome, p.Error = history.Refused, "engine unavailable"
	case 1:
		p.Outcome = history.Unknown
	case 2:
		p.Outcome, p.Return = history.Unknown, s.now
		done := p
		done.Position = s.add(p.ID)
		s.lost = append(s.lost, done)
	case 3:
		// A door that tells no position.
		p.Outcome = history.Acked
		s.add(p.ID)
	default:
		p.Outcome, p.Position = history.Acked, s.add(p.ID)
	}
	s.h.Publishes = append(s.h.Publishes, p)
}

// add adds to the log. Offsets need not be dense.
func (s *server) add(id string) history.Position {
	s.offset += 1 + uint64(s.IntN(2))
	s.log = append(s.log, history.Kept{Offset: s.offset, ID: id})
	return s.top()
}

func (s *server) leave(c *listener) {
	c.on = false
	c.Steps = append(c.Steps, history.Step{At: s.now, Kind: history.Interrupted, Reason: "transport closed"})
}

func (s *server) join(c *listener) {
	step := history.Step{At: s.now, Kind: history.Subscribed, Position: s.top(), Recovering: c.epoch != 0}
	c.on = true
	if c.epoch == s.epoch {
		step.Recovered = true
		// It may be given again what it has.
		c.next = max(0, c.next-s.IntN(2))
	} else {
		c.epoch, c.next = s.epoch, len(s.log)
	}
	c.Steps = append(c.Steps, step)
}

func (s *server) deliver(c *listener) {
	for c.on && c.next < len(s.log) {
		k := s.log[c.next]
		c.next++
		c.Steps = append(c.Steps, history.Step{
			At: s.now, Kind: history.Publication, ID: k.ID,
			Position: history.Position{Epoch: s.top().Epoch, Offset: k.Offset},
		})
	}
}

// restart loses everything, and says so.
func (s *server) restart() {
	s.now += 5 * time.Millisecond
	s.h.Faults = append(s.h.Faults, history.Fault{Name: "restart", Node: "a", From: s.now, To: s.now, Loses: history.LosesMemory})
	for _, c := range s.clients {
		s.leave(c)
	}
	s.epoch, s.log, s.lost, s.offset = s.epoch+1, nil, nil, 0
}

func (s *server) end() {
	s.now += time.Second
	s.add("last")
	s.h.Publishes = append(s.h.Publishes, history.Publish{
		Publisher: "p", Node: "a", Channel: s.rule.Channel, ID: "last", Call: s.now, Return: s.now, Outcome: history.Acked, Position: s.top(),
	})
	for _, c := range s.clients {
		if !c.on {
			s.join(c)
		}
		s.deliver(c)
		c.Settled = true
	}
	s.h.Readings = append(s.h.Readings, history.Reading{
		Node: "a", Channel: s.rule.Channel, Call: s.now, Return: s.now, Position: s.top(), Final: true, Kept: s.log,
	})
}

// upTo returns a random duration below most.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}
