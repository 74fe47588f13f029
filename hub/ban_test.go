package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// banning gives a stage a list of bans.
func banning(t *testing.T, configured ...auth.Ban) func(o *hub.Options) {
	return func(o *hub.Options) {
		t.Helper()
		list, err := auth.NewBans(configured)
		if err != nil {
			t.Fatal(err)
		}
		o.Bans = list
		o.Namespaces[hub.RevokedNamespace] = &hub.Namespace{
			Policy: &channel.Policy{Namespace: hub.RevokedNamespace, Kind: channel.KindState, HistorySize: 16}, Recover: true, System: true,
		}
	}
}

// guarded is a stage that has learned its bans.
func guarded(t *testing.T, configured ...auth.Ban) *stage {
	t.Helper()
	s := newStage(t, nil, banning(t, configured...))
	if err := s.hub.LearnBans(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// kept returns the code with which a session is refused, 0 where it is not.
func (s *stage) kept(id *auth.Identity, from string) uint32 {
	s.t.Helper()
	c := s.open(func(o *hub.SessionOptions) { o.Address = auth.ParseAddress(from) })
	err := c.Connect(id)
	if err == nil {
		return 0
	}
	d, ok := errors.AsType[hub.Disconnect](err)
	if !ok {
		d = hub.DisconnectServerError
	}
	c.Close(d)
	return d.Code
}

func (s *stage) ban(b auth.Ban) {
	s.t.Helper()
	if err := s.hub.Ban(context.Background(), b); err != nil {
		s.t.Fatal(err)
	}
}

// Whoever is banned is sent away for good, others are not, and cannot come back
// until it is taken back or over.
func TestBansKeepOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t)
		now := time.Now().Unix()
		ann := &auth.Identity{User: "ann", TokenID: "t1", IssuedAt: now - 10}
		for _, c := range []struct {
			ban  auth.Ban
			code uint32
		}{
			{auth.Ban{Kind: auth.BanUser, Value: "ann", Reason: "spam"}, 3503},
			{auth.Ban{Kind: auth.BanUserTokens, Value: "ann", IssuedBefore: now}, 3500},
			{auth.Ban{Kind: auth.BanToken, Value: "t1"}, 3500},
			{auth.Ban{Kind: auth.BanAddress, Value: "192.0.2.0/24"}, 3503},
			{auth.Ban{Kind: auth.BanAddress, Value: "192.0.2.7"}, 3503},
			{auth.Ban{Kind: auth.BanUser, Value: "ann", ExpiresAt: now + 3600}, 3503},
		} {
			s.kept(ann, "")
			from := func(o *hub.SessionOptions) { o.Address = netip.MustParseAddr("192.0.2.7") }
			gone := s.connectAs(ann, from)
			stays := s.connectAs(&auth.Identity{User: "bob", TokenID: "t2", IssuedAt: now - 10}, nil)
			s.ban(c.ban)
			s.settle()
			gone.wants(t, fmt.Sprint("bye ", c.code))
			stays.wants(t)
			if code := s.kept(ann, "192.0.2.7"); code != c.code {
				t.Errorf("%+v: comes back with %d", c.ban, code)
			}
			if code := s.kept(&auth.Identity{User: "eve", TokenID: "t3", IssuedAt: now - 10}, "198.51.100.1"); code != 0 {
				t.Errorf("%+v: keeps somebody else out with %d", c.ban, code)
			}
			if c.ban.ExpiresAt > 0 {
				wait(time.Hour)
			} else if err := s.hub.Unban(t.Context(), c.ban.Kind, c.ban.Value); err != nil {
				t.Fatal(err)
			}
			if code := s.kept(ann, "192.0.2.7"); code != 0 {
				t.Errorf("%+v: kept out with %d when it was over", c.ban, code)
			}
			if list, err := s.hub.Bans(); len(list) != 0 || err != nil {
				t.Errorf("left are %+v, %v", list, err)
			}
			stays.Close(hub.DisconnectConnectionClosed)
		}
		if s.metrics.Limit("banned").Value() < 6 {
			t.Error("not counted")
		}
	})
}

