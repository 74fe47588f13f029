package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

const (
	// inboxCount and inboxBytes are how much of one topic waits for its
	// listeners. What comes then is dropped.
	inboxCount = 4096
	inboxBytes = 16 << 20
	// outboxCount and outboxBytes are how much waits to be sent. Broadcasts and
	// requests are then refused.
	outboxCount = 8192
	outboxBytes = 32 << 20
	// pendingFrames is how many frames wait to be taken apart, and pendingBeats
	// how many signs of life, which no flood of messages may drown.
	pendingFrames = 2048
	pendingBeats  = 2048
	// maxAnswers is how many requests are answered at a time.
	maxAnswers = 256
	// maxCalls is how many requests of this node may be unanswered.
	maxCalls = 4096
	// patienceRoom is how much later than who waits an answer is given up.
	patienceRoom = 2 * time.Second
	// claimTime is how long Start waits for another node of the same id.
	claimTime = 600 * time.Millisecond
	// goodbyeTime is how long Close waits for its goodbye to be on its way.
	goodbyeTime = time.Second
)

type (
	hearer   = func(from channel.Node, b []byte)
	answerer = func(ctx context.Context, from channel.Node, b []byte) ([]byte, error)
)

// Bus is the [channel.Bus] over a Network.
type Bus struct {
	n       *Network
	self    channel.Node
	log     *slog.Logger
	metrics *observe.Metrics
	// Subjects of all nodes, for messages and for signs of life.
	all, beats string

	inbox  *queue[arrival]
	outbox *queue[letter]
	places chan struct{} // one for each request that is answered

	ctx     context.Context // ends with the bus
	cancel  context.CancelFunc
	loops   sync.WaitGroup
	serving sync.WaitGroup
	stop    sync.Once

	mu struct {
		sync.Mutex
		state    busState
		err      error // why the bus gave up
		roster   *roster
		watchers []func(channel.PeerEvent)
		hearers  map[string][]hearer
		answers  map[string]answerer
		calls    map[uint64]chan *frame
		lastCall uint64
		// served are the requests that are answered now.
		served map[servedKey]context.CancelFunc
		// complained is when each node of another version was last logged.
		complained map[string]time.Time
	}
}

type busState int

const (
	busNew busState = iota
	busClaiming
	busRunning
	busOver
)

type servedKey struct {
	id                  string
	incarnation, number uint64
}

// arrival is what waits for listeners: an event, a broadcast or a request.
type arrival struct {
	event *channel.PeerEvent
	from  *peer
	frame *frame
	ctx   context.Context // of a request
}

// letter is a frame on its way out.
type letter struct {
	subject string
	b       []byte
}

// Bus returns the bus of this node, always the same one.
func (n *Network) Bus() *Bus {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.bus == nil {
		n.mu.bus = newBus(n)
	}
	return n.mu.bus
}

func newBus(n *Network) *Bus {
	o := &n.options
	b := &Bus{
		n: n, log: o.Logger.With(observe.KeyComponent, "bus"), metrics: o.Metrics,
		self: channel.Node{
			ID: o.Node, Incarnation: uint64(time.Now().UnixNano()),
			Addr: o.Addr, Version: o.Version,
		},
		all:    o.Prefix + ".bus.all",
		beats:  o.Prefix + ".bus.beat",
		inbox:  newQueue[arrival](inboxCount, inboxBytes),
		outbox: newQueue[letter](outboxCount, outboxBytes),
		places: make(chan struct{}, maxAnswers),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.mu.hearers = make(map[string][]hearer)
	b.mu.answers = make(map[string]answerer)
	b.mu.calls = make(map[uint64]chan *frame)
	b.mu.served = make(map[servedKey]context.CancelFunc)
	b.mu.complained = make(map[string]time.Time)
	return b
}

// subject returns where one node is spoken to, and beat where it is told that
// another one is alive.
func (b *Bus) subject(id string) string { return b.n.options.Prefix + ".bus.node." + word(id) }

func (b *Bus) beat(id string) string { return b.beats + "." + word(id) }

// word makes one word of a subject out of an id.
func word(id string) string { return strings.ReplaceAll(id, ".", "~") }

// Self returns this node.
func (b *Bus) Self() channel.Node { return b.self }

// Peers returns the other nodes believed alive, by id.
func (b *Bus) Peers() []channel.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.roster == nil {
		return nil
	}
	return b.mu.roster.nodes()
}

// Watch has fn called for every peer that comes and goes.
func (b *Bus) Watch(fn func(channel.PeerEvent)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.watchers = append(b.mu.watchers, fn)
}

