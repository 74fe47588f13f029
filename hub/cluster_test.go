package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// town is the nodes of a cluster, in a bubble.
type town struct {
	t      testing.TB
	net    *channeltest.Network
	change func(o *hub.Options)
	engine func(id string) channel.Engine
	nodes  map[string]*node
}

// node is a stage on a bus.
type node struct {
	*stage
	bus *channeltest.MemBus
}

// newTown returns a cluster of nodes. Each has an engine of its own unless
// engine says otherwise.
func newTown(t testing.TB, change func(o *hub.Options), engine func(id string) channel.Engine, ids ...string) *town {
	w := &town{t: t, net: channeltest.NewNetwork(), change: change, engine: engine, nodes: make(map[string]*node)}
	for _, id := range ids {
		w.start(id)
	}
	t.Cleanup(func() {
		for id := range w.nodes {
			w.stop(id)
		}
	})
	wait(time.Second)
	return w
}

func (w *town) start(id string) *node {
	w.t.Helper()
	var e channel.Engine
	if w.engine != nil {
		e = w.engine(id)
	}
	n := &node{bus: w.net.Join(id)}
	n.stage = newStage(w.t, e, func(o *hub.Options) {
		o.Bus = n.bus
		if w.change != nil {
			w.change(o)
		}
	})
	if err := n.bus.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.nodes[id] = n
	return n
}

// stop ends a node with a goodbye, kill without.
func (w *town) stop(id string) {
	n := w.nodes[id]
	delete(w.nodes, id)
	n.takeDown()
	if err := n.bus.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
}

func (w *town) kill(id string) {
	n := w.nodes[id]
	delete(w.nodes, id)
	w.net.Kill(id)
	n.takeDown()
}

// everywhere fails unless all nodes show the same members of a channel.
func (w *town) everywhere(name string, users ...string) {
	w.t.Helper()
	synctest.Wait()
	want := make([]string, 0, len(users))
	different := make(map[string]bool)
	for _, u := range users {
		want = append(want, u+" ")
		different[u] = true
	}
	slices.Sort(want)
	for id, n := range w.nodes {
		if got := n.present(name); !slices.Equal(got, want) {
			w.t.Errorf("node %s shows %q, want %q", id, got, want)
		}
		st, err := n.hub.PresenceStats(name)
		if st != (hub.PresenceStats{Clients: len(users), Users: len(different)}) || err != nil {
			w.t.Errorf("node %s counts %+v, %v", id, st, err)
		}
	}
}

// in lets a user join a room at a node.
func (n *node) in(user, name string, watching bool) *client {
	n.t.Helper()
	c := n.connect(user)
	if err := c.join(hub.SubscribeRequest{Channel: name, JoinLeave: watching}); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// told returns what a client was told of comings and goings, sorted.
func (c *client) told() []string {
	synctest.Wait()
	var out []string
	for _, l := range c.lines() {
		if strings.HasPrefix(l, "join") || strings.HasPrefix(l, "leave") {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

func (c *client) hears(t *testing.T, want ...string) {
	t.Helper()
	if got := c.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestPresenceIsTheSameEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		watcher := w.nodes["a"].in("watcher", "room:x", true)
		ann := w.nodes["b"].in("ann", "room:x", false)
		again := w.nodes["c"].in("ann", "room:x", false)
		w.nodes["c"].in("eve", "room:y", false)
		wait(10 * time.Millisecond)
		w.everywhere("room:x", "watcher", "ann", "ann")
		w.everywhere("room:y", "eve")
		watcher.hears(t, "join room:x ann", "join room:x ann", "join room:x watcher")
		ann.Close(hub.DisconnectConnectionClosed)
		if err := again.Unsubscribe("room:x"); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		w.everywhere("room:x", "watcher")
		watcher.hears(t, "leave room:x ann", "leave room:x ann")
	})
}

// A node that comes late knows all, and one that dies takes its members along,
// once each and within 6 s.
func TestNodesComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		watcher := w.nodes["a"].in("watcher", "room:x", true)
		var users []string
		for i := range 30 {
			users = append(users, fmt.Sprint("u", i))
			w.nodes["b"].in(users[i], "room:x", false)
		}
		w.start("c")
		wait(10 * time.Millisecond)
		w.everywhere("room:x", append(users, "watcher")...)
		watcher.told()

		w.kill("b")
		wait(6 * time.Second)
		w.everywhere("room:x", "watcher")
		var gone []string
		for _, u := range users {
			gone = append(gone, "leave room:x "+u)
		}
		slices.Sort(gone)
		watcher.hears(t, gone...)

		w.start("b").in("new", "room:x", false)
		wait(10 * time.Millisecond)
		w.everywhere("room:x", "watcher", "new")
		w.stop("b") // says goodbye: at once
		wait(10 * time.Millisecond)
		w.everywhere("room:x", "watcher")
		watcher.hears(t, "join room:x new", "leave room:x new")
	})
}

