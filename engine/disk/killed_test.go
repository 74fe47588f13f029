package disk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/disk"
	"myelin/hub"
)

// killedOrders is the variable that makes the test binary a node that waits to
// be killed, and says what it has to do.
const killedOrders = "MYELIN_TEST_ORDERS"

// killInterval is the flush interval of a node that is killed.
const killInterval = 20 * time.Millisecond

func TestMain(m *testing.M) {
	if text := os.Getenv(killedOrders); text != "" {
		if err := serveUntilKilled(text); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// orders are what a node that is to be killed has to do: its publishers go on
// where they were, and its subscriber comes back with its positions.
type orders struct {
	Dir      string
	Memtable int64
	// Next is the number of the next publication of each publisher.
	Next map[string]int
	// Seen is where the subscriber is on each channel.
	Seen map[string]channel.Position
}

// role is a channel of a node that is killed.
type role struct {
	durability channel.Durability
	publishers int
	// every is how long each of them rests.
	every time.Duration
}

// roles returns the channels of a node that is killed, by name.
func roles() map[string]role {
	return map[string]role{
		"sync:c": {channel.DurabilitySync, 4, 0},
		// Or there would be little else.
		"async:c":  {channel.DurabilityAsync, 4, time.Millisecond},
		"memory:c": {channel.DurabilityMemory, 4, time.Millisecond},
		// Never busy, and so never at risk.
		"slow:c": {channel.DurabilityAsync, 1, 1100 * time.Millisecond},
	}
}

func (r role) policy() *channel.Policy { return logPolicy(r.durability, 1_000_000) }

// voice is what a node says, a line at a time, and the way out of its
// subscriber.
type voice struct{ mu sync.Mutex }

func (v *voice) say(line []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = os.Stdout.Write(line)
}

// WriteNow hands over all of it.
func (v *voice) WriteNow(p []byte) (int, error) {
	v.say(p)
	return len(p), nil
}

// NotifyWritable is not called, as no write is short.
func (v *voice) NotifyWritable(ready func()) { go ready() }

// Close does nothing: the end is a kill.
func (v *voice) Close() {}

// lines is the form of the subscriber: what a publication and the end of a
// subscription look like to it.
type lines struct{}

func (lines) AppendEvent(dst []byte, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventPublication:
		p := e.Pub
		return fmt.Appendf(dst, "got %s %s %d %d %s\n", e.Channel, p.Epoch, p.Offset, p.Prev, p.Data)
	case hub.EventUnsubscribed, hub.EventDisconnected:
		return fmt.Appendf(dst, "end %s %d\n", e.Channel, e.Code)
	default:
		return dst
	}
}

// serveUntilKilled is a node with a hub and an engine: it says what its
// publishers were told and what its subscriber got.
func serveUntilKilled(text string) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	e, err := disk.Open(disk.Options{Path: o.Dir, FlushInterval: killInterval, MemtableBytes: o.Memtable})
	if err != nil {
		return err
	}
	all := auth.NewWhoSet(auth.WhoAnonymous)
	spaces := make(map[string]*hub.Namespace)
	for name, r := range roles() {
		spaces[channel.Namespace(name)] = &hub.Namespace{
			Policy: r.policy(), Rules: auth.Rules{Subscribe: all, Publish: all}, Recover: true,
		}
	}
	h := hub.New(hub.Options{Engine: e, Namespaces: spaces, PingInterval: -1, Limits: hub.Limits{QueueBytes: 1 << 30}})
	if err := e.Start(context.Background(), h); err != nil {
		return err
	}
	v := &voice{}
	s, err := h.Open(hub.SessionOptions{Conn: v, Form: lines{}})
	if err != nil {
		return err
	}
	if err := s.Connect(&auth.Identity{Anonymous: true}); err != nil {
		return err
	}
	// Some publish before the subscriber is back.
	failed := make(chan error)
	for name, r := range roles() {
		for w := range r.publishers {
			go func() { failed <- publishOn(h, v, name, w, r.every, o.Next[workerOf(name, w)]) }()
		}
	}
	for name := range roles() {
		if err := comeBack(s, name, o.Seen[name]); err != nil {
			return err
		}
	}
	return <-failed
}

func workerOf(name string, w int) string { return fmt.Sprintf("%s/%d", name, w) }

// publishOn publishes one after the other, each with an id, so that one that
// was under way at the last kill is there once.
func publishOn(h *hub.Hub, v *voice, name string, w int, every time.Duration, n int) error {
	for ; ; n++ {
		data := fmt.Sprintf("%d-%d", w, n)
		ack, err := h.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte(data), ID: data})
		if err != nil {
			return err
		}
		v.say(fmt.Appendf(nil, "ack %s %s %d %v %s %d\n", name, ack.Epoch, ack.Offset, ack.Duplicate, data, time.Now().UnixMicro()))
		time.Sleep(every)
	}
}

// comeBack subscribes where the subscriber was.
func comeBack(s *hub.Session, name string, seen channel.Position) error {
	sn, err := s.Subscribe(context.Background(), hub.SubscribeRequest{
		Channel: name, Recover: !seen.IsZero(), Since: seen, Recoverable: true,
	})
	if err != nil {
		return err
	}
	reply := fmt.Appendf(nil, "sub %s %s %d %v\n", name, sn.Position.Epoch, sn.Position.Offset, sn.Recovered)
	for _, p := range sn.Publications {
		reply = lines{}.AppendEvent(reply, &hub.Event{Kind: hub.EventPublication, Channel: name, Pub: p})
	}
	sn.Live(reply)
	return nil
}

// deaf is a sink that hears nothing.
type deaf struct{}

func (*deaf) Deliver(*channel.Publication) {}
func (*deaf) Lost(string)                  {}
func (*deaf) Cleared(string)               {}
