package jetstream

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

const (
	// lanes is how many goroutines deliver. A channel keeps to one.
	lanes = 4
	// laneRoom is how many messages may wait for one of them. NATS drops what
	// does not fit, and the channels concerned are lost.
	laneRoom = 1 << 15
	// maxEarly is how many messages a channel may get while it is being opened.
	maxEarly = 4096
)

// feeds are the subscribed channels, by their names and by their subjects.
type feeds struct {
	engine *Engine
	seed   maphash.Seed
	lanes  [lanes]chan *nats.Msg
	stop   chan struct{}
	work   sync.WaitGroup
	mu     struct {
		sync.RWMutex
		byName    map[string]*feed
		bySubject map[string]*feed
	}
}

func newFeeds(e *Engine) *feeds {
	t := &feeds{engine: e, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	for i := range t.lanes {
		t.lanes[i] = make(chan *nats.Msg, e.options.laneRoom)
	}
	t.mu.byName = make(map[string]*feed)
	t.mu.bySubject = make(map[string]*feed)
	return t
}

func (t *feeds) start() {
	for _, lane := range t.lanes {
		t.work.Go(func() { t.run(lane) })
	}
}

// run delivers what comes on one lane.
func (t *feeds) run(lane <-chan *nats.Msg) {
	for {
		select {
		case m := <-lane:
			t.mu.RLock()
			f := t.mu.bySubject[m.Sub.Subject]
			t.mu.RUnlock()
			if f != nil {
				f.take(m)
			}
		case <-t.stop:
			return
		}
	}
}

// close ends all feeds. Nothing is delivered after it returns.
func (t *feeds) close() {
	close(t.stop)
	t.work.Wait()
	t.mu.Lock()
	all := t.mu.byName
	t.mu.byName, t.mu.bySubject = nil, nil
	t.mu.Unlock()
	for _, f := range all {
		f.close()
	}
}

// get returns the feed of a channel, nil where it is not subscribed.
func (t *feeds) get(name string) *feed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.byName[name]
}

// all returns all feeds.
func (t *feeds) all() []*feed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.mu.byName))
}

// add returns the feed of a channel, and whether it is a new one.
func (t *feeds) add(name, subject string, s *stream) (*feed, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.mu.byName[name]; f != nil {
		return f, false, nil
	}
	if most := t.engine.options.MaxSubscribed; len(t.mu.byName) >= most {
		t.engine.options.Metrics.Limit(observe.LimitSubscribed).Inc()
		return nil, false, channel.ErrLimitExceeded.With(fmt.Sprintf("at most %d channels may be subscribed on one node", most))
	}
	f := &feed{engine: t.engine, name: name, subject: subject, stream: s, ready: make(chan struct{})}
	t.mu.byName[name] = f
	t.mu.bySubject[subject] = f
	return f, true, nil
}

// remove ends a feed.
func (t *feeds) remove(f *feed) {
	t.mu.Lock()
	if t.mu.byName[f.name] == f {
		delete(t.mu.byName, f.name)
		delete(t.mu.bySubject, f.subject)
	}
	t.mu.Unlock()
	f.close()
}

// Subscribe begins delivery of a channel and returns its top.
func (e *Engine) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if err := e.enter(ctx, name, p); err != nil {
		return channel.Position{}, err
	}
	defer e.calls.end()
	if fleeting(p) {
		return e.breeze.subscribe(ctx, name, p)
	}
	s, err := e.streams.of(ctx, p, false)
	if err != nil {
		return channel.Position{}, err
	}
	for {
		f, fresh, err := e.feeds.add(name, s.feedSubject(name), s)
		switch {
		case err != nil:
			return channel.Position{}, err
		case fresh:
			return f.open(ctx)
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			return channel.Position{}, channel.ErrUnavailable.Wrap(ctx.Err())
		}
		if f.isOpen() {
			h, err := f.where(ctx)
			return channel.Position{Epoch: h.epoch, Offset: h.last}, err
		}
		// Whoever opened it could not, and has taken it away.
	}
}

// Unsubscribe ends delivery of a channel.
func (e *Engine) Unsubscribe(name string) {
	if e.calls.begin() != nil {
		return
	}
	defer e.calls.end()
	if f := e.feeds.get(name); f != nil {
		e.feeds.remove(f)
	}
}

// feed is what comes of one subscribed channel.
type feed struct {
	engine        *Engine
	name, subject string
	// stream is nil for a channel that nothing keeps.
	stream *stream
	// ready closes when it is open, or failed to.
	ready chan struct{}
	mu    struct {
		sync.Mutex
		sub    *nats.Subscription
		phase  phase
		early  []*nats.Msg
		missed bool
		epoch  string
		// chain is the sequence of the last message of the subject, and last
		// the offset of the last publication, which a marker does not move.
		chain, last uint64
		// at is when the stream got the last message, 0 where none was kept.
		at int64
		// sure is when it was last certain that last is the last.
		sure time.Time
	}
}

func (f *feed) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.phase == phaseRunning
}

// listen subscribes to the feed's subject.
func (f *feed) listen() error {
	t := f.engine.feeds
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.phase == phaseClosed {
		return nil
	}
	lane := t.lanes[maphash.String(t.seed, f.subject)%lanes]
	sub, err := f.engine.conn.ChanSubscribe(f.subject, lane)
	if err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	f.mu.sub = sub
	return nil
}

