package hub_test

import (
	"slices"
	"testing"
	"time"

	"myelin/hub"
)

// byUser has the room tell of users rather than of connections.
func byUser(o *hub.Options) { o.Namespaces["room"].JoinLeaveByUser = true }

// A user is told of once, however many connections he has and wherever.
func TestUsersComeOnceAndGoOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, byUser, nil, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		elder := b.in("ann", "room:x", false)
		wait(time.Second)
		watcher := a.in("watcher", "room:x", true)
		wait(time.Second)
		both := a.connect("both")
		if err := both.join(hub.SubscribeRequest{Channel: "room:x", Users: true}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		second := a.in("ann", "room:x", false) // she is there, on the other node
		bob := b.in("bob", "room:x", false)
		wait(time.Second)
		again := a.in("bob", "room:x", false)
		bob.Close(hub.DisconnectConnectionClosed)
		elder.Close(hub.DisconnectConnectionClosed)
		wait(time.Second)
		want := []string{"user-join watcher", "user-join both", "user-join bob"}
		if got := watcher.comings(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if got := both.comings(); !slices.Equal(got, want[1:]) {
			t.Errorf("%q, want %q", got, want[1:])
		}
		second.Close(hub.DisconnectConnectionClosed)
		again.Close(hub.DisconnectConnectionClosed)
		wait(time.Second)
		if got := watcher.comings(); !slices.Equal(got, []string{"user-leave ann", "user-leave bob"}) {
			t.Errorf("%q", got)
		}
		w.kill("b")
		wait(10 * time.Second)
		if got := watcher.comings(); len(got) != 0 {
			t.Errorf("nobody was there, and %q", got)
		}
	})
}

// A user who comes to two nodes at the same time comes once.
func TestUserWhoComesToTwoNodesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, byUser, nil, "a", "b")
		watchers := []*client{w.nodes["a"].in("wa", "room:x", true), w.nodes["b"].in("wb", "room:x", true)}
		wait(time.Second)
		for _, c := range watchers {
			c.comings()
		}
		w.nodes["a"].in("ann", "room:x", false)
		w.nodes["b"].in("ann", "room:x", false)
		wait(time.Second)
		for _, c := range watchers {
			if got := c.comings(); !slices.Equal(got, []string{"user-join ann"}) {
				t.Errorf("%q", got)
			}
		}
	})
}

func TestPresenceByUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		for _, user := range []string{"bob", "ann", "ann"} {
			w.nodes["a"].in(user, "room:x", false)
		}
		asker := w.nodes["b"].in("ann", "room:x", false)
		wait(time.Second)
		for id, ask := range map[string]func(string) ([]hub.PresentUser, error){
			"a": w.nodes["a"].hub.PresenceUsers, "b": asker.PresenceUsers,
		} {
			users, err := ask("room:x")
			if err != nil || len(users) != 2 || users[0].User != "ann" || users[0].Clients != 3 || users[1].User != "bob" || users[1].Clients != 1 {
				t.Errorf("at %s: %+v, %v", id, users, err)
			}
		}
		if _, err := asker.PresenceUsers("log:x"); err == nil {
			t.Error("a namespace without presence has users")
		}
	})
}
