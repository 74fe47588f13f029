package memory_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
)

// refusedFor fails unless err is a refusal by a limit that says what it is.
func refusedFor(t *testing.T, err error, words string) {
	t.Helper()
	if !errors.Is(err, channel.ErrLimitExceeded) || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v, want a limit exceeded that says %q", err, words)
	}
}

func TestMaxChannels(t *testing.T) {
	inBubble(t, memory.Options{MaxChannels: 3}, func(s *bench) {
		log, wind := &channel.Policy{HistorySize: 1, HistoryTTL: time.Hour, MetaTTL: time.Hour}, &channel.Policy{}
		s.publish(channel.PublishRequest{Channel: "a", Policy: log})
		s.publish(channel.PublishRequest{Channel: "b", Policy: log})
		s.subscribe("c", wind)
		_, err := s.Subscribe(t.Context(), "d", wind)
		refusedFor(t, err, "at most 3 channels")
		_, err = s.Publish(t.Context(), &channel.PublishRequest{Channel: "d", Policy: log})
		refusedFor(t, err, "at most 3 channels")
		// An ephemeral channel that nobody hears takes no place.
		s.publish(channel.PublishRequest{Channel: "d", Policy: wind})
		// One that is there is not refused.
		s.subscribe("a", log)
		s.want("full", 3, 0)
		s.Unsubscribe("c")
		s.subscribe("d", wind)
		s.want("one for another", 3, 0)
		time.Sleep(2*time.Hour + 2*time.Second)
		s.want("b is forgotten", 2, 0)
		s.publish(channel.PublishRequest{Channel: "e", Policy: log})
	})
}

// A channel of which nothing is kept has a place for as long as its publication
// is on the way to those who watch.
func TestWatchingKeepsNothing(t *testing.T) {
	inBubble(t, memory.Options{MaxChannels: 1}, func(s *bench) {
		wind := &channel.Policy{Namespace: "wind"}
		var w tally
		if err := s.Watch(t.Context(), wind, &w); err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			s.publish(channel.PublishRequest{Channel: fmt.Sprint("wind:", n), Policy: wind})
		}
		s.want("nobody is subscribed", 0, 0)
		if w != 10 {
			t.Errorf("%d publications came", w)
		}
	})
}

// tally counts what a watcher is handed.
type tally int

func (w *tally) Watched(*channel.Publication) { *w++ }
func (w *tally) Gap()                         { *w += 1000 }

func TestMaxBytes(t *testing.T) {
	const limit = 10_000
	inBubble(t, memory.Options{MaxBytes: limit}, func(s *bench) {
		log := &channel.Policy{HistorySize: 100, HistoryTTL: time.Minute}
		state := &channel.Policy{Kind: channel.KindState, KeyTTL: time.Minute}
		r := channel.PublishRequest{Channel: "log", Policy: log, Data: make([]byte, 1000)}
		n := 0
		var err error
		for ; err == nil && n < 100; n++ {
			_, err = s.Publish(t.Context(), &r)
		}
		refusedFor(t, err, "at most 10000 bytes")
		if n < 8 || n > 10 {
			t.Errorf("%d publications of 1000 bytes fit into %d", n-1, limit)
		}
		put := channel.PublishRequest{Channel: "state", Policy: state, Op: channel.OpPut, Key: "k", Data: make([]byte, 1000)}
		_, err = s.Publish(t.Context(), &put)
		refusedFor(t, err, "bytes")
		if top := s.since("log", log, channel.Position{}).Top; top.Offset != uint64(n-1) {
			t.Errorf("a refused publication moved the top to %d", top.Offset)
		}
		// What is not kept is not refused.
		s.publish(channel.PublishRequest{Channel: "wind", Policy: &channel.Policy{}, Data: make([]byte, limit)})
		time.Sleep(2 * time.Minute)
		if b := s.Stats().Bytes; b != 0 {
			t.Errorf("%d bytes are counted when all has expired", b)
		}
		s.publish(put)
		// The same key again takes the place of the old one, to the byte.
		put.Data = make([]byte, 9000)
		s.publish(put)
		s.publish(put)
		put.Op = channel.OpDelete
		s.publish(put)
		if b := s.Stats().Bytes; b != 0 {
			t.Errorf("%d bytes are counted when all is deleted", b)
		}
	})
}