// Hear has fn called with the broadcasts of others on a topic, whose name has
// 1 to 64 bytes.
func (b *Bus) Hear(topic string, fn func(from channel.Node, b []byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.hearers[topic] = append(b.mu.hearers[topic], fn)
}

// Answer has fn called with requests of others on a topic. There is one answer:
// the last fn counts.
func (b *Bus) Answer(topic string, fn func(ctx context.Context, from channel.Node, b []byte) ([]byte, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.answers[topic] = fn
}

// Err returns why the bus takes no part any more although nobody closed it:
// a newer process of the same name has taken its place.
func (b *Bus) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.err
}

// Start takes part, once. It takes a moment, in which a live process of the
// same name would object: then the error is [channel.ErrConflict].
func (b *Bus) Start(ctx context.Context) error {
	b.mu.Lock()
	if b.mu.state != busNew {
		b.mu.Unlock()
		return channel.ErrConflict.With("the bus was started already, or closed")
	}
	b.mu.state = busClaiming
	b.mu.roster = newRoster(time.Now(), MaxPeers)
	b.mu.Unlock()
	frames, beats := make(chan *nats.Msg, pendingFrames), make(chan *nats.Msg, pendingBeats)
	conn, err := b.listen(ctx, map[string]chan *nats.Msg{
		b.all: frames, b.subject(b.self.ID): frames, b.beats: beats, b.beat(b.self.ID): beats,
	})
	if err != nil {
		return b.fail(err)
	}
	claimed := make(chan struct{})
	b.loops.Go(func() { b.read(frames, beats, claimed) })
	b.loops.Go(func() { b.write(conn) })
	b.loops.Go(b.dispatch)
	select {
	case <-claimed:
		return nil
	case <-b.ctx.Done():
		return b.fail(b.Err())
	case <-ctx.Done():
		return b.fail(channel.ErrUnavailable.With("the start of the bus was given up").Wrap(ctx.Err()))
	}
}

// listen connects the bus.
func (b *Bus) listen(ctx context.Context, subjects map[string]chan *nats.Msg) (*nats.Conn, error) {
	conn, err := b.n.Connect(ctx, b.self.ID+" bus", nats.NoEcho())
	if err != nil {
		return nil, err
	}
	if most := conn.MaxPayload(); most < channel.MaxBusMessage+frameRoom {
		err = fmt.Errorf("the NATS servers take messages of %d bytes; the bus needs %d: set max_payload there", most, channel.MaxBusMessage+frameRoom)
	}
	for subject, frames := range subjects {
		if err == nil {
			_, err = conn.ChanSubscribe(subject, frames)
		}
	}
	if err == nil {
		err = conn.FlushTimeout(connectTimeout)
	}
	if err != nil {
		conn.Close()
		b.n.forget(conn)
		return nil, channel.ErrUnavailable.With("the bus cannot listen").Wrap(err)
	}
	return conn, nil
}

// fail ends a start.
func (b *Bus) fail(err error) error {
	b.shut(nil)
	if err == nil {
		err = channel.ErrUnavailable.With("the bus was closed while it started")
	}
	return err
}

// Close says goodbye and ends. When it returns no listener is called any more,
// unless the error says that one still is.
func (b *Bus) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.shut(&frame{kind: frameBye})
		b.loops.Wait()
		b.serving.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return channel.ErrUnavailable.With("a listener of the bus does not return").Wrap(ctx.Err())
	}
}

// shut ends the bus with a last word.
func (b *Bus) shut(last *frame) {
	b.stop.Do(func() {
		b.mu.Lock()
		running := b.mu.state == busRunning
		b.mu.state = busOver
		b.mu.Unlock()
		if running && last != nil {
			b.send(b.all, last)
		}
		b.cancel()
	})
}

// yield ends the bus because another process of the same name is there. The
// peers are announced as gone: nothing of them is heard any more.
func (b *Bus) yield(err error) {
	b.mu.Lock()
	if b.mu.state == busOver {
		b.mu.Unlock()
		return
	}
	if b.mu.state == busRunning {
		b.announceLocked(b.mu.roster.clear())
	}
	b.mu.state = busOver
	b.mu.err = err
	b.mu.Unlock()
	b.log.Error("this node is not on the bus any more", observe.KeyErr, err)
	b.cancel()
}

// send queues a frame of this node.
func (b *Bus) send(subject string, f *frame) bool {
	f.incarnation, f.id = b.self.Incarnation, b.self.ID
	data := f.appendTo(make([]byte, 0, len(f.payload)+len(f.id)+len(f.topic)+len(f.addr)+len(f.version)+48))
	class := "control"
	switch f.kind {
	case frameBroadcast, frameRequest, frameReply, frameFailure:
		// These may be many, and must not keep a node from saying that it lives.
		class = "message"
	default:
	}
	if b.outbox.add(letter{subject, data}, class, len(data)) {
		return true
	}
	b.metrics.Limit(observe.LimitBusOutbox).Add(1)
	return false
}

