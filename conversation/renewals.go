package conversation

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"myelin/hub"
)

const (
	// maxRenewing is how many renewals are asked for at a time.
	maxRenewing = 64
	// renewAhead is the longest time before its end that something is renewed;
	// what lasts for less is renewed after nine tenths of it.
	renewAhead = 10 * time.Second
)

// renewal is what one session has to renew. It is the queue's, but for host and
// session, which do not change.
type renewal struct {
	host    *Host
	session *hub.Session
	// at is the earliest of ends, which are by channel; "" is the connection.
	at   time.Time
	ends map[string]time.Time
	// place is one more than where it is in the queue, 0 for nowhere. over: it
	// has been forgotten for good.
	place int
	over  bool
}

// renewals is when the backend is to be asked again, for all sessions that hooks
// let in: one goroutine, not a timer for each.
type renewals struct {
	wake  chan struct{}
	slots chan struct{}
	tasks sync.WaitGroup

	mu struct {
		sync.Mutex
		queue renewalQueue
	}
}

// begin has what is due renewed until the host's operations end. A zero queue
// does nothing, and nothing is ever put into it.
func (q *renewals) begin(h *Host) {
	q.wake, q.slots = make(chan struct{}, 1), make(chan struct{}, maxRenewing)
	q.tasks.Go(func() { q.run(h) })
}

// Wait returns when nothing that the host began goes on, once the context it was
// made with has ended and its conversations are closed.
func (h *Host) Wait() {
	h.renewals.tasks.Wait()
	h.asides.Wait()
}

// later notes when the connection (""), or the subscription to a channel, would
// end; 0 is never.
func (r *renewal) later(name string, expiresAt int64) {
	hooks := r.host.opts.Hooks
	if expiresAt == 0 || (name == "" && !hooks.Asks(hookRefresh)) || (name != "" && !hooks.Asks(hookSubRefresh)) {
		return
	}
	left := max(time.Until(time.Unix(expiresAt, 0)), 0)
	ahead := min(renewAhead, left/10)
	// Spread, or clients that came together are asked for together for ever.
	at := time.Now().Add(left - ahead - rand.N(ahead+1))
	q := &r.host.renewals
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.over {
		return
	}
	if r.ends == nil {
		r.ends = make(map[string]time.Time)
	}
	r.ends[name] = at
	q.placeLocked(r)
}

// placeLocked puts r where it belongs.
func (q *renewals) placeLocked(r *renewal) {
	r.at = time.Time{}
	for _, at := range r.ends {
		if r.at.IsZero() || at.Before(r.at) {
			r.at = at
		}
	}
	switch {
	case r.at.IsZero():
		if r.place > 0 {
			heap.Remove(&q.mu.queue, r.place-1)
		}
		return
	case r.place > 0:
		heap.Fix(&q.mu.queue, r.place-1)
	default:
		heap.Push(&q.mu.queue, r)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// forget takes it out of the queue: its session has ended.
func (r *renewal) forget() {
	if r.host.opts.Hooks == nil {
		return
	}
	q := &r.host.renewals
	q.mu.Lock()
	defer q.mu.Unlock()
	r.over, r.ends = true, nil
	if r.place > 0 {
		heap.Remove(&q.mu.queue, r.place-1)
	}
}

// run renews what is due.
func (q *renewals) run(h *Host) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r, name, pause := q.next(time.Now())
		if r != nil {
			select {
			case q.slots <- struct{}{}:
				q.tasks.Go(func() {
					defer func() { <-q.slots }()
					r.renew(name)
				})
				continue
			case <-h.ctx.Done():
				return
			}
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-q.wake:
		case <-h.ctx.Done():
			return
		}
	}
}

// next takes what is due out of the queue, or says how long there is nothing.
func (q *renewals) next(now time.Time) (*renewal, string, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.mu.queue) > 0 {
		r := q.mu.queue[0]
		if left := r.at.Sub(now); left > 0 {
			return nil, "", left
		}
		for name, at := range r.ends {
			if !at.After(now) {
				delete(r.ends, name)
				q.placeLocked(r)
				return r, name, 0
			}
		}
		q.placeLocked(r)
	}
	return nil, "", time.Hour
}

// renewalQueue is a heap by time.
type renewalQueue []*renewal

// Len is heap.Interface's, as the others are.
func (q renewalQueue) Len() int { return len(q) }

// Less orders by time.
func (q renewalQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

// Swap exchanges two.
func (q renewalQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i+1, j+1
}

// Push adds one at the end.
func (q *renewalQueue) Push(x any) {
	r, _ := x.(*renewal)
	*q = append(*q, r)
	r.place = len(*q)
}

// Pop takes the last one.
func (q *renewalQueue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	r.place = 0
	return r
}
