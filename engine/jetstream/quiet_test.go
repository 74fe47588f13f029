package jetstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestQuietChannels holds what is known of channels on which nothing happens
// for longer than the stream keeps messages: the position of one with a
// subscriber is known for ever, on every node; of one without nobody claims
// what he does not know.
func TestQuietChannels(t *testing.T) {
	t.Parallel()
	// Long enough for a busy machine to look in time.
	age := 8 * time.Second
	if raced {
		age *= 2
	}
	h := newHome(t, false)
	o := jetstream.Options{Network: h.network}
	o.SetMinAge(age)
	p := &channel.Policy{
		Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10,
		HistoryTTL: time.Second, MetaTTL: time.Second, DedupeWindow: time.Second,
	}
	s := newSink()
	one, two := start(t, o, s), start(t, o, newSink())
	unused := subscribe(t, one, "unused", p)
	subscribe(t, one, "quiet", p)
	last := publish(t, one, "quiet", p, "1").Position
	left := publish(t, one, "left", p, "1").Position
	read(t, one, "left", p, left)
	name, err := jetstream.StreamOf(t.Context(), one, p)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(sequence uint64) {
		eventually(t, func() string {
			st, err := one.JetStream().Stream(context.Background(), name)
			if err != nil {
				return err.Error()
			}
			if first := st.CachedInfo().State.FirstSeq; first <= sequence {
				return fmt.Sprintf("the stream still begins at %d", first)
			}
			return ""
		})
	}
	// Everything that is there now goes, twice.
	for range 2 {
		st, err := one.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		gone(st.CachedInfo().State.LastSeq)
		for _, e := range []*jetstream.Engine{one, two} {
			for name, at := range map[string]channel.Position{"quiet": last, "unused": unused} {
				if res := read(t, e, name, p, at); !res.Complete || res.Top != at {
					t.Errorf("%s was at %v, and is said to be at %v, complete %v", name, at, res.Top, res.Complete)
				}
			}
		}
	}
	if n := s.losses("quiet") + s.losses("unused"); n > 0 {
		t.Errorf("%d losses, although nothing was lost", n)
	}
	checkLeft(t, two, p, left)
	publish(t, two, "quiet", p, "2")
	eventually(t, func() string {
		if n := len(s.got("quiet")); n < 2 {
			return fmt.Sprintf("%d of 2", n)
		}
		return ""
	})
	if got := s.got("quiet"); got[1].Prev != last.Offset || got[1].Epoch != last.Epoch {
		t.Errorf("a quiet channel went on at %v with prev %d, after %v", got[1].Position, got[1].Prev, last)
	}
}

// checkLeft holds that nobody claims to know what came after a position that
// nobody remembers.
func checkLeft(t *testing.T, two *jetstream.Engine, p *channel.Policy, left channel.Position) {
	t.Helper()
	res := read(t, two, "left", p, left)
	if res.Complete && res.Top != left {
		t.Errorf("the history of a channel that nobody remembers is complete: %+v", res)
	}
	next := publish(t, two, "left", p, "2")
	if res := read(t, two, "left", p, left); res.Complete {
		t.Errorf("after %v of a channel that nobody remembers: %+v", left, res)
	}
	if res := read(t, two, "left", p, next.Position); !res.Complete {
		t.Errorf("at the top: %+v", res)
	}
}
