package memory_test

import (
	"fmt"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
)

// kinds are policies of every kind of channel.
func kinds() map[string]*channel.Policy {
	return map[string]*channel.Policy{
		"log":       {HistorySize: 5},
		"state":     {Kind: channel.KindState, HistorySize: 5},
		"bare":      {Kind: channel.KindState},
		"ephemeral": {},
	}
}

// Who may not publish cannot fill the engine, by any number of names.
func TestNamesWithoutPublicationsCostNothing(t *testing.T) {
	const limit = 20
	for kind, p := range kinds() {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, memory.Options{MaxChannels: limit}, func(s *bench) {
				for i := range 10 * limit {
					name := fmt.Sprint(i)
					s.subscribe(name, p)
					s.since(name, p, channel.Position{})
					s.Unsubscribe(name)
					s.since(name, p, channel.Position{})
					if p.Kind == channel.KindState {
						s.snapshot(name, p)
					}
					if err := s.Remove(t.Context(), name, p); err != nil {
						t.Fatal(err)
					}
					if left := s.Stats(); left != (memory.Stats{}) {
						t.Fatalf("after %d names %+v are counted", i+1, left)
					}
				}
				s.idle("nothing kept")
				for i := range limit {
					s.subscribe(fmt.Sprint("new", i), p)
				}
				// A look needs no room, nor does it take any.
				s.since("another", p, channel.Position{})
				s.want("full of subscribers", limit, 0)
			})
		})
	}
}

// A publish that is refused leaves no channel behind.
func TestRefusedPublishCostsNothing(t *testing.T) {
	inBubble(t, memory.Options{MaxBytes: 1000}, func(s *bench) {
		p := &channel.Policy{Kind: channel.KindState}
		r := channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut, Key: "k", Data: make([]byte, 2000)}
		_, err := s.Publish(t.Context(), &r)
		refusedFor(t, err, "bytes")
		never := uint64(7)
		r.Data, r.Expect = nil, &never
		if _, err := s.Publish(t.Context(), &r); err == nil {
			t.Error("a wrong expectation is met")
		}
		s.want("refused", 0, 0)
	})
}

// Being forgotten before the first publication loses nothing.
func TestRecoverAcrossForgetting(t *testing.T) {
	for kind, p := range kinds() {
		if kind == "ephemeral" || kind == "bare" {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			inBubble(t, memory.Options{}, func(s *bench) {
				r := channel.PublishRequest{Channel: "a", Policy: p}
				if p.Kind == channel.KindState {
					r.Op, r.Key = channel.OpPut, "k"
				}
				at := s.subscribe("a", p)
				s.Unsubscribe("a")
				s.want("left", 0, 0)
				if res := s.since("a", p, at); !res.Complete || res.Top != at {
					t.Errorf("a forgotten channel is at %+v, was at %v", res, at)
				}
				if res := s.since("a", p, channel.Position{Epoch: at.Epoch, Offset: 1}); res.Complete {
					t.Error("a position beyond the top is complete")
				}
				first := s.publish(r)
				res := s.since("a", p, at)
				if !res.Complete || len(res.Pubs) != 1 || res.Pubs[0].Position != first.Position || first.Epoch != at.Epoch {
					t.Errorf("from %v after the first publication at %v: %+v", at, first.Position, res)
				}
			})
		})
	}
}

// An epoch does not come back with other content.
func TestForgottenPublicationsChangeTheEpoch(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{HistorySize: 5, HistoryTTL: time.Minute, MetaTTL: time.Minute}
		seen := make(map[string]bool)
		for round := range 5 {
			at := s.subscribe("a", p)
			s.Unsubscribe("a")
			if seen[at.Epoch] {
				t.Fatalf("round %d: epoch %q came back", round, at.Epoch)
			}
			seen[at.Epoch] = true
			s.publish(channel.PublishRequest{Channel: "a", Policy: p})
			time.Sleep(3 * time.Minute)
			s.want("its time is over", 0, 0)
			if res := s.since("a", p, at); res.Complete || res.Top.Epoch == at.Epoch {
				t.Errorf("round %d: from %v, of which a publication is forgotten: %+v", round, at, res)
			}
			s.publish(channel.PublishRequest{Channel: "a", Policy: p})
			if res := s.since("a", p, at); res.Complete || len(res.Pubs) > 0 {
				t.Errorf("round %d: from %v after another publication: %+v", round, at, res)
			}
			time.Sleep(3 * time.Minute)
		}
	})
}

// What nobody heard on an ephemeral channel is missed by who was there before.
func TestUnheardPublicationChangesTheEpoch(t *testing.T) {
	inBubble(t, memory.Options{}, func(s *bench) {
		p := &channel.Policy{}
		at := s.subscribe("a", p)
		s.Unsubscribe("a")
		if back := s.subscribe("a", p); back != at {
			t.Errorf("came back at %v, was at %v", back, at)
		}
		s.Unsubscribe("a")
		unheard := s.publish(channel.PublishRequest{Channel: "a", Policy: p})
		if res := s.since("a", p, at); res.Complete || res.Top.Epoch == at.Epoch || res.Top.Epoch == unheard.Epoch {
			t.Errorf("from %v after %v was not heard: %+v", at, unheard.Position, res)
		}
		if back := s.subscribe("a", p); back.Epoch == at.Epoch || back.Offset != 0 {
			t.Errorf("came back at %v after %v was not heard, was at %v", back, unheard.Position, at)
		}
		// Channels that are kept are none the wiser.
		kept := &channel.Policy{HistorySize: 1}
		before := s.since("k", kept, channel.Position{}).Top
		for i := range 1000 {
			s.publish(channel.PublishRequest{Channel: fmt.Sprint(i), Policy: p})
		}
		if after := s.since("k", kept, channel.Position{}).Top; after != before {
			t.Errorf("a channel that is kept went from %v to %v", before, after)
		}
	})
}
