package mesh

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"myelin/channel"
)

// What the tests of pure parts need.
type (
	// Frame is a frame of the bus.
	Frame = frame
	// Roster is who is there.
	Roster struct{ r *roster }
	// Queue is a bounded line.
	Queue = queue[int]
)

// The times of the roster.
const (
	Beat      = beat
	DeadAfter = deadAfter
	LateBeat  = lateBeat
)

// ParseFrame takes a frame apart.
func ParseFrame(b []byte) (*Frame, error) { return parseFrame(b) }

// Bytes returns the frame as it is sent.
func (f *frame) Bytes() []byte { return f.appendTo(nil) }

// Frames returns a frame of every kind.
func Frames() []*Frame {
	node := func(f frame) *frame {
		f.incarnation, f.id = 0x1122334455667788, "node-1.eu"
		return &f
	}
	return []*frame{
		node(frame{kind: frameHello, flags: helloAnswer, addr: "10.0.0.1:8000", version: "1.2.3"}),
		node(frame{kind: frameBye}),
		node(frame{kind: frameTaken, target: 7}),
		node(frame{kind: frameBroadcast, topic: "presence", payload: []byte("payload")}),
		node(frame{kind: frameRequest, target: 7, number: 9, patience: 1500, topic: "survey", payload: []byte("question")}),
		node(frame{kind: frameReply, target: 7, number: 9, payload: []byte("answer")}),
		node(frame{kind: frameFailure, target: 7, number: 9, failure: &channel.Error{
			Code: channel.CodeConflict, Message: "conflict: so it is", Current: 3, Temporary: true,
		}}),
		node(frame{kind: frameCancel, target: 7, number: 9}),
	}
}

// NewRoster returns a roster of at most so many.
func NewRoster(now time.Time, most int) *Roster { return &Roster{newRoster(now, most)} }

// Hello is a sign of life.
func (r *Roster) Hello(n channel.Node, now time.Time) ([]channel.PeerEvent, bool) {
	return r.r.hello(n, now)
}

// Sign is another one.
func (r *Roster) Sign(n channel.Node, now time.Time) bool {
	return r.r.sign(n.ID, n.Incarnation, now) != nil
}

// Bye is a goodbye.
func (r *Roster) Bye(n channel.Node) []channel.PeerEvent { return r.r.bye(n.ID, n.Incarnation) }

// Tick is a beat.
func (r *Roster) Tick(now time.Time) []channel.PeerEvent { return r.r.tick(now) }

// Nodes returns who is there.
func (r *Roster) Nodes() []channel.Node { return r.r.nodes() }

// NewQueue returns a bounded line.
func NewQueue(maxCount, maxBytes int) *Queue { return newQueue[int](maxCount, maxBytes) }

// Add adds to it.
func (q *queue[T]) Add(item T, class string, bytes int) bool { return q.add(item, class, bytes) }

// TakeAll takes what is there, and makes room.
func (q *queue[T]) TakeAll() (all []T) {
	for _, item := range q.take() {
		all = append(all, item.item)
		q.done(item)
	}
	return all
}

// Hear finds the trouble in what the server says.
func Hear(text string) (words, remote string) {
	what, remote := hear(text)
	return string(what), remote
}

// Fail makes a frame say an error, and Failure returns it.
func Fail(f *Frame, err *channel.Error) { f.failure = err }

// Failure returns the error that a frame says.
func Failure(f *Frame) error { return f.failure }

// HeirOf returns who is asked to lead next.
func HeirOf(replicas []*server.PeerInfo, strict bool) string { return heirOf(replicas, strict) }

// ScrubLooks is how many looks in a row have to find messages missing.
const ScrubLooks = scrubLooks

// The verdicts of Judge.
const (
	VerdictNone  = verdictNone
	VerdictWhole = verdictWhole
	VerdictLacks = verdictLacks
)

// Judge holds a replica against others.
func Judge(own *server.StreamDetail, peers []*server.StreamDetail, node string, now time.Time) (what int, lacks uint64) {
	v, lacks := judge(own, peers, node, now)
	return int(v), lacks
}

// Scrubber looks for damage of a node when it is told to.
type Scrubber struct {
	s *scrub
	// Compared is how many streams were found whole or not.
	Compared int
}

// NewScrubber returns one that has not looked yet.
func NewScrubber(n *Network) *Scrubber {
	return &Scrubber{s: &scrub{n: n, doubts: make(map[string]int)}}
}

// Look looks once. It returns how often in a row messages were missing, and has
// the node know when that is beyond doubt.
func (s *Scrubber) Look(ctx context.Context) (doubts int) {
	if d := s.s.look(ctx); d != nil {
		s.s.n.watch.found(d)
		return scrubLooks
	}
	for _, count := range s.s.doubts {
		doubts = max(doubts, count)
	}
	own, peers := s.s.ask(ctx)
	for name, detail := range own {
		if what, _ := judge(detail, peers[name], s.s.n.options.Node, time.Now()); what != verdictNone {
			s.Compared++
		}
	}
	return doubts
}

// States returns what all nodes say of a stream.
func (s *Scrubber) States(ctx context.Context, name string) string {
	own, peers := s.s.ask(ctx)
	var text strings.Builder
	for _, d := range append(peers[name], own[name]) {
		if d != nil {
			fmt.Fprintf(&text, "%d messages, %d to %d, made %v, lost %v; ", d.State.Msgs, d.State.FirstSeq, d.State.LastSeq, d.Created.UnixNano(), d.State.Lost)
		}
	}
	return text.String()
}