// write sends what is queued. When the bus ends it sends what is left, and
// sees that it is on its way.
func (b *Bus) write(conn *nats.Conn) {
	for {
		b.writeAll(conn)
		select {
		case <-b.outbox.more:
			continue
		case <-b.ctx.Done():
		}
		b.writeAll(conn)
		if conn.IsConnected() {
			// Nobody can be told where it fails: the others will notice.
			_ = conn.FlushTimeout(goodbyeTime)
		}
		conn.Close()
		b.n.forget(conn)
		return
	}
}

func (b *Bus) writeAll(conn *nats.Conn) {
	for _, item := range b.outbox.take() {
		err := conn.Publish(item.item.subject, item.item.b)
		b.outbox.done(item)
		if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrConnectionClosed) {
			b.log.Debug("a message was not sent", observe.KeyErr, err)
		}
	}
}

// ready returns nil where something of so many bytes may be sent on a topic.
func (b *Bus) ready(topic string, bytes int) error {
	switch {
	case topic == "" || len(topic) > maxTopicBytes:
		return channel.ErrBadRequest.With(fmt.Sprintf("the topic has %d bytes; it needs 1 to %d", len(topic), maxTopicBytes))
	case bytes > channel.MaxBusMessage:
		return channel.ErrTooLarge.With(fmt.Sprintf("the message has %d bytes, at most %d are possible on the bus", bytes, channel.MaxBusMessage))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.err != nil:
		return b.mu.err
	case b.mu.state != busRunning:
		return channel.ErrUnavailable.With("the bus is not running")
	}
	return nil
}

// Broadcast sends to all peers and does not wait.
func (b *Bus) Broadcast(topic string, payload []byte) error {
	if err := b.ready(topic, len(payload)); err != nil {
		return err
	}
	if !b.send(b.all, &frame{kind: frameBroadcast, topic: topic, payload: payload}) {
		return channel.ErrUnavailable.With("too much waits to be sent to the other nodes")
	}
	return nil
}

// Request asks one node, by its id, and waits for the answer or for ctx.
func (b *Bus) Request(ctx context.Context, node, topic string, payload []byte) ([]byte, error) {
	if err := b.ready(topic, len(payload)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, channel.ErrUnavailable.With("the request was given up").Wrap(err)
	}
	f := &frame{kind: frameRequest, topic: topic, payload: payload}
	if deadline, ok := ctx.Deadline(); ok {
		// It is told when we give up. This is for when it cannot be.
		f.patience = uint32(min((time.Until(deadline) + patienceRoom).Milliseconds(), 1<<31))
	}
	p, reply, err := b.call(node, f)
	if err != nil {
		return nil, err
	}
	defer b.hangUp(f.number)
	if !b.send(b.subject(node), f) {
		return nil, channel.ErrUnavailable.With("too much waits to be sent to the other nodes")
	}
	select {
	case r := <-reply:
		if r.failure != nil {
			return nil, r.failure
		}
		return slices.Clip(r.payload), nil
	case <-p.gone:
		return nil, channel.ErrUnavailable.With(fmt.Sprintf("node %q went before it answered", node))
	case <-b.ctx.Done():
		return nil, channel.ErrUnavailable.With("the bus was closed")
	case <-ctx.Done():
		b.send(b.subject(node), &frame{kind: frameCancel, target: p.node.Incarnation, number: f.number})
		return nil, channel.ErrUnavailable.With(fmt.Sprintf("node %q did not answer in time", node)).Wrap(ctx.Err())
	}
}

// call notes that an answer is waited for.
func (b *Bus) call(node string, f *frame) (*peer, chan *frame, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.mu.roster.peers[node]
	switch {
	case p == nil:
		return nil, nil, channel.ErrUnavailable.With(fmt.Sprintf("node %q is not there", node))
	case len(b.mu.calls) >= maxCalls:
		b.metrics.Limit(observe.LimitBusRequests).Add(1)
		return nil, nil, channel.ErrTooManyRequests.With(fmt.Sprintf("%d requests to other nodes wait for an answer already", maxCalls))
	}
	b.mu.lastCall++
	f.number, f.target = b.mu.lastCall, p.node.Incarnation
	reply := make(chan *frame, 1)
	b.mu.calls[f.number] = reply
	return p, reply, nil
}

func (b *Bus) hangUp(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.calls, number)
}

var _ channel.Bus = (*Bus)(nil)
