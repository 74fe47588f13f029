package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
)

// idle fails unless the engine has nothing to wake for.
func (s *bench) idle(what string) {
	s.t.Helper()
	synctest.Wait()
	if at, ok := s.NextWake(); ok {
		s.t.Errorf("%s: the engine wakes in %v, want never", what, time.Until(at))
	}
}

func TestPositionIsForgottenInTime(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 5, HistoryTTL: time.Minute, MetaTTL: time.Hour}
		first := s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		time.Sleep(time.Hour - 1)
		if top := s.since("a", p, first.Position).Top; top != first.Position {
			t.Errorf("just before its time the channel is at %v, want %v", top, first.Position)
		}
		// That was a use, from which the time runs anew; to the nanosecond,
		// whether the sweeper has come or not.
		time.Sleep(time.Hour)
		second := s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if second.Epoch == first.Epoch || second.Offset != 1 {
			t.Errorf("after its time the channel goes on at %v, was at %v", second.Position, first.Position)
		}
		s.want("in use", 1, 0)
		time.Sleep(time.Hour + 2*time.Second)
		s.want("forgotten by the sweeper", 0, 0)
		s.idle("nothing kept")
	})
}

// The end of an entry is news, whose position is remembered as that of any.
func TestExpiryIsAUse(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{Kind: channel.KindState, KeyTTL: time.Hour, MetaTTL: time.Minute}
		put := s.publish(channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut, Key: "k"})
		time.Sleep(time.Hour + 50*time.Second)
		s.want("after the end of its entry", 1, 0)
		if top := s.since("a", p, put.Position).Top; top.Epoch != put.Epoch || top.Offset != 2 {
			t.Errorf("the channel is at %v after the end of its entry, was at %v", top, put.Position)
		}
		time.Sleep(time.Minute + 2*time.Second)
		s.want("later", 0, 0)
	})
}

func TestDefaultMetaTTL(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 5, HistoryTTL: time.Minute}
		s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		time.Sleep(channel.DefaultMetaTTL - time.Second)
		s.want("before its time", 1, 0)
		time.Sleep(3 * time.Second)
		s.want("after its time", 0, 0)
	})
}

func TestDefaultDedupeWindow(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 5}
		r := channel.PublishRequest{Channel: "a", Policy: p, ID: "i"}
		s.publish(r)
		time.Sleep(channel.DefaultDedupeWindow - 1)
		if !s.publish(r).Duplicate {
			t.Error("the id is forgotten before the window is over")
		}
		time.Sleep(time.Nanosecond)
		if s.publish(r).Duplicate {
			t.Error("the id is known when the window is over")
		}
	})
}

func TestEphemeralChannelGoesWithItsSubscriber(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{}
		top := s.subscribe("a", p)
		ack := s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if ack.Epoch != top.Epoch || ack.Offset != 1 {
			t.Errorf("published at %v after %v", ack.Position, top)
		}
		s.want("subscribed", 1, 0)
		s.Unsubscribe("a")
		s.want("left", 0, 0)
		s.idle("left")
		// Unheard: an offset that can be counted on, of an epoch that cannot.
		one, two := s.publish(channel.PublishRequest{Channel: "a", Policy: p}), s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if one.Offset != 1 || two.Offset != 1 || one.Epoch == two.Epoch {
			t.Errorf("unheard publications got %v and %v, want offset 1 of two epochs", one.Position, two.Position)
		}
		s.want("unheard", 0, 0)
		if again := s.subscribe("a", p); again.Epoch == top.Epoch {
			t.Errorf("the channel came back with its old epoch %q", again.Epoch)
		}
	})
}

func TestIdleEngineDoesNothing(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		s.idle("new")
		wind := &channel.Policy{}
		forever := &channel.Policy{HistorySize: 10}
		state := &channel.Policy{Kind: channel.KindState}
		s.subscribe("wind", wind)
		s.publish(channel.PublishRequest{Channel: "wind", Policy: wind})
		s.publish(channel.PublishRequest{Channel: "log", Policy: forever})
		s.publish(channel.PublishRequest{Channel: "state", Policy: state, Op: channel.OpPut, Key: "k"})
		s.idle("things kept for ever")
		s.publish(channel.PublishRequest{Channel: "wind", Policy: wind, ID: "i"})
		time.Sleep(channel.DefaultDedupeWindow + 2*time.Second)
		s.want("nothing but an id had an end", 3, 0)
		s.idle("nothing but an id had an end")
		brief := &channel.Policy{HistorySize: 10, HistoryTTL: 10 * time.Second}
		s.subscribe("brief", brief)
		s.publish(channel.PublishRequest{Channel: "brief", Policy: brief, ID: "i"})
		s.publish(channel.PublishRequest{Channel: "state", Policy: state, Op: channel.OpPut, Key: "b", TTL: time.Second})
		synctest.Wait()
		if at, ok := s.NextWake(); !ok || time.Until(at) > time.Second+10*time.Millisecond {
			t.Errorf("a key ends in a second, the engine wakes in %v (%v)", time.Until(at), ok)
		}
		time.Sleep(channel.DefaultDedupeWindow + 2*time.Second)
		s.idle("all has expired")
		s.want("all has expired", 4, 0)
	})
}