// Tokens issued later are good, those that do not say when are not. A refresh
// with a revoked token ends the session.
func TestTokensOfBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t)
		now := time.Now().Unix()
		c := s.connectAs(&auth.Identity{User: "ann", IssuedAt: now + 1}, nil)
		s.ban(auth.Ban{Kind: auth.BanUserTokens, Value: "ann", IssuedBefore: now})
		for issued, want := range map[int64]uint32{now + 1: 0, now: 3500, now - 100: 3500, 0: 3500} {
			if code := s.kept(&auth.Identity{User: "ann", IssuedAt: issued}, ""); code != want {
				t.Errorf("issued at %d: %d, want %d", issued-now, code, want)
			}
		}
		if err := c.Refresh(&auth.Identity{User: "ann", IssuedAt: now + 2}); err != nil {
			t.Error(err)
		}
		if d, ok := errors.AsType[hub.Disconnect](c.Refresh(&auth.Identity{User: "ann", IssuedAt: now - 1})); !ok || d.Code != 3500 {
			t.Errorf("a refresh with an old token: %v", d)
		}
	})
}

// A revoked subscription token ends its subscriptions, makes no new one and
// refreshes none.
func TestSubscriptionTokensAreRevoked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t)
		c := s.connect("ann")
		grant := &auth.Grant{Channel: "log:x", TokenID: "s1"}
		c.subscribe("log:y")
		if err := c.join(hub.SubscribeRequest{Channel: "log:x", Grant: grant}); err != nil {
			t.Fatal(err)
		}
		s.ban(auth.Ban{Kind: auth.BanToken, Value: "s1"})
		s.settle()
		if got := c.lines(); len(got) == 0 || got[len(got)-1] != "unsub log:x 2000" {
			t.Errorf("got %s", show(got))
		}
		if err := c.join(hub.SubscribeRequest{Channel: "log:x", Grant: grant}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("subscribed again: %v", err)
		}
		if got := c.Subscriptions(); len(got) != 1 || got[0] != "log:y" {
			t.Errorf("subscribed to %v", got)
		}
		if err := c.RefreshSubscription(&auth.Grant{Channel: "log:y", TokenID: "s1"}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("refreshed: %v", err)
		}
	})
}

// mute is an engine that does not tell its entries for a while.
type mute struct {
	channel.Engine
	mute atomic.Bool
}

func (m *mute) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if m.mute.Load() {
		return channel.StatePage{}, channel.ErrUnavailable
	}
	return m.Engine.Snapshot(ctx, r)
}

func (m *mute) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if m.mute.Load() {
		return channel.ReadResult{}, channel.ErrUnavailable
	}
	return m.Engine.Read(ctx, r)
}

// While nobody knows who is kept out, nobody comes in.
func TestBansFailClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &mute{Engine: memory.New(memory.Options{})}
		e.mute.Store(true)
		s := newStage(t, e, banning(t))
		for range 2 {
			if code := s.kept(&auth.Identity{User: "ann"}, ""); code != hub.DisconnectServerError.Code {
				t.Errorf("let in with %d before the list was read", code)
			}
			if err := s.hub.LearnBans(t.Context()); !errors.Is(err, channel.ErrUnavailable) {
				t.Fatalf("learned %v", err)
			}
		}
		e.mute.Store(false)
		if err := s.hub.LearnBans(t.Context()); err != nil {
			t.Fatal(err)
		}
		if code := s.kept(&auth.Identity{User: "ann"}, ""); code != 0 {
			t.Errorf("kept out with %d", code)
		}
		// Later the list known so far holds, and the health says so.
		s.ban(auth.Ban{Kind: auth.BanUser, Value: "mal"})
		e.mute.Store(true)
		if err := s.hub.Unban(t.Context(), auth.BanUser, "mal"); !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("taken back: %v", err)
		}
		if s.kept(&auth.Identity{User: "mal"}, "") != 3503 || s.hub.BansHealthy() == nil {
			t.Errorf("let in, or well: %v", s.hub.BansHealthy())
		}
		e.mute.Store(false)
		wait(5 * time.Second)
		if s.kept(&auth.Identity{User: "mal"}, "") != 0 || s.hub.BansHealthy() != nil {
			t.Errorf("kept out, or unwell: %v", s.hub.BansHealthy())
		}
	})
}

