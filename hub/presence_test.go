package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// present returns who is in a channel, sorted.
func (s *stage) present(name string) []string {
	s.t.Helper()
	members, err := s.hub.Presence(name)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, m := range members {
		out = append(out, m.User+" "+string(m.ConnInfo)+string(m.ChanInfo))
	}
	slices.Sort(out)
	return out
}

func TestPresenceShowsWhoIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		ann := s.connectAs(&auth.Identity{User: "ann", Info: []byte("conn")}, nil)
		again, bob, outside := s.connect("ann"), s.connect("bob"), s.connect("eve")
		grant := &auth.Grant{Channel: "room:x", SubOptions: auth.SubOptions{Info: []byte("chan")}}
		for c, g := range map[*client]*auth.Grant{ann: grant, again: nil, bob: nil} {
			if err := c.join(hub.SubscribeRequest{Channel: "room:x", Grant: g}); err != nil {
				t.Fatal(err)
			}
		}
		outside.subscribe("room:y")
		if got, want := s.present("room:x"), []string{"ann ", "ann connchan", "bob "}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		stats := func(want hub.PresenceStats) {
			t.Helper()
			if st, err := s.hub.PresenceStats("room:x"); st != want || err != nil {
				t.Errorf("%+v, %v, want %+v", st, err, want)
			}
		}
		stats(hub.PresenceStats{Clients: 3, Users: 2})
		again.Close(hub.DisconnectConnectionClosed)
		stats(hub.PresenceStats{Clients: 2, Users: 2})
		if err := ann.Unsubscribe("room:x"); err != nil {
			t.Fatal(err)
		}
		if got := s.present("room:x"); !slices.Equal(got, []string{"bob "}) {
			t.Errorf("%q", got)
		}
		bob.Close(hub.DisconnectConnectionClosed)
		if got := s.present("room:x"); len(got) != 0 {
			t.Errorf("%q", got)
		}
		stats(hub.PresenceStats{})
	})
}

func TestPresenceHasToBeOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		_, first := c.Session.Presence("log:x")
		_, second := c.Session.PresenceStats("log:x")
		for _, err := range []error{first, second} {
			if !errors.Is(err, channel.ErrNotAvailable) {
				t.Error(err)
			}
		}
	})
}

// Joins and leaves go to those who asked for them, once each.
func TestJoinsAndLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		watcher, other := s.connect("watcher"), s.connect("other")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if l := watcher.lines(); len(l) != 2 || l[1] != "join room:x watcher" {
			t.Errorf("got %s", show(l))
		}
		other.subscribe("room:x")
		watcher.wants(t, "join room:x other")
		ann := s.connect("ann")
		ann.subscribe("room:x")
		ann.subscribe("room:y")
		watcher.wants(t, "join room:x ann")
		if err := ann.Unsubscribe("room:x"); err != nil {
			t.Fatal(err)
		}
		s.settle()
		watcher.wants(t, "leave room:x ann")
		ann.Close(hub.DisconnectConnectionClosed)
		if _, err := s.hub.Disconnect(context.Background(), hub.Target{User: "other"}, hub.DisconnectForceReconnect, nil); err != nil {
			t.Fatal(err)
		}
		s.settle()
		watcher.wants(t, "leave room:x other")
		other.wants(t, "bye 3011")
	})
}

// A token decides for one subscription what the namespace decides for all.
func TestTokensOverridePresence(t *testing.T) {
	yes, no := true, false
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		watcher := s.connect("watcher")
		if err := watcher.join(hub.SubscribeRequest{
			Channel: "room:x", Grant: &auth.Grant{Channel: "room:x", SubOptions: auth.SubOptions{Override: auth.Override{
				Presence: &no, JoinLeave: &no, ForcePushJoinLeave: &yes,
			}}},
		}); err != nil {
			t.Fatal(err)
		}
		hidden := s.connect("hidden")
		if err := hidden.join(hub.SubscribeRequest{
			Channel: "room:x", JoinLeave: true,
			Grant: &auth.Grant{Channel: "room:x", SubOptions: auth.SubOptions{Override: auth.Override{
				JoinLeave: &no, ForcePushJoinLeave: &no,
			}}},
		}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if got := s.present("room:x"); !slices.Equal(got, []string{"hidden "}) {
			t.Errorf("%q", got)
		}
		watcher.lines()
		hidden.lines()
		s.connect("ann").subscribe("room:x")
		watcher.wants(t, "join room:x ann")
		hidden.wants(t)
		hidden.Close(hub.DisconnectConnectionClosed)
		s.settle()
		watcher.wants(t)
	})
}

// Nobody is present after his Close has returned, however many go at once, and
// each leave is told once.
func TestPresenceAfterMassDisconnect(t *testing.T) {
	const many = 500
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		watcher := s.connect("watcher")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		var clients []*client
		for i := range many {
			c := s.connect(fmt.Sprint("user", i%50))
			if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		wait(2 * time.Second)
		if l := watcher.lines(); len(l) != many+2 {
			t.Errorf("%d lines for %d joins", len(l), many)
		}
		var all sync.WaitGroup
		for i, c := range clients {
			all.Go(func() {
				if i%2 == 0 {
					c.Close(hub.DisconnectConnectionClosed)
				} else if _, err := s.hub.Disconnect(context.Background(), hub.Target{Client: c.ID()}, hub.DisconnectForceReconnect, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := s.present("room:x"); !slices.Equal(got, []string{"watcher "}) {
			t.Errorf("%d are present", len(got))
		}
		wait(2 * time.Second)
		if l := watcher.lines(); len(l) != many {
			t.Errorf("%d lines for %d leaves", len(l), many)
		}
		if n := s.info().Users; n != 1 {
			t.Errorf("%d users", n)
		}
	})
}

// A subscription that was never made known is not missed when it goes.
func TestNoLeaveWithoutAJoin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		watcher, shy := s.connect("watcher"), s.connect("shy")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		watcher.lines()
		sn, err := shy.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "room:x"})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.present("room:x"); !slices.Equal(got, []string{"watcher "}) {
			t.Errorf("%q", got)
		}
		sn.Cancel()
		sn.Cancel()
		s.settle()
		watcher.wants(t)
		shy.subscribe("room:x")
		watcher.wants(t, "join room:x shy")
	})
}
