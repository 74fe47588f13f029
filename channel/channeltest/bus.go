package channeltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
)

// BusNode is a bus as the process that owns it sees it.
type BusNode interface {
	channel.Bus
	// Start takes part. What listens was registered before.
	Start(ctx context.Context) error
	// Close says goodbye and ends.
	Close(ctx context.Context) error
}

// BusWorld is a network that nodes "a", "b" and "c" can join.
type BusWorld struct {
	// Join returns the bus of a new process of a node, not started.
	Join func(id string) BusNode
	// Kill ends the process of a node so that it cannot say goodbye.
	Kill func(id string)
	// Pause stops the process of a node, and Resume lets it go on. Nil leaves
	// the checks out that need them.
	Pause, Resume func(id string)
	// Isolate lets nothing pass from and to a node, and Rejoin undoes it. Nil
	// leaves the checks out that need them.
	Isolate, Rejoin func(id string)
}

// BusFactory makes the networks under test.
type BusFactory struct {
	// New returns a fresh network. It is called inside the bubble, and
	// may register cleanups.
	New func(tb testing.TB) BusWorld
	// RealTime says that the network cannot live in a testing/synctest bubble.
	// Checks that wait then really do, and run beside each other: New is called
	// from several goroutines.
	RealTime bool
	// Slack is how much later than promised something may come, for machines
	// that are busy. 0 takes nothing in virtual and five seconds in real time.
	Slack time.Duration
	// Patience is how long other things may take; 0 takes twenty seconds.
	Patience time.Duration
}

// busDown is within which time a dead node is announced as down.
const busDown = 6 * time.Second

// busCheck is one promise of a bus.
type busCheck struct {
	name string
	run  func(x *busExam)
}

func busChecks() []busCheck {
	var all []busCheck
	for _, family := range [][]busCheck{busMessageChecks(), busLifeChecks(), busRequestChecks()} {
		all = append(all, family...)
	}
	return all
}

// BusChecks returns the names of all checks of a bus.
func BusChecks() []string {
	var names []string
	for _, c := range busChecks() {
		names = append(names, c.name)
	}
	return names
}

// busAtOnce is how many checks wait beside each other in real time.
const busAtOnce = 4

