package hub_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
	"myelin/hub"
)

// comings returns what a client was told of who came and went, in order.
func (c *client) comings() []string {
	synctest.Wait()
	var out []string
	for _, l := range c.lines() {
		if f := strings.Fields(l); strings.HasSuffix(f[0], "join") || strings.HasSuffix(f[0], "leave") {
			out = append(out, f[0]+" "+f[2])
		}
	}
	return out
}

// Ten thousand who leave at once are told in bounded batches: all of them, at
// the rate of the namespace, to watchers of whom none is sent away, and with a
// number of writes that does not go by the number of those who left.
func TestMassDisconnectIsToldInBatches(t *testing.T) {
	const many, rate, watching = 10_000, 2000, 50
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["room"].JoinLeaveRate = rate })
		var clients []*client
		for i := range many {
			c := s.connect(fmt.Sprint("u", i))
			if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		var watchers []*client
		for range watching {
			c := s.connect("watcher")
			if err := c.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
				t.Fatal(err)
			}
			watchers = append(watchers, c)
		}
		wait(time.Second)
		watchers[0].lines()
		before := watchers[0].writes()
		for _, c := range clients {
			c.Close(hub.DisconnectConnectionClosed)
		}
		began := time.Now()
		if got := s.present("room:x"); len(got) != watching {
			t.Errorf("%d are present", len(got))
		}
		wait(time.Second)
		first := watchers[0].comings()
		if len(first) > rate+rate/10+50 {
			t.Errorf("%d told within a second, %d are allowed", len(first), rate)
		}
		all := len(first)
		for all < many && time.Since(began) < time.Minute {
			wait(time.Second)
			all += len(watchers[0].comings())
		}
		took, writes := time.Since(began), watchers[0].writes()-before
		if all != many {
			t.Errorf("%d were told, %d left", all, many)
		}
		if least := many / rate * time.Second; took > least+2*time.Second {
			t.Errorf("it took %v, at %d a second it should take %v", took, rate, least)
		}
		if writes > many/20 {
			t.Errorf("%d writes for %d who left", writes, many)
		}
		for _, c := range watchers[1:] {
			if n := len(c.comings()); n < many {
				t.Errorf("a watcher was told of %d", n)
			}
		}
		if s.metrics.Limit("join_leave").Value() == 0 {
			t.Error("it was not counted")
		}
		t.Logf("%d left, told in %v with %d writes for each watcher", many, took, writes)
	})
}

// Who came and went before it was his turn to be told of is not told of.
func TestComingAndGoingIsConflated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["room"].JoinLeaveRate = 10 })
		watcher := s.connect("watcher")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true, Users: true}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		watcher.lines()
		stays := s.connect("stays")
		stays.subscribe("room:x")
		for i := range 2000 {
			c := s.connect(fmt.Sprint("u", i))
			if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
			c.Close(hub.DisconnectConnectionClosed)
		}
		if err := stays.Unsubscribe("room:x"); err != nil {
			t.Fatal(err)
		}
		if err := stays.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Second)
		here := make(map[string]int)
		lines := watcher.comings()
		for _, l := range lines {
			verb, who, _ := strings.Cut(l, " ")
			if strings.HasSuffix(verb, "join") {
				here[verb[:len(verb)-len("join")]+who]++
			} else {
				here[verb[:len(verb)-len("leave")]+who]--
			}
		}
		maps.DeleteFunc(here, func(_ string, n int) bool { return n == 0 })
		if len(lines) > 200 || !maps.Equal(here, map[string]int{"stays": 1, "user-stays": 1}) {
			t.Errorf("%d lines, and then %v", len(lines), here)
		}
	})
}

// Who is gone without a word is present for as long as it may take to answer a
// ping, on all nodes, and not longer; then it is told once that he left.
func TestHalfOpenConnectionsAreNotPresentForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, func(o *hub.Options) { o.PingInterval, o.PongTimeout = 25*time.Second, 10*time.Second }, nil, "a", "b")
		watcher := w.nodes["a"].connectAs(&auth.Identity{User: "watcher"}, func(o *hub.SessionOptions) { o.Pongs = false })
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true, Users: true}); err != nil {
			t.Fatal(err)
		}
		paused := w.nodes["b"].in("ann", "room:x", false)
		paused.allow(0)
		wait(12 * time.Second)
		w.everywhere("room:x", "watcher", "ann")
		watcher.comings()
		wait(25 * time.Second)
		w.everywhere("room:x", "watcher")
		if got := watcher.comings(); !slices.Equal(got, []string{"leave ann", "user-leave ann"}) {
			t.Errorf("%q", got)
		}
	})
}

// Somebody who comes and goes again and again while much is to be told takes no
// room for it, and the others are told all the same, each once.
func TestComingAndGoingTakesNoRoom(t *testing.T) {
	const many, flaps = 3000, 10_000
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["room"].JoinLeaveRate = 1000 })
		watcher := s.connect("watcher")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		for i := range many {
			if err := s.connect(fmt.Sprint("u", i)).join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
		}
		restless := s.connect("restless")
		for range flaps {
			restless.subscribe("room:x")
			if err := restless.Unsubscribe("room:x"); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.hub.NewsWaiting("room:x"); n > 3*many {
			t.Errorf("%d are kept to tell of %d who came", n, many)
		}
		wait(10 * time.Second)
		told := make(map[string]int)
		for _, line := range watcher.comings() {
			told[line]++
		}
		delete(told, "join watcher")
		for line, n := range told {
			if n != 1 || strings.Contains(line, "restless") {
				t.Errorf("%q was told %d times", line, n)
			}
		}
		if len(told) != many {
			t.Errorf("%d were told of, %d came", len(told), many)
		}
	})
}

// Who leaves and comes back as somebody who shows something else, before others
// were told, is told to have done so: what is shown would be wrong otherwise.
func TestComingBackOtherwiseIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		watcher, c := s.connect("watcher"), s.connect("ann")
		if err := watcher.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true}); err != nil {
			t.Fatal(err)
		}
		come := func(info string) {
			if err := c.join(hub.SubscribeRequest{Channel: "room:x", Granted: true, Options: auth.SubOptions{Info: []byte(info)}}); err != nil {
				t.Fatal(err)
			}
		}
		leave := func() {
			if err := c.Unsubscribe("room:x"); err != nil {
				t.Fatal(err)
			}
		}
		come(`"a"`)
		wait(time.Second)
		for range 40 { // until what is new has to wait
			s.connect("bob").subscribe("room:x")
		}
		watcher.comings()
		for _, info := range []string{`"a"`, `"b"`} {
			leave()
			come(info)
		}
		wait(time.Second)
		var told []string
		for _, line := range watcher.comings() {
			if strings.HasSuffix(line, " ann") {
				told = append(told, line)
			}
		}
		if !slices.Equal(told, []string{"leave ann", "join ann"}) {
			t.Errorf("told %q of who came back as before, then otherwise", told)
		}
	})
}
