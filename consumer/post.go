package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// resync is how often a node says again who sits there: what was said may have
// been lost, or the consumer may have another owner.
const resync = 2 * time.Second

// seat is one subscription to the deliveries of a consumer, on any node.
type seat struct {
	node, incarnation string
	id                uint64
}

// post is the seats of one consumer on this node. Its goroutine says who sits
// there to whoever owns the consumer.
type post struct {
	m    *Manager
	full string
	wake chan struct{}
	// seats and numbers are under the manager's lock.
	seats   map[uint64]hub.Seat
	numbers map[hub.Seat]uint64
}

func (p *post) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Entered takes word of a new seat.
func (m *Manager) Entered(at hub.Seat) {
	full := at.Channel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return
	}
	p := m.mu.posts[full]
	if p == nil {
		p = &post{
			m: m, full: full, wake: make(chan struct{}, 1),
			seats: make(map[uint64]hub.Seat), numbers: make(map[hub.Seat]uint64),
		}
		m.mu.posts[full] = p
		m.running.Go(p.run)
	}
	if _, there := p.numbers[at]; there {
		return
	}
	m.mu.seats++
	p.seats[m.mu.seats], p.numbers[at] = at, m.mu.seats
	p.poke()
}

// Left takes word that a seat is empty.
func (m *Manager) Left(at hub.Seat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.posts[at.Channel()]
	if p == nil {
		return
	}
	if id, there := p.numbers[at]; there {
		delete(p.seats, id)
		delete(p.numbers, at)
		p.poke()
	}
}

// taken returns the numbers of the seats that are taken, and by whom.
func (p *post) taken() (seats []uint64, people []person) {
	p.m.mu.Lock()
	taken := maps.Clone(p.seats)
	p.m.mu.Unlock()
	seats = slices.Sorted(maps.Keys(taken)) // who came first
	for _, id := range seats {
		s := taken[id].Session()
		who := person{Client: s.ID()}
		if id := s.Identity(); id != nil {
			who.User = id.User
		}
		people = append(people, who)
	}
	return seats, people
}

// leave ends a post without seats. It reports whether it did.
func (p *post) leave() bool {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if len(p.seats) > 0 {
		return false
	}
	delete(p.m.mu.posts, p.full)
	return true
}

func (p *post) run() {
	timer := time.NewTimer(resync)
	defer timer.Stop()
	for {
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.m.ctx.Done():
			return
		}
		seats, people := p.taken()
		_, err := p.m.call(p.m.ctx, &request{Do: doSync, Full: p.full, From: p.m.self, Seats: seats, People: people})
		if errors.Is(err, channel.ErrUnknownChannel) {
			p.clear()
		}
		if len(seats) == 0 && p.leave() {
			return
		}
		timer.Reset(resync)
		if err != nil {
			timer.Reset(retryPause / 4)
		}
	}
}

// clear ends the subscriptions to a consumer that is no more.
func (p *post) clear() {
	p.m.mu.Lock()
	seats := make([]hub.Seat, 0, len(p.seats))
	for _, at := range p.seats {
		seats = append(seats, at)
	}
	p.m.mu.Unlock()
	for _, at := range seats {
		_, _ = p.m.hub.Unsubscribe(p.m.ctx, hub.Target{Client: at.Session().ID()}, p.full)
	}
}

// hand hands a publication to a seat of this node. It reports whether somebody
// sat there.
func (m *Manager) hand(full string, id uint64, pub *channel.Publication) bool {
	m.mu.Lock()
	p := m.mu.posts[full]
	var at hub.Seat
	there := false
	if p != nil {
		at, there = p.seats[id]
	}
	m.mu.Unlock()
	return there && at.Hand(pub)
}

// seatOf returns the seat of a session at a consumer, on this node.
func (m *Manager) seatOf(full, client string) (seat, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.mu.posts[full]; p != nil {
		for at, id := range p.numbers {
			if at.Session().ID() == client {
				return seat{m.self.Node, m.self.Incarnation, id}, true
			}
		}
	}
	return seat{}, false
}

// handed is one delivery on its way to another node.
type handed struct {
	Seat uint64               `json:"seat"`
	Pub  *channel.Publication `json:"pub"`
	// Fetch: the data would not fit, and the node reads it from the engine.
	Fetch bool `json:"fetch,omitempty"`
}

// handing is what goes to another node at once.
type handing struct {
	Full   string   `json:"full"`
	Source string   `json:"source"`
	Items  []handed `json:"items"`
}

// inline is how long data may be to go over the bus with its delivery, and
// batchBytes how much of it one message may hold: base64 makes more of it.
const (
	inline     = 96 << 10
	batchBytes = 192 << 10
)

// handOver hands deliveries to another node. The worker hears how it went.
func (m *Manager) handOver(ctx context.Context, w *worker, node string, items []handed) {
	m.running.Go(func() {
		var gone []uint64
		var err error
		for len(items) > 0 && err == nil {
			n, size := 0, 0
			for ; n < len(items); n++ {
				it := &items[n]
				if len(it.Pub.Data) > inline {
					it.Pub.Data, it.Fetch = nil, true
				}
				if size += len(it.Pub.Data); size > batchBytes && n > 0 {
					break
				}
			}
			var more []uint64
			more, err = m.handBatch(ctx, node, &handing{w.full, w.source, items[:n]})
			gone, items = append(gone, more...), items[n:]
		}
		_ = w.push(func(now time.Time) { w.handedOver(node, gone, err, now) })
	})
}

func (m *Manager) handBatch(ctx context.Context, node string, h *handing) (gone []uint64, err error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := m.bus.Request(ctx, node, topicHand, b)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &gone); err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	return gone, nil
}

// answerHand hands deliveries of another node's worker to the seats here, and
// answers which of them are empty.
func (m *Manager) answerHand(ctx context.Context, _ channel.Node, b []byte) ([]byte, error) {
	var h handing
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	gone := []uint64{}
	for i := range h.Items {
		it := &h.Items[i]
		if it.Pub == nil {
			continue
		}
		if it.Fetch && m.fetch(ctx, h.Source, it.Pub) != nil {
			gone = append(gone, it.Seat)
			continue
		}
		if !m.hand(h.Full, it.Seat, it.Pub) {
			gone = append(gone, it.Seat)
		}
	}
	return json.Marshal(gone)
}

// fetch reads the data of a delivery.
func (m *Manager) fetch(ctx context.Context, source string, p *channel.Publication) error {
	ns, err := m.hub.Namespace(source)
	if err != nil {
		return err
	}
	r, err := m.engine.Read(ctx, &channel.ReadRequest{
		Channel: source, Policy: ns.Policy, Limit: 1, Since: channel.Position{Epoch: p.Epoch, Offset: p.Offset - 1},
	})
	if err != nil {
		return err
	}
	if len(r.Pubs) == 0 || r.Pubs[0].Offset != p.Offset {
		return channel.ErrUnrecoverable
	}
	p.Data = r.Pubs[0].Data
	return nil
}
