package jetstream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// sink keeps what comes.
type sink struct {
	// gate, where there is one, holds up deliveries until it is closed.
	gate chan struct{}
	mu   struct {
		sync.Mutex
		pubs    map[string][]*channel.Publication
		lost    map[string]int
		cleared map[string]int
	}
}

func newSink() *sink {
	s := &sink{}
	s.mu.pubs = make(map[string][]*channel.Publication)
	s.mu.lost = make(map[string]int)
	s.mu.cleared = make(map[string]int)
	return s
}

func (s *sink) Deliver(p *channel.Publication) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.pubs[p.Channel] = append(s.mu.pubs[p.Channel], p)
}

func (s *sink) Lost(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.lost[name]++
}

func (s *sink) Cleared(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.cleared[name]++
}

func (s *sink) got(name string) []*channel.Publication {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.pubs[name])
}

func (s *sink) losses(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.lost[name]
}

func (s *sink) clearings(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.cleared[name]
}

// patience is how long anything may take.
const patience = 60 * time.Second

// eventually waits until a condition holds, that is, returns "".
func eventually(tb testing.TB, condition func() string) {
	tb.Helper()
	end := time.Now().Add(patience)
	for {
		wrong := condition()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("after %v: %s", patience, wrong)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// start starts an engine, which ends with the test.
func start(tb testing.TB, o jetstream.Options, s channel.Sink) *jetstream.Engine {
	tb.Helper()
	e := newEngine(tb, o)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Start(ctx, s); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, e) })
	return e
}

func stop(tb testing.TB, e *jetstream.Engine) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

func publish(tb testing.TB, e channel.Engine, name string, p *channel.Policy, data string) channel.Ack {
	tb.Helper()
	ack, err := e.Publish(context.Background(), &channel.PublishRequest{Channel: name, Policy: p, Data: []byte(data)})
	if err != nil {
		tb.Fatalf("Publish on %s: %v", name, err)
	}
	return ack
}

func subscribe(tb testing.TB, e channel.Engine, name string, p *channel.Policy) channel.Position {
	tb.Helper()
	top, err := e.Subscribe(context.Background(), name, p)
	if err != nil {
		tb.Fatalf("Subscribe %s: %v", name, err)
	}
	return top
}

func read(tb testing.TB, e channel.Engine, name string, p *channel.Policy, since channel.Position) channel.ReadResult {
	tb.Helper()
	res, err := e.Read(context.Background(), &channel.ReadRequest{Channel: name, Policy: p, Since: since, Limit: -1})
	if err != nil {
		tb.Fatalf("Read %s: %v", name, err)
	}
	return res
}

// chained returns "" where publications follow each other from an offset on.
func chained(pubs []*channel.Publication, from uint64) string {
	for i, p := range pubs {
		if p.Prev != from {
			return fmt.Sprintf("publication %d at %d has prev %d after %d", i, p.Offset, p.Prev, from)
		}
		from = p.Offset
	}
	return ""
}
