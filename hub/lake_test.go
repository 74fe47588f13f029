package hub_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"myelin/channel"
)

// lake is an engine that several nodes share, as a cluster of servers would be:
// one log of all channels, whose offsets are sparse in each of them, and for
// each node a feed of its own that is late by a time of its own. Everything is
// kept.
type lake struct {
	// late is the longest that a feed, a publish or a read takes.
	late time.Duration
	// lose is one in how many deliveries is lost; the node is told at once or
	// never, as it comes. 0 loses none.
	lose int

	mu struct {
		sync.Mutex
		random *rand.Rand
		top    uint64
		logs   map[string][]*channel.Publication
		ports  map[*port]bool
		lost   int
		// cleared is up to where what was kept of a channel was removed.
		cleared map[string]uint64
	}
}

// lakeFloor is the sequence that was used up before the test: the position of
// a channel without publications.
const lakeFloor = 5000

const lakeEpoch = "lake"

func newLake(seed uint64, late time.Duration, lose int) *lake {
	l := &lake{late: late, lose: lose}
	l.mu.random = rand.New(rand.NewPCG(seed, 1))
	l.mu.top = lakeFloor
	l.mu.logs = make(map[string][]*channel.Publication)
	l.mu.ports = make(map[*port]bool)
	l.mu.cleared = make(map[string]uint64)
	return l
}

// pause takes some time.
func (l *lake) pause() {
	l.mu.Lock()
	d := time.Duration(l.mu.random.Int64N(int64(l.late)))
	l.mu.Unlock()
	<-time.After(d)
}

func (l *lake) log(name string) []*channel.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.logs[name]
}

func (l *lake) topLocked(name string) channel.Position {
	log := l.mu.logs[name]
	if len(log) == 0 {
		return channel.Position{Epoch: lakeEpoch, Offset: lakeFloor}
	}
	return log[len(log)-1].Position
}

// port is what one node has of a lake.
type port struct {
	*lake
	sink  channel.Sink
	lanes [4]chan delayed
	over  chan struct{}
	feeds sync.WaitGroup
	// topics is under the lake's lock.
	topics map[string]bool
}

// delayed is a publication on its way, or word that something was lost.
type delayed struct {
	p    *channel.Publication
	lost string
	due  time.Time
}

func (l *lake) port() *port {
	return &port{lake: l, over: make(chan struct{}), topics: make(map[string]bool)}
}

// Start is channel.Engine's, as what follows is.
func (p *port) Start(_ context.Context, s channel.Sink) error {
	p.sink = s
	for i := range p.lanes {
		p.lanes[i] = make(chan delayed, 4096)
		p.feeds.Go(func() { p.feed(p.lanes[i]) })
	}
	p.lake.mu.Lock()
	defer p.lake.mu.Unlock()
	p.lake.mu.ports[p] = true
	return nil
}

// feed delivers what has been under way for long enough.
func (p *port) feed(lane chan delayed) {
	for {
		select {
		case d := <-lane:
			select {
			case <-time.After(time.Until(d.due)):
			case <-p.over:
				return
			}
			if d.p == nil {
				p.sink.Lost(d.lost)
			} else {
				p.sink.Deliver(d.p)
			}
		case <-p.over:
			return
		}
	}
}

func (p *port) closed() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// sendLocked puts a publication on its way to a node that listens.
func (p *port) sendLocked(pub *channel.Publication) {
	if !p.topics[pub.Channel] {
		return
	}
	h := 0
	for _, c := range pub.Channel {
		h += int(c)
	}
	random := p.lake.mu.random
	d := delayed{p: pub, due: time.Now().Add(time.Duration(random.Int64N(int64(p.late))))}
	if p.lose > 0 && random.IntN(p.lose) == 0 {
		p.lake.mu.lost++
		d.p, d.lost = nil, pub.Channel
		if random.IntN(2) == 0 {
			return // nobody notices until the next one comes
		}
	}
	p.lanes[h%len(p.lanes)] <- d
}