// Who was only cut off joins again when the way is healed, and both sides agree.
func TestNodesAreCutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		watcher := w.nodes["a"].in("watcher", "room:x", true)
		ann := w.nodes["b"].in("ann", "room:x", true)
		wait(10 * time.Millisecond)
		watcher.told()
		ann.told()
		w.net.Cut("a", "b")
		wait(6 * time.Second)
		watcher.hears(t, "leave room:x ann")
		ann.hears(t, "leave room:x watcher")
		bob := w.nodes["b"].in("bob", "room:x", false)
		w.nodes["b"].in("cid", "room:x", false)
		bob.Close(hub.DisconnectConnectionClosed)
		wait(10 * time.Millisecond)
		w.net.Heal("a", "b")
		wait(2 * time.Second)
		w.everywhere("room:x", "watcher", "ann", "cid")
		watcher.hears(t, "join room:x ann", "join room:x cid")
		ann.hears(t, "join room:x bob", "join room:x cid", "join room:x watcher", "leave room:x bob")
	})
}

// Whatever broadcasts are lost, the next digest or the next change mends it.
func TestLostChangesAreMended(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		watcher := w.nodes["a"].in("watcher", "room:x", true)
		watcher.told()
		for i := range 20 {
			w.net.Drop("b", "a", 1)
			c := w.nodes["b"].in("ann", "room:x", false)
			wait(10 * time.Millisecond)
			if i%2 == 0 {
				w.nodes["b"].in("bob", "room:y", false).Close(hub.DisconnectConnectionClosed)
			}
			wait(2*time.Second + 10*time.Millisecond)
			w.everywhere("room:x", "watcher", "ann")
			w.net.Drop("b", "a", 1)
			c.Close(hub.DisconnectConnectionClosed)
			wait(4*time.Second + 10*time.Millisecond) // the digest may be what is lost
			w.everywhere("room:x", "watcher")
			watcher.hears(t, "join room:x ann", "leave room:x ann")
		}
		if w.net.Lost() != 40 || w.nodes["a"].metrics.Hub().MemberCopies.Value() < 20 {
			t.Errorf("%d lost, %d copies", w.net.Lost(), w.nodes["a"].metrics.Hub().MemberCopies.Value())
		}
	})
}

// Where not all members are known presence says so.
func TestPresenceThatCannotBeTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.Limits.RemoteMembers = 5 }, nil, "a", "b")
		a := w.nodes["a"]
		var clients []*client
		for range 6 {
			clients = append(clients, w.nodes["b"].in("ann", "room:x", false))
		}
		wait(time.Second)
		_, err := a.hub.Presence("room:x")
		if !errors.Is(err, channel.ErrLimitExceeded) || !strings.Contains(err.Error(), "the 5 that are kept") {
			t.Errorf("too many: %v", err)
		}
		if n := a.metrics.Limit("remote_members").Value(); n != 1 {
			t.Errorf("counted %d times", n)
		}
		clients[0].Close(hub.DisconnectConnectionClosed)
		wait(3 * time.Second)
		w.everywhere("room:x", "ann", "ann", "ann", "ann", "ann")

		clients[1].Close(hub.DisconnectConnectionClosed)
		wait(time.Second)

		// A node that does not answer when it is asked for its members.
		w.net.CutOneWay("a", "c")
		c := w.start("c")
		c.in("cid", "room:y", false)
		wait(time.Second)
		_, err = a.hub.PresenceStats("room:x")
		if !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "node c") {
			t.Errorf("one that is silent: %v", err)
		}
		w.net.Heal("a", "c")
		wait(8 * time.Second)
		w.everywhere("room:y", "cid")
	})
}

