package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// TestEntryConditions holds what each condition admits, and what is refused.
func TestEntryConditions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, func(o *hub.Options) { o.Namespaces["small"].MessageBytes = 100 })
		c := s.connect("ann")
		try := func(r hub.EntryRequest) (channel.Ack, error) {
			if r.Channel == "" {
				r.Channel = "state:x"
			}
			if !r.Remove && r.Data == nil {
				r.Data = []byte("1")
			}
			return c.SetEntry(context.Background(), r)
		}
		first, err := try(hub.EntryRequest{Key: "k", If: hub.IfNew})
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			what string
			r    hub.EntryRequest
			want *channel.Error
		}{
			{"a new one that is there", hub.EntryRequest{Key: "k", If: hub.IfNew}, channel.ErrConflict},
			{"an old one that is not there", hub.EntryRequest{Key: "l", If: hub.IfExists}, channel.ErrConflict},
			{"another offset", hub.EntryRequest{Key: "k", If: hub.IfAt, At: first.Offset + 1}, channel.ErrConflict},
			{"removal at another offset", hub.EntryRequest{Key: "k", Remove: true, If: hub.IfAt, At: 99}, channel.ErrConflict},
			{"no key", hub.EntryRequest{}, channel.ErrBadRequest},
			{"a long key", hub.EntryRequest{Key: strings.Repeat("k", 256)}, channel.ErrTooLarge},
			{"a key that is not text", hub.EntryRequest{Key: "\xff"}, channel.ErrBadRequest},
			{"a log", hub.EntryRequest{Channel: "log:x", Key: "k"}, channel.ErrNotAvailable},
			{"leave without a subscription", hub.EntryRequest{Key: "k", Leave: true}, channel.ErrNotSubscribed},
			{"a key of somebody else", hub.EntryRequest{Channel: "own:x", Key: "bob"}, channel.ErrPermissionDenied},
			{"a key that begins like one's own", hub.EntryRequest{Channel: "own:x", Key: "annabel"}, channel.ErrPermissionDenied},
		} {
			if _, err := try(tc.r); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", tc.what, err)
			}
		}
		for _, r := range []hub.EntryRequest{
			{Key: "k", If: hub.IfExists},
			{Key: "k", If: hub.IfAt, At: first.Offset + 1},
			{Key: "k", Remove: true, If: hub.IfExists},
			{Key: "k", Remove: true},
			{Channel: "own:x", Key: "ann"},
			{Channel: "own:x", Key: "ann:cursor"},
		} {
			if _, err := try(r); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		}
		for i := range 5 {
			_, err = try(hub.EntryRequest{Channel: "small:x", Key: strconv.Itoa(i)})
		}
		if !errors.Is(err, channel.ErrLimitExceeded) || s.metrics.Limit("state_keys").Value() != 2 {
			t.Errorf("too many keys: %v, counted %d", err, s.metrics.Limit("state_keys").Value())
		}
		if _, err = s.hub.SetEntry(context.Background(), hub.EntryRequest{Channel: "small:x", Key: "0", Data: make([]byte, 101)}); !errors.Is(err, channel.ErrLimitExceeded) || s.metrics.Limit("state_keys").Value() != 2 {
			t.Errorf("too much data: %v, counted as %d keys too many", err, s.metrics.Limit("state_keys").Value())
		}
		page, err := c.Entry(context.Background(), "own:x", "ann")
		if err != nil || len(page.Items) != 1 || page.Items[0].Info.User != "ann" {
			t.Errorf("the entry is %+v, %v", page, err)
		}
	})
}