// Publish orders at once and takes its time before and after.
func (p *port) Publish(_ context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	p.pause()
	if p.closed() {
		return channel.Ack{}, channel.ErrUnavailable
	}
	l := p.lake
	l.mu.Lock()
	pub := &channel.Publication{Channel: r.Channel, Op: r.Op, Key: r.Key, Data: r.Data, Info: r.Info, Time: time.Now().UnixMilli()}
	l.mu.top += 1 + l.mu.random.Uint64N(3)
	pub.Position = channel.Position{Epoch: lakeEpoch, Offset: l.mu.top}
	if log := l.mu.logs[r.Channel]; len(log) > 0 {
		pub.Prev = log[len(log)-1].Offset
	} else {
		pub.Prev = lakeFloor
	}
	l.mu.logs[r.Channel] = append(l.mu.logs[r.Channel], pub)
	for to := range l.mu.ports {
		to.sendLocked(pub)
	}
	l.mu.Unlock()
	p.pause()
	return channel.Ack{Position: pub.Position}, nil
}

// Subscribe begins a feed.
func (p *port) Subscribe(_ context.Context, name string, _ *channel.Policy) (channel.Position, error) {
	p.pause()
	p.lake.mu.Lock()
	p.topics[name] = true
	top := p.topLocked(name)
	p.lake.mu.Unlock()
	p.pause() // the feed may be faster than the answer
	return top, nil
}

// Unsubscribe ends a feed; what is under way arrives.
func (p *port) Unsubscribe(name string) {
	p.lake.mu.Lock()
	defer p.lake.mu.Unlock()
	delete(p.topics, name)
}

// Watch has nothing to watch.
func (p *port) Watch(context.Context, *channel.Policy, channel.Watcher) error {
	return channel.ErrUnsupported
}

// Unwatch has nothing to end.
func (p *port) Unwatch(*channel.Policy) {}

// Read answers with what there is at a moment between question and answer.
func (p *port) Read(_ context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	p.pause()
	defer p.pause()
	if p.closed() {
		return channel.ReadResult{}, channel.ErrUnavailable
	}
	p.lake.mu.Lock()
	defer p.lake.mu.Unlock()
	res := channel.ReadResult{Top: p.topLocked(r.Channel)}
	if r.Since.Epoch != "" && r.Since.Epoch != lakeEpoch {
		return res, nil
	}
	floor := max(lakeFloor, p.lake.mu.cleared[r.Channel])
	res.Complete = r.Since.IsZero() || (r.Since.Offset >= floor && r.Since.Offset <= res.Top.Offset)
	for _, pub := range p.lake.mu.logs[r.Channel] {
		if pub.Offset > max(r.Since.Offset, floor) && (r.Limit < 0 || len(res.Pubs) < r.Limit) {
			res.Pubs = append(res.Pubs, pub)
		}
	}
	return res, nil
}

// Snapshot answers with all entries at once.
func (p *port) Snapshot(_ context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	p.pause()
	defer p.pause()
	if p.closed() {
		return channel.StatePage{}, channel.ErrUnavailable
	}
	p.lake.mu.Lock()
	defer p.lake.mu.Unlock()
	page := channel.StatePage{At: p.topLocked(r.Channel)}
	log := p.lake.mu.logs[r.Channel]
	for i, pub := range log {
		later := slices.ContainsFunc(log[i+1:], func(o *channel.Publication) bool { return o.Key == pub.Key })
		if pub.Op == channel.OpPut && !later {
			page.Items = append(page.Items, pub)
		}
	}
	return page, nil
}

// Remove forgets what there is, and has the other nodes forget it.
func (p *port) Remove(_ context.Context, name string, _ *channel.Policy) error {
	p.lake.mu.Lock()
	p.lake.mu.cleared[name] = p.topLocked(name).Offset
	var others []*port
	for o := range p.lake.mu.ports {
		if o != p {
			others = append(others, o)
		}
	}
	p.lake.mu.Unlock()
	for _, o := range others {
		o.sink.Cleared(name)
	}
	return nil
}

// Caps says that others see the same channels.
func (p *port) Caps() channel.Caps { return channel.Caps{MultiNode: true} }

// Close ends the feed of this node.
func (p *port) Close(context.Context) error {
	p.lake.mu.Lock()
	delete(p.lake.mu.ports, p)
	p.lake.mu.Unlock()
	close(p.over)
	p.feeds.Wait()
	return nil
}

var _ channel.Engine = (*port)(nil)