// where returns where the channel is, once what has ended in it has been
// published.
func (f *feed) where(ctx context.Context) (head, error) {
	if f.stream.key.kind == channel.KindState {
		return f.engine.books.settled(ctx, f.stream, f.name)
	}
	return f.stream.head(ctx, f.name)
}

// open begins to listen, and finds out where the channel is.
func (f *feed) open(ctx context.Context) (channel.Position, error) {
	defer close(f.ready)
	err := f.listen()
	if err == nil {
		err = f.stream.announce(ctx, f.name)
	}
	var h head
	if err == nil {
		h, err = f.where(ctx)
	}
	if err != nil {
		f.engine.feeds.remove(f)
		return channel.Position{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	top := channel.Position{Epoch: h.epoch, Offset: h.last}
	if f.mu.phase == phaseClosed {
		return top, nil
	}
	f.mu.phase = phaseRunning
	f.mu.epoch, f.mu.chain, f.mu.last, f.mu.at = h.epoch, h.sequence, h.last, h.at
	f.mu.sure = time.Now()
	early := f.mu.early
	f.mu.early = nil
	for _, m := range early {
		f.advanceLocked(m)
	}
	if f.mu.missed {
		f.engine.sink.Lost(f.name)
	}
	return top, nil
}

// close ends the feed. Nothing is delivered after it returns.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.phase = phaseClosed
	f.mu.early = nil
	if f.mu.sub != nil {
		// It fails only where the connection is gone, and the subscription with it.
		_ = f.mu.sub.Unsubscribe()
	}
}

// take takes one message from the lane.
func (f *feed) take(m *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.mu.phase == phaseClosed:
	case f.mu.phase == phaseRunning && f.stream == nil:
		f.engine.breeze.deliverLocked(f, m)
	case f.mu.phase == phaseRunning:
		f.advanceLocked(m)
	case len(f.mu.early) < maxEarly:
		f.mu.early = append(f.mu.early, m)
	default:
		f.mu.missed = true
	}
}

// advanceLocked takes the next message of the subject. Where one is missing
// before it, Prev says so.
func (f *feed) advanceLocked(m *nats.Msg) {
	msg, err := readMessage(m)
	if msg.sequence == 0 || msg.sequence <= f.mu.chain {
		return
	}
	whole := f.wholeLocked(&msg)
	f.mu.chain, f.mu.at, f.mu.sure = msg.sequence, msg.at, time.Now()
	f.stream.reached(f.mu.epoch, msg.sequence)
	if err != nil {
		// What cannot be read is a hole that the next one's Prev points into.
		f.mu.last = msg.sequence
		f.stream.unreadable(msg.sequence, err)
		f.engine.sink.Lost(f.name)
		return
	}
	if msg.kind != kindPublication {
		if !whole {
			f.engine.sink.Lost(f.name)
		}
		if msg.kind == kindCleared {
			f.engine.sink.Cleared(f.name)
		}
		f.mu.last = msg.last
		return
	}
	prev := f.mu.last
	switch {
	case f.stream.key.kind == channel.KindState:
		// Who wrote it has proven what was before it.
		prev = msg.prev
		f.engine.books.dues.add(bookKey{f.stream, f.name}, msg.due)
	case whole:
	case msg.previous == 0:
		f.engine.sink.Lost(f.name)
	default:
		prev = msg.previous
	}
	f.mu.last = msg.sequence
	f.engine.sink.Deliver(msg.publication(f.name, f.mu.epoch, prev))
}

// wholeLocked reports whether nothing is missing between the message before and
// this one.
func (f *feed) wholeLocked(m *message) bool {
	if f.stream.key.kind == channel.KindState {
		return m.kind == kindPublication || m.last == f.mu.last
	}
	if m.previous != 0 {
		return m.previous == f.mu.chain
	}
	// What was before is not kept any more: nothing is missing only if nothing
	// can have come and gone since it was last certain.
	age := f.stream.age()
	return age == 0 || time.Since(f.mu.sure) < age-skew
}

// position returns the offset of the last publication of a channel of which
// nothing is kept any more, where that is certain.
func (f *feed) position(epoch string) (last uint64, certain bool) {
	age := f.stream.age()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.phase != phaseRunning || f.mu.epoch != epoch || age > 0 && time.Since(f.mu.sure) > age-skew {
		return 0, false
	}
	f.mu.sure = time.Now()
	return f.mu.last, true
}

// complainEvery is how often an operator hears of messages that cannot be read.
const complainEvery = time.Minute

// unreadable counts a message that cannot be read, and tells now and then.
func (s *stream) unreadable(sequence uint64, err error) {
	o := &s.engine.options
	o.Metrics.Limit(observe.LimitForeign).Inc()
	now := time.Now().Unix()
	if last := s.complained.Load(); now-last >= int64(complainEvery/time.Second) && s.complained.CompareAndSwap(last, now) {
		o.Logger.Error("a message in a stream cannot be read", observe.KeyNamespace, s.key.namespace, observe.KeyOffset, sequence, observe.KeyErr, err)
	}
}