// TestScores reads a table from the top, in pages, and while it changes.
func TestScores(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		set := func(key string, score int64) {
			if _, err := s.hub.SetEntry(context.Background(), hub.EntryRequest{Channel: "table:x", Key: key, Data: []byte("x"), Score: score}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 9 {
			set(string(rune('a'+i)), int64(i*i%7)) // a0 b1 c4 d2 e2 f4 g1 h0 i1
		}
		list := func(descending bool) string {
			var keys []string
			r := hub.ListRequest{Channel: "table:x", Limit: 2, Scored: true, Descending: descending}
			for {
				page, err := s.hub.Entries(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range page.Items {
					keys = append(keys, p.Key)
				}
				if r.Cursor = page.Next; r.Cursor == "" {
					return strings.Join(keys, "")
				}
			}
		}
		if up, down := list(false), list(true); up != "ahbgidecf" || down != "fcedigbha" {
			t.Errorf("by score %s, from the top %s", up, down)
		}
		set("a", 9)
		if down := list(true); down != "afcedigbh" {
			t.Errorf("with a new best %s", down)
		}
		c := s.connect("")
		page, err := c.SubscribeState(context.Background(), hub.StateRequest{
			Subscribe: hub.SubscribeRequest{Channel: "table:x"}, Limit: 3,
		})
		if err != nil || page.Entries[0].Key != "a" || page.Entries[2].Key != "c" {
			t.Errorf("the best three are %+v, %v", page, err)
		}
		if _, err := c.Entries(context.Background(), hub.ListRequest{Channel: "table:x", Scored: true}); !errors.Is(err, channel.ErrNotSubscribed) {
			t.Errorf("a list by score for who is not subscribed: %v", err)
		}
	})
}

// TestEntriesLeaveWithTheirSession holds all the ways in which it may end.
func TestEntriesLeaveWithTheirSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &muted{Engine: memory.New(memory.Options{})}
		s := stateStage(t, e, nil)
		watcher := s.connect("w")
		v, err := watcher.follow("state:x", 0)
		if err != nil {
			t.Fatal(err)
		}
		join := func(user string) *client {
			c := s.connect(user)
			c.subscribe("state:x")
			for _, key := range []string{user, user + "2"} {
				if _, err := c.SetEntry(context.Background(), hub.EntryRequest{Channel: "state:x", Key: key, Data: []byte("here"), Leave: true}); err != nil {
					t.Fatal(err)
				}
			}
			return c
		}
		a, b := join("a"), join("b")
		watcher.update(v)
		if len(v) != 4 {
			t.Fatalf("there are %v", v)
		}
		wait(5 * time.Minute)
		watcher.update(v)
		if len(v) != 4 {
			t.Fatalf("after a while there are %v", v)
		}
		s.set("state:x", "b2", "taken over")
		a.Close(hub.DisconnectConnectionClosed)
		if err := b.Unsubscribe("state:x"); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		watcher.update(v)
		s.same("who watches", v, view{"b2": "taken over"})
		d := join("d")
		for i := range 100 {
			_, err = d.SetEntry(context.Background(), hub.EntryRequest{Channel: "state:x", Key: fmt.Sprint("d", i), Data: []byte("x"), Leave: true})
		}
		if !errors.Is(err, channel.ErrLimitExceeded) || s.metrics.Limit("state_leases").Value() == 0 {
			t.Errorf("100 entries that leave: %v", err)
		}
		// A node that dies says nothing: its entries end by themselves.
		e.mute.Store(true)
		wait(40 * time.Second)
		watcher.update(v)
		s.same("who watches when the node is as good as dead", v, view{"b2": "taken over"})
	})
}

// muted is an engine that may not be published on any more.
type muted struct {
	channel.Engine
	mute atomic.Bool
}

func (m *muted) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if m.mute.Load() {
		return channel.Ack{}, channel.ErrUnavailable
	}
	return m.Engine.Publish(ctx, r)
}

// An id is a user's own: a retry is one change, and nobody uses up the ids of
// others or of the server.
func TestEntryIDsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		r := hub.EntryRequest{Channel: "state:x", Key: "k", Data: []byte("1"), ID: "order-7"}
		for i, set := range []func(context.Context, hub.EntryRequest) (channel.Ack, error){
			s.connect("mallory").SetEntry, s.connect("ann").SetEntry, s.hub.SetEntry,
		} {
			for again := range 2 {
				got, err := set(t.Context(), r)
				if err != nil || got.Offset != uint64(i)+1 || got.Duplicate != (again == 1) {
					t.Errorf("writer %d, again %d: %+v, %v", i, again, got, err)
				}
			}
		}
		r.ID = strings.Repeat("i", 129)
		if _, err := s.connect("ann").SetEntry(t.Context(), r); !errors.Is(err, channel.ErrTooLarge) {
			t.Errorf("a long id: %v", err)
		}
	})
}