// What the configuration blocks is blocked, and cannot be taken back.
func TestConfiguredBans(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t, auth.Ban{Kind: auth.BanUser, Value: "mal"}, auth.Ban{Kind: auth.BanAddress, Value: "2001:db8::/32"})
		if s.kept(&auth.Identity{User: "mal"}, "") != 3503 || s.kept(&auth.Identity{User: "ann"}, "2001:db8::7") != 3503 {
			t.Error("let in")
		}
		if err := s.hub.Unban(t.Context(), auth.BanUser, "mal"); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("taken back: %v", err)
		}
		s.ban(auth.Ban{Kind: auth.BanUser, Value: "mal", ExpiresAt: time.Now().Unix() + 1})
		wait(time.Minute)
		if s.kept(&auth.Identity{User: "mal"}, "") != 3503 {
			t.Error("another ban has ended that of the configuration")
		}
		if d, banned := s.hub.BannedAddress(auth.ParseAddress("[2001:db8::9]:443")); !banned || d.Code != 3503 {
			t.Errorf("its address: %v, %v", d, banned)
		}
	})
}

func TestBansThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t)
		for _, b := range []auth.Ban{
			{Kind: "planet", Value: "mars"},
			{Kind: auth.BanUser},
			{Kind: auth.BanAddress, Value: "192.0.2.300"},
			{Kind: auth.BanAddress, Value: "::ffff:192.0.2.0/120"},
			{Kind: auth.BanUser, Value: "ann", ExpiresAt: -1},
			{Kind: auth.BanUser, Value: "ann", Reason: fmt.Sprintf("%081d", 1)},
		} {
			if err := s.hub.Ban(t.Context(), b); !errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("%+v: %v", b, err)
			}
		}
		if err := s.hub.Ban(t.Context(), auth.Ban{Kind: auth.BanUser, Value: "ann", ExpiresAt: 1}); !errors.Is(err, channel.ErrExpired) {
			t.Errorf("one that is over: %v", err)
		}
		if err := s.connect("ann").join(hub.SubscribeRequest{Channel: "$revoked:list"}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("a client reads the list: %v", err)
		}
		plain := newStage(t, nil, nil)
		if err := plain.hub.Ban(t.Context(), auth.Ban{Kind: auth.BanUser, Value: "ann"}); !errors.Is(err, channel.ErrNotAvailable) {
			t.Errorf("without a list: %v", err)
		}
	})
}

// One call sends away those on all nodes before it returns, and a node that
// comes later reads the list before it lets anybody in.
func TestBansReachAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newLake(1, 20*time.Millisecond, 3) // which loses every third delivery
		w := newTown(t, banning(t), func(string) channel.Engine { return shared.port() }, "a", "b", "c")
		var clients []*client
		for _, id := range []string{"a", "b", "c"} {
			if err := w.nodes[id].hub.LearnBans(t.Context()); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, w.nodes[id].connect("ann"))
		}
		w.nodes["b"].ban(auth.Ban{Kind: auth.BanUser, Value: "ann"})
		s := w.nodes["b"].stage
		s.settle()
		for _, c := range clients {
			c.wants(t, "bye 3503")
		}
		late := w.start("d")
		if err := late.hub.LearnBans(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, n := range w.nodes {
			if code := n.kept(&auth.Identity{User: "ann"}, ""); code != 3503 {
				t.Errorf("node %s lets it in with %d", id, code)
			}
		}
	})
}

// The list survives the hub, as safely as its engine keeps it.
func TestBansSurviveTheHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		s := newStage(t, e, banning(t))
		if err := s.hub.LearnBans(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 2500 { // more than a page
			s.ban(auth.Ban{Kind: auth.BanUser, Value: fmt.Sprint("user", i)})
		}
		if list, err := s.hub.Bans(); len(list) != 2500 || err != nil {
			t.Errorf("%d are kept out, %v", len(list), err)
		}
	})
}
