package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"myelin/protocol"
)

// loop is the one goroutine that owns the connection, the subscriptions and
// every deadline. Everything else reaches it through channels.
type loop struct {
	c   *Client
	ctx context.Context // the lifetime of the client itself

	phase    phase
	due      time.Time // in phaseWaiting: when to connect
	attempts int       // failed or short connections in a row
	since    time.Time // when the current connection was established
	token    string

	link    *link         // from phaseConnecting on
	silent  time.Duration // how long the server may be silent, 0 for ever
	silence time.Time     // when silence becomes a lost connection
	pong    bool          // the server wants its pings answered
	refresh refresher

	own    map[uint32]ownCall // commands of the client's own, under way
	subs   map[string]*Subscription
	server map[string]*serverSub

	broken *Disconnected // set by fail: why the connection is lost
	end    *Disconnected // why the client ends

	wg      sync.WaitGroup
	dialed  chan dialed // capacity 1
	results chan func() // what other background work came to
	timer   *time.Timer
	alarm   time.Time // when timer fires, zero if it is not set
}

type phase uint8

const (
	phaseWaiting    phase = iota // until due
	phaseDialing                 // a goroutine gets a token and dials
	phaseConnecting              // the connect command is under way
	phaseConnected
)

// ownCall is a command that the client sends for itself.
type ownCall struct {
	deadline time.Time
	handle   func(*protocol.Reply, error)
}

func newLoop(c *Client) *loop {
	l := &loop{
		c: c, ctx: c.ctx, token: c.opts.Token,
		own:     make(map[uint32]ownCall),
		subs:    make(map[string]*Subscription),
		server:  make(map[string]*serverSub),
		dialed:  make(chan dialed, 1),
		results: make(chan func()),
		timer:   time.NewTimer(time.Hour),
	}
	l.timer.Stop()
	return l
}

// run lives until the client ends.
func (l *loop) run() {
	if l.ctx.Err() == nil {
		l.emitConnecting(CodeCalled, "connect called")
		l.reconcile()
	}
	for l.end == nil {
		l.step()
	}
	l.finish()
}

// step waits for one thing to happen and deals with it.
func (l *loop) step() {
	var frames chan []byte
	if l.link != nil {
		frames = l.link.frames
	}
	select {
	case <-l.ctx.Done():
		l.end = &Disconnected{CodeCalled, "close called"}
		return
	case <-l.c.wake:
		l.reconcile()
	case <-l.timer.C:
		l.alarm = time.Time{}
		l.tick()
	case d := <-l.dialed:
		l.onDialed(d)
	case f := <-l.results:
		f()
	case frame, ok := <-frames:
		if ok {
			l.onFrame(frame)
		} else {
			l.fail(disconnected(l.link.err))
		}
	}
	if l.broken != nil {
		l.lost()
	}
}

// finish ends everything that the loop has started and everything that waits
// for it.
func (l *loop) finish() {
	l.c.stop()
	l.dropLink(ws.StatusNormalClosure, true)
	l.wg.Wait()
	select {
	case d := <-l.dialed:
		if d.link != nil {
			d.link.close(ws.StatusNormalClosure, false)
		}
	default:
	}
	l.timer.Stop()
	l.c.mu.Lock()
	l.c.mu.end = l.end
	l.c.mu.Unlock()
	l.c.calls.end(l.end)
	if h, end := l.c.opts.OnDisconnected, *l.end; h != nil {
		l.c.events <- func() { h(end) }
	}
	close(l.c.events)
	close(l.c.ended)
}

// fail notes that the connection must end. The first reason counts.
func (l *loop) fail(why *Disconnected) {
	if l.broken == nil {
		l.broken = why
	}
}

// emit queues a callback. It waits while the queue is full; time spent so does
// not count against the server, whose frames nobody reads meanwhile.
func (l *loop) emit(f func()) {
	select {
	case l.c.events <- f:
		return
	default:
	}
	start := time.Now()
	select {
	case l.c.events <- f:
	case <-l.ctx.Done():
	}
	l.heard()
	waited := time.Since(start)
	for id, k := range l.own {
		k.deadline = k.deadline.Add(waited)
		l.own[id] = k
	}
}

func (l *loop) emitConnecting(code uint32, reason string) {
	if h := l.c.opts.OnConnecting; h != nil {
		l.emit(func() { h(code, reason) })
	}
}

func (l *loop) emitError(err error) {
	if h := l.c.opts.OnError; h != nil {
		l.emit(func() { h(err) })
	}
}

// background runs work in a goroutine and then, in the loop, what it returned.
func (l *loop) background(work func(context.Context) func()) {
	l.wg.Go(func() {
		f := work(l.ctx)
		select {
		case l.results <- f:
		case <-l.ctx.Done():
		}
	})
}

// heard notes that the server has shown signs of life.
func (l *loop) heard() {
	if l.silent > 0 {
		l.silence = time.Now().Add(l.silent)
	}
}

// at makes sure that tick runs at t or earlier.
func (l *loop) at(t time.Time) {
	if l.alarm.IsZero() || t.Before(l.alarm) {
		l.alarm = t
		l.timer.Reset(time.Until(t))
	}
}

// passed says whether t has come, and makes sure that tick looks again if not.
// The zero time never comes.
func (l *loop) passed(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	if !time.Now().Before(t) {
		return true
	}
	l.at(t)
	return false
}

// tick does all that is due.
func (l *loop) tick() {
	if l.phase == phaseWaiting && (l.due.IsZero() || l.passed(l.due)) {
		l.dial()
	}
	for _, k := range l.own {
		if l.passed(k.deadline) {
			l.fail(&Disconnected{CodeTimeout, "the server did not answer in time"})
			return
		}
	}
	if l.phase != phaseConnected {
		return
	}
	if l.passed(l.silence) {
		l.fail(&Disconnected{CodeNoPing, "no ping from the server"})
		return
	}
	if l.passed(l.refresh.due) {
		l.refreshConnection()
	}
	for _, s := range l.subs {
		l.advance(s)
	}
}

// request sends a command of the client's own. handle runs in the loop, unless
// the connection is lost before the reply.
func (l *loop) request(cmd *protocol.Command, handle func(*protocol.Reply, error)) {
	cmd.Id = l.c.calls.newID()
	if !l.link.send(cmd) {
		l.fail(disconnected(errOutboxFull))
		return
	}
	deadline := time.Now().Add(l.c.opts.Timeout)
	l.own[cmd.GetId()] = ownCall{deadline, handle}
	l.at(deadline)
}

// errStop ends the decoding of a frame after the connection was given up.
var errStop = errors.New("stop")

func (l *loop) onFrame(frame []byte) {
	l.heard()
	err := protocol.DecodeReplies(l.link.format, frame, func(r *protocol.Reply) error {
		l.onReply(r)
		if l.broken != nil {
			return errStop
		}
		return nil
	})
	if err != nil && l.broken == nil {
		l.fail(disconnected(err))
	}
}

func (l *loop) onReply(r *protocol.Reply) {
	switch {
	case r.GetPush() != nil:
		l.onPush(r.GetPush())
	case r.GetId() == 0:
		if l.pong && !l.link.send(&protocol.Command{}) {
			l.fail(disconnected(errOutboxFull))
		}
	default:
		k, ok := l.own[r.GetId()]
		if !ok {
			l.c.calls.resolve(r)
			return
		}
		delete(l.own, r.GetId())
		if r.GetError() != nil {
			k.handle(nil, fromWireError(r.GetError()))
			return
		}
		k.handle(r, nil)
	}
}