// RunBus holds the factory's networks against every check.
func RunBus(t *testing.T, f BusFactory) {
	f = f.withDefaults()
	outcomes := make(map[string]func() error)
	if f.RealTime {
		// They wait more than they work, so more of them fit than processors.
		places := make(chan struct{}, busAtOnce)
		for _, c := range busChecks() {
			done := make(chan error, 1)
			outcomes[c.name] = func() error { return <-done }
			go func() {
				places <- struct{}{}
				err := errors.New("the check was ended from within")
				defer func() {
					<-places
					done <- err
				}()
				err = f.sit(t, c)
			}()
		}
	}
	for _, c := range busChecks() {
		t.Run(c.name, func(t *testing.T) {
			outcome := outcomes[c.name]
			if outcome == nil {
				outcome = func() error { return f.examine(t, c) }
			}
			err := outcome()
			if errors.Is(err, ErrLeftOut) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// ExamineBus runs one check and returns what it found, nil where the bus
// passes.
func ExamineBus(t *testing.T, f BusFactory, name string) error {
	for _, c := range busChecks() {
		if c.name == name {
			return f.withDefaults().examine(t, c)
		}
	}
	return fmt.Errorf("there is no check %q", name)
}

func (f BusFactory) withDefaults() BusFactory {
	if f.Slack == 0 && f.RealTime {
		f.Slack = 5 * time.Second
	}
	if f.Patience == 0 {
		f.Patience = 20 * time.Second
	}
	return f
}

func (f BusFactory) examine(t *testing.T, c busCheck) (err error) {
	if f.RealTime {
		return f.sit(t, c)
	}
	synctest.Test(t, func(t *testing.T) { err = f.sit(t, c) })
	return err
}

func (f BusFactory) sit(tb testing.TB, c busCheck) (err error) {
	x := &busExam{tb: tb, f: f, ctx: context.Background(), world: f.New(tb)}
	defer x.close()
	defer caught(&err)
	c.run(x)
	for _, n := range x.nodes {
		n.verify(x)
	}
	return nil
}

// busExam is one check's hold on the network under test.
type busExam struct {
	tb    testing.TB
	f     BusFactory
	ctx   context.Context
	world BusWorld
	nodes []*busEars
}

func (x *busExam) failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (x *busExam) leaveOut(why string) { panic(failure{fmt.Errorf("%w: %s", ErrLeftOut, why)}) }

func (x *busExam) ok(err error, what string) {
	if err != nil {
		x.failf("%s: %w", what, err)
	}
}

// refused fails unless err is an *Error of one of the codes.
func (x *busExam) refused(err error, what string, want ...*channel.Error) {
	e, ok := errors.AsType[*channel.Error](err)
	if !ok {
		x.failf("%s: error %v is a %T, want a *channel.Error", what, err, err)
	}
	for _, w := range want {
		if errors.Is(e, w) {
			return
		}
	}
	x.failf("%s: %v has code %d, want %v", what, err, e.Code, want)
}

// eventually waits until a condition returns "", at most for d and the slack.
func (x *busExam) eventually(d time.Duration, condition func() string) {
	end := time.Now().Add(d + x.f.Slack)
	for {
		wrong := condition()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			x.failf("after %v: %s", d+x.f.Slack, wrong)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (x *busExam) close() {
	for _, n := range x.nodes {
		ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
		if err := n.Close(ctx); err != nil {
			x.tb.Logf("Close: %v", err)
		}
		cancel()
	}
}

// join makes a node that listens and starts it.
func (x *busExam) join(id string, topics ...string) *busEars {
	n := x.prepare(id, topics...)
	x.start(n)
	return n
}

func (x *busExam) prepare(id string, topics ...string) *busEars {
	n := &busEars{BusNode: x.world.Join(id)}
	n.mu.busy = make(map[string]bool)
	n.Watch(func(e channel.PeerEvent) { n.note(busNote{event: &e}) })
	for _, topic := range topics {
		n.Hear(topic, func(from channel.Node, b []byte) { n.hear(topic, from, b) })
	}
	return n
}

func (x *busExam) start(n *busEars) {
	x.nodes = append(x.nodes, n)
	ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
	defer cancel()
	x.ok(n.Start(ctx), "Start of "+n.Self().ID)
}

// trio joins three nodes and waits until all know each other.
func (x *busExam) trio(topics ...string) (a, b, c *busEars) {
	a, b, c = x.join("a", topics...), x.join("b", topics...), x.join("c", topics...)
	x.acquainted(a, b, c)
	return a, b, c
}

// acquainted waits until nodes know each other, and have been told.
func (x *busExam) acquainted(nodes ...*busEars) {
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				x.up(x.f.Patience, n, other.Self())
			}
		}
	}
}

// up waits until a node was told that a peer is there, and down that it is not.
func (x *busExam) up(d time.Duration, n *busEars, peer channel.Node) { x.told(d, n, peer, true) }

func (x *busExam) down(d time.Duration, n *busEars, peer channel.Node) { x.told(d, n, peer, false) }

func (x *busExam) told(d time.Duration, n *busEars, peer channel.Node, up bool) {
	x.eventually(d, func() string {
		if n.thinks(peer) == up && x.lists(n, peer) == up {
			return ""
		}
		return fmt.Sprintf("%s was not told that %s (incarnation %d) is up = %v, or Peers says otherwise: %v", n.Self().ID, peer.ID, peer.Incarnation, up, n.Peers())
	})
}

func (x *busExam) lists(n *busEars, peer channel.Node) bool {
	return slices.Contains(n.Peers(), peer)
}

// busEars is a node, and what it was told.
type busEars struct {
	BusNode
	overlaps atomic.Int64
	mu       struct {
		sync.Mutex
		notes []busNote
		busy  map[string]bool
		// gate, where it is set, holds up listeners.
		gate chan struct{}
	}
}

// busNote is one thing that a node was told.
type busNote struct {
	event *channel.PeerEvent
	from  channel.Node
	topic string
	text  string
}

func (n *busEars) note(e busNote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.notes = append(n.mu.notes, e)
}

func (n *busEars) hear(topic string, from channel.Node, b []byte) {
	n.mu.Lock()
	if n.mu.busy[topic] {
		n.overlaps.Add(1)
	}
	n.mu.busy[topic] = true
	gate := n.mu.gate
	n.mu.Unlock()
	if gate != nil {
		<-gate
	}
	n.note(busNote{from: from, topic: topic, text: string(b)})
	n.mu.Lock()
	n.mu.busy[topic] = false
	n.mu.Unlock()
}

// hold makes listeners wait until the returned function is called.
func (n *busEars) hold() (release func()) {
	gate := make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.gate = gate
	return func() {
		n.mu.Lock()
		n.mu.gate = nil
		n.mu.Unlock()
		close(gate)
	}
}

func (n *busEars) notes() []busNote {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]busNote(nil), n.mu.notes...)
}

// thinks returns what the node was last told of a peer.
func (n *busEars) thinks(peer channel.Node) bool {
	up := false
	for _, note := range n.notes() {
		if note.event != nil && note.event.Node == peer {
			up = note.event.Up
		}
	}
	return up
}

// count returns how many messages of a node on a topic were heard.
func (n *busEars) count(from, topic string) (count int) {
	for _, note := range n.notes() {
		if note.event == nil && note.from.ID == from && note.topic == topic {
			count++
		}
	}
	return count
}

// busText is the i-th message of a sender; verify knows it again.
func busText(i int, filler string) []byte { return []byte(strconv.Itoa(i) + " " + filler) }

// verify holds what a node was told against what holds in every check.
func (n *busEars) verify(x *busExam) {
	if n.overlaps.Load() > 0 {
		x.failf("%s: the listeners of one topic were called while one was at it", n.Self().ID)
	}
	there := make(map[string]channel.Node)
	last := make(map[string]int)
	for i, note := range n.notes() {
		if note.event != nil {
			n.verifyEvent(x, i, *note.event, there)
			continue
		}
		if note.from.ID == n.Self().ID {
			x.failf("%s heard itself", n.Self().ID)
		}
		if there[note.from.ID] != note.from {
			x.failf("%s: message %q of %v came while %v was announced", n.Self().ID, clip(note.text), note.from, there[note.from.ID])
		}
		number, err := strconv.Atoi(strings.SplitN(note.text, " ", 2)[0])
		if err != nil {
			x.failf("%s heard %q, which nobody sent", n.Self().ID, clip(note.text))
		}
		flow := fmt.Sprintf("%s/%d/%s", note.from.ID, note.from.Incarnation, note.topic)
		if number <= last[flow] {
			x.failf("%s: message %d of %s came after message %d", n.Self().ID, number, flow, last[flow])
		}
		last[flow] = number
	}
}

func (n *busEars) verifyEvent(x *busExam, i int, e channel.PeerEvent, there map[string]channel.Node) {
	now, known := there[e.Node.ID]
	switch {
	case e.Node.ID == n.Self().ID:
		x.failf("%s was told of itself", n.Self().ID)
	case e.Up && known:
		x.failf("%s: event %d says that %v is up while %v is", n.Self().ID, i, e.Node, now)
	case !e.Up && now != e.Node:
		x.failf("%s: event %d says that %v is down while %v is announced", n.Self().ID, i, e.Node, now)
	case e.Up:
		there[e.Node.ID] = e.Node
	default:
		delete(there, e.Node.ID)
	}
}

// clip shortens a text for messages.
func clip(s string) string { return s[:min(len(s), 40)] }