// One waking takes many things that are due at about the same time.
func TestWakingsAreFew(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 10_000, HistoryTTL: 10 * time.Second}
		for i := range 1000 {
			s.publish(channel.PublishRequest{Channel: fmt.Sprint(i % 7), Policy: p, Data: []byte("x")})
			time.Sleep(time.Millisecond)
		}
		wakings := 0
		for s.Stats().Bytes > 0 {
			synctest.Wait()
			at, ok := s.NextWake()
			if !ok {
				t.Fatal("bytes are kept that nothing will let go")
			}
			time.Sleep(time.Until(at) + 1)
			synctest.Wait()
			wakings++
		}
		if wakings > 3 {
			t.Errorf("1000 publications of one second took %d wakings to expire", wakings)
		}
	})
}

func TestFirstPolicyStays(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		first, other := &channel.Policy{HistorySize: 2}, &channel.Policy{HistorySize: 5}
		for range 5 {
			s.publish(channel.PublishRequest{Channel: "a", Policy: first})
		}
		for range 5 {
			s.publish(channel.PublishRequest{Channel: "a", Policy: other})
		}
		if n := len(s.since("a", other, channel.Position{}).Pubs); n != 2 {
			t.Errorf("%d publications are kept, want the 2 of the policy it came to be with", n)
		}
		state := &channel.Policy{Kind: channel.KindState}
		_, err := s.Publish(t.Context(), &channel.PublishRequest{Channel: "a", Policy: state, Op: channel.OpPut, Key: "k"})
		if !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("a put on a log channel: %v", err)
		}
		if _, err = s.Snapshot(t.Context(), &channel.SnapshotRequest{Channel: "a", Policy: state}); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("a snapshot of a log channel: %v", err)
		}
	})
}

func TestOffsetsBeginAnew(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 5}
		old := s.subscribe("a", p)
		s.SetTop("a", channel.MaxOffset-1)
		last := s.publish(channel.PublishRequest{Channel: "a", Policy: p, ID: "last"})
		if last.Epoch != old.Epoch || last.Offset != channel.MaxOffset {
			t.Fatalf("the last offset is %v", last.Position)
		}
		next := s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if next.Epoch == old.Epoch || next.Offset != 1 {
			t.Fatalf("after the last offset comes %v", next.Position)
		}
		if len(s.lost) != 1 || s.lost[0] != "a" || len(s.got) != 3 || s.got[1] != nil || s.got[2].Position != next.Position || s.got[2].Prev != 0 {
			t.Errorf("the sink got %v and lost %v, want Lost between the two", s.got, s.lost)
		}
		if res := s.since("a", p, last.Position); res.Complete || len(res.Pubs) != 0 || res.Top != next.Position {
			t.Errorf("Read from the old epoch says %+v", res)
		}
		if res := s.since("a", p, channel.Position{}); len(res.Pubs) != 1 || !res.Complete {
			t.Errorf("Read of the new epoch says %+v", res)
		}
		if ack := s.publish(channel.PublishRequest{Channel: "a", Policy: p, ID: "last"}); !ack.Duplicate || ack.Position != last.Position {
			t.Errorf("an id of the old epoch gives %+v, want %v", ack, last.Position)
		}
		s.Unsubscribe("a")
		s.SetTop("a", channel.MaxOffset)
		s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if len(s.lost) != 1 {
			t.Error("Lost was called for a channel without subscription")
		}
	})
}

// Entries outlive their epoch, and may still expire in the next one.
func TestEntriesOutliveTheirEpoch(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{Kind: channel.KindState, HistorySize: 5}
		put := channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut, Key: "k", TTL: time.Minute}
		s.publish(put)
		put.Key, put.TTL = "ever", 0
		old := s.publish(put)
		s.SetTop("a", channel.MaxOffset)
		time.Sleep(2 * time.Minute)
		page := s.snapshot("a", p)
		if page.At.Epoch == old.Epoch || page.At.Offset != 1 || len(page.Items) != 1 || page.Items[0].Position != old.Position {
			t.Errorf("a snapshot in the new epoch is %+v", page)
		}
	})
}

func TestSnapshotDoesNotSpanEpochs(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{Kind: channel.KindState}
		put := channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut}
		for _, put.Key = range []string{"a", "b"} {
			s.publish(put)
		}
		r := &channel.SnapshotRequest{Channel: "a", Policy: p, Limit: 1}
		first, err := s.Snapshot(t.Context(), r)
		if err != nil || first.Next == "" {
			t.Fatalf("the first page is %+v, %v", first, err)
		}
		s.SetTop("a", channel.MaxOffset)
		s.publish(put)
		r.Cursor = first.Next
		if page, err := s.Snapshot(t.Context(), r); !errors.Is(err, channel.ErrUnrecoverable) {
			t.Errorf("a page of another epoch than the first is %+v, %v", page, err)
		}
	})
}

func TestStartIsOnce(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		if err := s.Start(t.Context(), s); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("a second Start: %v", err)
		}
	})
	e := memory.New(memory.Options{})
	if err := e.Start(t.Context(), nil); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("Start without a sink: %v", err)
	}
	if _, err := e.Subscribe(t.Context(), "a", &channel.Policy{}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Subscribe before Start: %v", err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.Start(t.Context(), &bench{}); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("Start after Close: %v", err)
	}
}

func TestRequestsNeedAPolicy(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		ctx := context.Background()
		_, publish := s.Publish(ctx, &channel.PublishRequest{Channel: "a"})
		_, subscribe := s.Subscribe(ctx, "a", nil)
		_, read := s.Read(ctx, &channel.ReadRequest{Channel: "a"})
		_, snapshot := s.Snapshot(ctx, &channel.SnapshotRequest{Channel: "a"})
		for what, err := range map[string]error{"Publish": publish, "Subscribe": subscribe, "Read": read, "Snapshot": snapshot} {
			if !errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("%s without a policy: %v", what, err)
			}
		}
	})
}