// Operations find sessions wherever they are.
func TestOperationsReachAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		ctx := context.Background()
		all := map[string]*client{}
		for id, n := range w.nodes {
			all[id] = n.connect("ann")
		}
		h, to := w.nodes["a"].hub, hub.Target{User: "ann"}
		yes := true
		want := hub.SubscribeRequest{Channel: "room:x", Grant: &auth.Grant{
			Channel: "room:x", ExpiresAt: time.Now().Add(time.Hour).Unix(),
			SubOptions: auth.SubOptions{Info: []byte(`{"i":1}`), Data: []byte(`{}`), Override: auth.Override{ForcePushJoinLeave: &yes}},
		}}
		if n, err := h.Subscribe(ctx, to, want); n != 3 || err != nil {
			t.Fatalf("subscribed %d, %v", n, err)
		}
		wait(10 * time.Millisecond)
		for _, n := range w.nodes {
			if got := n.present("room:x"); len(got) != 3 || got[0] != `ann {"i":1}` {
				t.Errorf("present %q", got)
			}
		}
		if n, err := h.Subscribe(ctx, hub.Target{User: "ann", Client: all["c"].ID()}, hub.SubscribeRequest{Channel: "log:y"}); n != 1 || err != nil {
			t.Errorf("one on another node: %d, %v", n, err)
		}
		found, err := h.Channels(ctx, "", 10)
		if err != nil || !maps.Equal(found, map[string]int{"room:x": 3, "log:y": 1}) {
			t.Errorf("channels %v, %v", found, err)
		}
		if found, err = h.Channels(ctx, "", 1); err != nil || !maps.Equal(found, map[string]int{"log:y": 1}) {
			t.Errorf("the first channel %v, %v", found, err)
		}
		at := time.Now().Add(time.Hour).Unix()
		synctest.Wait()
		for _, c := range all {
			c.lines()
		}
		if n, err := h.Refresh(ctx, to, at, false); n != 3 || err != nil {
			t.Errorf("refreshed %d, %v", n, err)
		}
		if n, err := h.Unsubscribe(ctx, to, "room:x"); n != 3 || err != nil {
			t.Errorf("unsubscribed %d, %v", n, err)
		}
		if n, err := h.Disconnect(ctx, to, hub.DisconnectForceNoReconnect, []string{all["b"].ID()}); n != 2 || err != nil {
			t.Errorf("disconnected %d, %v", n, err)
		}
		synctest.Wait()
		for id, c := range all {
			got := slices.DeleteFunc(c.lines(), func(l string) bool { return strings.HasPrefix(l, "leave") })
			want := []string{fmt.Sprint("refresh ", at), "unsub room:x 2000", "bye 3503"}
			if id == "b" {
				want = want[:2]
			}
			if !slices.Equal(got, want) {
				t.Errorf("node %s: %q, want %q", id, got, want)
			}
		}
	})
}

