package jetstream

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

// watches are the namespaces of which everything is delivered. Each has a
// subscription of its own, on all subjects of the namespace, and a goroutine.
type watches struct {
	engine *Engine
	work   sync.WaitGroup
	mu     struct {
		sync.Mutex
		byKey map[streamKey]*watch
	}
}

func newWatches(e *Engine) *watches {
	w := &watches{engine: e}
	w.mu.byKey = make(map[streamKey]*watch)
	return w
}

// watch is one of them.
type watch struct {
	engine *Engine
	// stream is nil for channels that nothing keeps.
	stream *stream
	// begin is what its subjects begin with.
	begin string
	to    channel.Watcher
	lane  chan *nats.Msg
	stop  chan struct{}
	done  chan struct{}
	sub   *nats.Subscription

	// What follows is the goroutine's own: of which epoch the last message was,
	// and where. A stream sends on in the order of its sequences.
	epoch string
	last  uint64
}

// Watch begins delivery of a namespace. What other nodes publish that nothing
// keeps may be missed until they know of it.
func (e *Engine) Watch(ctx context.Context, p *channel.Policy, to channel.Watcher) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if err := e.admit(p); err != nil {
		return err
	}
	if to == nil {
		return channel.ErrBadRequest.With("a namespace needs a watcher to be watched")
	}
	if err := e.calls.begin(); err != nil {
		return err
	}
	defer e.calls.end()
	w := &watch{
		engine: e, to: to, lane: make(chan *nats.Msg, e.options.laneRoom),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	var subject string
	if fleeting(p) {
		w.begin = e.breeze.under(p.Namespace)
		subject = w.begin + "*"
	} else {
		s, err := e.streams.of(ctx, p, false)
		if err != nil {
			return err
		}
		w.stream = s
		w.begin = s.under(s.live())
		subject = w.begin + "*" + s.anyKey()
	}
	if err := w.listen(subject); err != nil {
		return err
	}
	if err := w.heard(ctx, p); err != nil {
		_ = w.sub.Unsubscribe()
		return err
	}
	e.watches.put(keyOfWatch(p), w)
	return nil
}

func keyOfWatch(p *channel.Policy) streamKey {
	if fleeting(p) {
		return streamKey{namespace: p.Namespace}
	}
	return streamKey{namespace: p.Namespace, kind: p.Kind, durability: p.Durability}
}

func (w *watch) listen(subject string) error {
	sub, err := w.engine.conn.ChanSubscribe(subject, w.lane)
	if err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	w.sub = sub
	return nil
}

// heard returns when the servers know of the subscription.
func (w *watch) heard(ctx context.Context, p *channel.Policy) error {
	ctx, cancel := w.engine.within(ctx)
	defer cancel()
	if err := w.engine.conn.FlushWithContext(ctx); err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	if w.stream == nil {
		return nil
	}
	return w.stream.announce(ctx, p.Namespace+":")
}

// put begins the work of a watch, and ends that of the one before.
func (t *watches) put(key streamKey, w *watch) {
	t.mu.Lock()
	old := t.mu.byKey[key]
	t.mu.byKey[key] = w
	t.work.Go(w.run)
	t.mu.Unlock()
	old.end()
}

// Unwatch ends delivery of a namespace.
func (e *Engine) Unwatch(p *channel.Policy) {
	if p == nil || e.calls.begin() != nil {
		return
	}
	defer e.calls.end()
	t, key := e.watches, keyOfWatch(p)
	t.mu.Lock()
	old := t.mu.byKey[key]
	delete(t.mu.byKey, key)
	t.mu.Unlock()
	old.end()
}

func (w *watch) end() {
	if w == nil {
		return
	}
	// It fails only where the connection is gone, and the subscription with it.
	_ = w.sub.Unsubscribe()
	close(w.stop)
	<-w.done
}

// all returns the watches there are.
func (t *watches) all() []*watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*watch, 0, len(t.mu.byKey))
	for _, w := range t.mu.byKey {
		all = append(all, w)
	}
	return all
}

// close ends all. No call is in the engine any more.
func (t *watches) close() {
	for _, w := range t.all() {
		w.end()
	}
	t.work.Wait()
}

// gap tells all that something may be missing.
func (t *watches) gap() {
	for _, w := range t.all() {
		w.to.Gap()
	}
}

func (w *watch) run() {
	defer close(w.done)
	for {
		select {
		case m := <-w.lane:
			w.take(m)
		case <-w.stop:
			return
		}
	}
}

// channelOf returns the channel of a subject.
func (w *watch) channelOf(subject string) (string, bool) {
	rest, ok := strings.CutPrefix(subject, w.begin)
	if !ok {
		return "", false
	}
	first, _, _ := strings.Cut(rest, ".")
	return untoken(first)
}

// take delivers a message.
func (w *watch) take(m *nats.Msg) {
	name, ok := w.channelOf(m.Subject)
	if !ok {
		w.engine.options.Metrics.Limit(observe.LimitForeign).Inc()
		return
	}
	if w.stream == nil {
		w.pass(name, m)
		return
	}
	msg, err := readMessage(m)
	if epoch := w.stream.epoch(); epoch != w.epoch {
		w.epoch, w.last = epoch, 0
	}
	if msg.sequence <= w.last {
		return
	}
	w.last = msg.sequence
	switch {
	case err != nil:
		w.stream.unreadable(msg.sequence, err)
		w.to.Gap()
	case msg.kind == kindPublication:
		prev := msg.previous
		if w.stream.key.kind == channel.KindState {
			prev = msg.prev
			w.engine.books.dues.add(bookKey{w.stream, name}, msg.due)
		}
		w.to.Watched(msg.publication(name, w.epoch, prev))
	}
}

// pass delivers what nothing keeps, of this node and of others.
func (w *watch) pass(name string, m *nats.Msg) {
	fr, err := decode(m.Data)
	if err != nil || fr.kind != kindPublication {
		w.engine.options.Metrics.Limit(observe.LimitForeign).Inc()
		return
	}
	if fr.time == 0 {
		fr.time = time.Now().UnixMilli()
	}
	w.to.Watched(&channel.Publication{
		Channel: name, Position: w.engine.breeze.at(w.engine.breeze.next()),
		Data: fr.data, ContentType: fr.contentType, Tags: fr.tags, Info: fr.info, Time: fr.time, Expires: fr.expires,
	})
}
