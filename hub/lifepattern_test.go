package hub_test

import (
	"testing"
	"time"

	"myelin/auth"
	"myelin/hub"
)

// Subscriptions to patterns are told as such, and leave no channel occupied.
func TestLifecycleTellsOfPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		s := newStage(t, newDiary(shared), func(o *hub.Options) { patterned(o); living(o) })
		s.hub.Begin()
		a := s.connect("ann")
		a.subscribe("log:*")
		a.subscribe("log:x")
		if err := a.Unsubscribe("log:*"); err != nil {
			t.Fatal(err)
		}
		a.subscribe("live:a.**")
		a.Close(hub.DisconnectForceReconnect)
		want(t, shared, "node_up", "connected ann", "subscribed log:* ann (pattern)", "subscribed log:x ann", "occupied log:x",
			"unsubscribed log:* ann (pattern)", "subscribed live:a.** ann (pattern)",
			"unsubscribed log:x ann connection closed", "unsubscribed live:a.** ann connection closed (pattern)",
			"disconnected ann force reconnect", "vacated log:x")
	})
}

// What is chosen by namespaces is told of the patterns that reach into them.
func TestLifecycleChoosesPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		s := newStage(t, newDiary(shared), func(o *hub.Options) {
			living(o)
			for name, ns := range o.Namespaces {
				if name[0] != '$' {
					ns.Patterns = auth.NewWhoSet(auth.WhoAnonymous)
				}
			}
			o.Lifecycle.Events, o.Lifecycle.Namespaces = []string{hub.LifeSubscribed}, []string{"log"}
		})
		s.hub.Begin()
		a := s.connect("ann")
		for _, name := range []string{"live:*", "log:*", "**"} {
			a.subscribe(name)
		}
		want(t, shared, "node_up", "subscribed log:* ann (pattern)", "subscribed ** ann (pattern)")
	})
}

// A node that dies ends the subscriptions to patterns of its clients with them,
// and nobody takes its patterns for channels.
func TestLifecycleOfPatternsInATown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLifetownWith(t, func(o *hub.Options) { patterned(o); living(o) }, "a", "b")
		w.nodes["b"].connect("ann").subscribe("log:*")
		wait(time.Second)
		w.dies("b")
		want(t, w.shared, "node_up a", "node_up b", "connected ann", "subscribed log:* ann (pattern)", "node_down b", "disconnected ann node down")
	})
}