// An error of another node keeps its code, and what could be done is done.
func TestErrorsOfOtherNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.Limits.ChannelsPerConnection = 1 }, nil, "a", "b")
		w.nodes["a"].connect("ann")
		w.nodes["b"].connect("ann").subscribe("log:other")
		h, to := w.nodes["a"].hub, hub.Target{User: "ann"}
		n, err := h.Subscribe(context.Background(), to, hub.SubscribeRequest{Channel: "log:x"})
		if n != 1 || !errors.Is(err, channel.ErrLimitExceeded) || !strings.Contains(err.Error(), "1 subscriptions") {
			t.Errorf("%d, %v", n, err)
		}
		for _, to := range []hub.Target{{}, {User: "nobody"}, {Client: "none"}} {
			n, err := h.Disconnect(context.Background(), to, hub.DisconnectForceReconnect, nil)
			if n != 0 || (to == hub.Target{}) != errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("%+v: %d, %v", to, n, err)
			}
		}
		_, err = h.Subscribe(context.Background(), to, hub.SubscribeRequest{Channel: "what:x"})
		if !errors.Is(err, channel.ErrUnknownChannel) {
			t.Error(err)
		}
	})
}

// A node that does not answer is named, and what is done elsewhere is done.
func TestSilentNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		ctx := context.Background()
		a := w.nodes["a"]
		b := w.nodes["b"].connect("ann")
		w.nodes["c"].connect("ann")
		a.hub.Info(ctx)
		w.net.Pause("c")
		began := time.Now()
		n, err := a.hub.Disconnect(ctx, hub.Target{User: "ann"}, hub.DisconnectForceReconnect, nil)
		if n != 1 || !errors.Is(err, channel.ErrUnavailable) || channel.Public(err).Message != "done elsewhere; node c did not answer within 2s: try again" {
			t.Errorf("%d, %v", n, err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		b.wants(t, "bye 3011")
		rows := a.hub.Info(ctx)
		if len(rows) != 3 || rows[0].Node != "a" || rows[1].Silent || !rows[2].Silent || rows[2].Node != "c" ||
			rows[2].Clients != 1 || rows[2].Addr != "c:8000" || rows[2].Version != "test" {
			t.Errorf("info %+v", rows)
		}
		w.net.Resume("c")
		wait(time.Second)
		w.net.Pause("c")
		if _, err := a.hub.Channels(ctx, "", 10); !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("channels: %v", err)
		}
		w.net.Resume("c")
		wait(time.Second)
		// A node that is gone by then is not missed.
		w.nodes["b"].connect("ann")
		w.kill("c")
		wait(3900 * time.Millisecond)
		if n, err := a.hub.Disconnect(ctx, hub.Target{User: "ann"}, hub.DisconnectForceReconnect, nil); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if rows := a.hub.Info(ctx); len(rows) != 2 {
			t.Errorf("info %+v", rows)
		}
	})
}

// More channels than one message holds.
func TestManyChannelsOfManyNodes(t *testing.T) {
	const many = 1500
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.Limits.ChannelsPerConnection = many }, nil, "a", "b")
		long := strings.Repeat("n", 200)
		for _, n := range w.nodes {
			c := n.connect("ann")
			for i := range many {
				if err := c.join(hub.SubscribeRequest{Channel: fmt.Sprint("live:", long, i)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for most, want := range map[int]int{10 * many: many, many: many, 700: 700} {
			found, err := w.nodes["a"].hub.Channels(context.Background(), "live:**", most)
			if err != nil || len(found) != want {
				t.Errorf("%d channels of %d, %v", len(found), most, err)
			}
			for name, n := range found {
				if n != 2 {
					t.Fatalf("%s has %d subscribers", name, n)
				}
			}
		}
	})
}

// Joins share messages, so that a stampede at one node does not drown the
// others.
func TestJoinsShareMessages(t *testing.T) {
	const many = 1000
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		spy := w.net.Join("b")
		frames, bytes := 0, 0
		spy.Hear("hub.members", func(_ channel.Node, b []byte) {
			frames++
			bytes += len(b)
		})
		if err := spy.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = spy.Close(context.Background()) }()
		wait(time.Second)
		frames = 0
		for i := range many { // 10,000 a second
			w.nodes["a"].in(fmt.Sprint("u", i), "room:x", false)
			wait(100 * time.Microsecond)
		}
		wait(10 * time.Millisecond)
		if frames == 0 || frames > many/15 || bytes > 60*many {
			t.Errorf("%d joins in %d messages, %d bytes", many, frames, bytes)
		}
	})
}