// A full history replaces, at the limit of bytes as well.
func TestMaxBytesOfFullHistory(t *testing.T) {
	inBubble(t, memory.Options{MaxBytes: 5000}, func(s *bench) {
		p := &channel.Policy{HistorySize: 3}
		for range 20 {
			s.publish(channel.PublishRequest{Channel: "a", Policy: p, Data: make([]byte, 1400)})
		}
		if got := len(s.since("a", p, channel.Position{}).Pubs); got != 3 {
			t.Errorf("%d publications are kept, want 3", got)
		}
	})
}

func TestMaxEntries(t *testing.T) {
	inBubble(t, memory.Options{MaxEntries: 2}, func(s *bench) {
		p := &channel.Policy{Kind: channel.KindState}
		put := channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut, Key: "1"}
		s.publish(put)
		put.Key, put.TTL = "2", time.Minute
		s.publish(put)
		put.Key = "3"
		_, err := s.Publish(t.Context(), &put)
		refusedFor(t, err, "at most 2 entries")
		put.Key = "1"
		s.publish(put)
		put.Key, put.Op = "3", channel.OpDelete
		s.publish(put)
		time.Sleep(time.Hour)
		put.Op = channel.OpPut
		s.publish(put)
	})
}

func TestMaxIDs(t *testing.T) {
	p := &channel.Policy{HistorySize: 1, DedupeWindow: time.Minute}
	inBubble(t, memory.Options{MaxIDsPerChannel: 3}, func(s *bench) {
		for i := range 10 {
			s.publish(channel.PublishRequest{Channel: "a", Policy: p, ID: fmt.Sprint(i)})
		}
		s.want("ten ids on a channel that remembers three", 1, 3)
		for i, want := range map[int]bool{9: true, 8: true, 7: true} {
			if ack := s.publish(channel.PublishRequest{Channel: "a", Policy: p, ID: fmt.Sprint(i)}); ack.Duplicate != want {
				t.Errorf("id %d: duplicate %v, want %v", i, ack.Duplicate, want)
			}
		}
		if ack := s.publish(channel.PublishRequest{Channel: "a", Policy: p, ID: "6"}); ack.Duplicate {
			t.Error("the oldest ids were not forgotten first")
		}
		time.Sleep(time.Minute + 2*time.Second)
		s.want("after the window", 1, 0)
	})
	const limit, shards = 500, 64
	inBubble(t, memory.Options{MaxIDs: limit}, func(s *bench) {
		for i := range 5000 {
			name := fmt.Sprint(i % 100)
			s.publish(channel.PublishRequest{Channel: name, Policy: p, ID: fmt.Sprint(i)})
			if n := s.Stats().IDs; n > limit+shards {
				t.Fatalf("%d ids are remembered, want at most %d", n, limit+shards)
			}
		}
		if ack := s.publish(channel.PublishRequest{Channel: "99", Policy: p, ID: "4999"}); !ack.Duplicate {
			t.Error("the newest id is forgotten")
		}
		time.Sleep(time.Minute + 2*time.Second)
		s.want("after the window", 100, 0)
	})
}

// Kept payloads do not hold on to the large buffers they came in.
func TestKeptPayloadIsCompact(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 10}
		s.publish(channel.PublishRequest{Channel: "a", Policy: p, Data: make([]byte, 100, 64<<10)})
		tight := make([]byte, 100)
		s.publish(channel.PublishRequest{Channel: "a", Policy: p, Data: tight})
		pubs := s.since("a", p, channel.Position{}).Pubs
		if c := cap(pubs[0].Data); c > 256 {
			t.Errorf("a payload of 100 bytes is kept in %d", c)
		}
		if &pubs[1].Data[0] != &tight[0] {
			t.Error("a payload that fits was copied")
		}
	})
}
