package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/hub"
)

// rules adds namespaces with lanes and rules for slow clients:
//
//	alarm:, bulk:             lanes
//	newest:, oldest:, again:  conflate, drop_oldest, resync
//	state:                    keyed, conflate
func rules(o *hub.Options) {
	o.Shards, o.Limits.QueueBytes, o.Limits.AlarmBytes = 1, 4000, 2000
	like := func(name string, change func(ns *hub.Namespace, p *channel.Policy)) {
		ns := *o.Namespaces["deep"]
		p := *ns.Policy
		p.Namespace = name
		ns.Policy = &p
		change(&ns, &p)
		o.Namespaces[name] = &ns
	}
	like("alarm", func(ns *hub.Namespace, _ *channel.Policy) { ns.Lane = hub.LaneAlarm })
	like("bulk", func(ns *hub.Namespace, _ *channel.Policy) { ns.Lane = hub.LaneBulk })
	like("newest", func(ns *hub.Namespace, _ *channel.Policy) { ns.Slow = hub.SlowConflate })
	like("oldest", func(ns *hub.Namespace, _ *channel.Policy) { ns.Slow = hub.SlowDropOldest })
	like("again", func(ns *hub.Namespace, _ *channel.Policy) { ns.Slow = hub.SlowResync })
	like("state", func(ns *hub.Namespace, p *channel.Policy) { ns.Slow, p.Kind = hub.SlowConflate, channel.KindState })
}

// notice is what a slow client is told.
func notice(t *testing.T, lines []string) (n hub.SlowNotice, at int) {
	t.Helper()
	at = slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "notice ") })
	if at < 0 {
		t.Fatalf("no notice: %s", show(lines))
	}
	var said struct {
		Myelin struct{ Slow hub.SlowNotice }
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[at], "notice ")), &said); err != nil {
		t.Fatal(err)
	}
	return said.Myelin.Slow, at
}

// slowly publishes while a client takes nothing, then lets it take all.
func slowly(s *stage, c *client, name string, n int) []string {
	c.allow(0)
	word := strings.Repeat("x", 100)
	for i := 1; i <= n; i++ {
		s.publish(name, fmt.Sprintf("%d%s", i, word))
		s.settle()
	}
	c.allow(-1)
	s.settle()
	return c.lines()
}

// Where the rule is to conflate, a slow client ends with the newest, and is
// told what it did not get.
func TestSlowConflates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c, fine := s.connect(""), s.connect("")
		c.subscribe("newest:x")
		fine.subscribe("newest:x")
		lines := slowly(s, c, "newest:x", 500)
		n, at := notice(t, lines)
		if n.Channel != "newest:x" || n.Rule != "conflate" || n.Skipped < 400 || int(n.To-n.From)+1 != n.Skipped || n.To != 499 {
			t.Errorf("told %+v", n)
		}
		got := data(lines)
		if len(got) != 500-n.Skipped || !strings.HasPrefix(got[len(got)-1], "500x") || at != len(lines)-2 {
			t.Errorf("%d came, with the notice at %d of %d", len(got), at, len(lines))
		}
		if len(data(fine.lines())) != 500 {
			t.Error("the other did not get all")
		}
		// Afterwards all is as before.
		s.publish("newest:x", "a", "b", "c")
		c.gets(t, "a", "b", "c")
		if n := s.metrics.Slow("conflate").Value(); n != 1 {
			t.Errorf("applied %d times", n)
		}
	})
}

// Where the rule is to drop the oldest, what is left is without a gap, and the
// client knows where the hole is and can read it.
func TestSlowDropsOldest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		c.subscribe("oldest:x")
		lines := slowly(s, c, "oldest:x", 500)
		n, at := notice(t, lines)
		got := data(lines)
		if n.Rule != "drop_oldest" || len(got)+n.Skipped != 500 || len(got) < 10 || len(got) > 60 {
			t.Errorf("told %+v, got %d", n, len(got))
		}
		behind := data(lines[at:])
		for i, d := range behind {
			if want := strconv.Itoa(int(n.To)+1+i) + "x"; !strings.HasPrefix(d, want) {
				t.Fatalf("%q is behind the notice %+v", d[:10], n)
			}
		}
		if dropped := s.metrics.Namespace("oldest").Dropped.Value(); int(dropped) != n.Skipped {
			t.Errorf("%d dropped", dropped)
		}
	})
}

// Where the rule is to subscribe again, the client hears so when it can, and
// its position is exact.
func TestSlowResyncs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		c.subscribe("again:x")
		lines := slowly(s, c, "again:x", 500)
		got := data(lines)
		if lines[len(lines)-1] != "unsub again:x 2550" || len(got) != len(lines)-1 || len(got) > 60 {
			t.Fatalf("%d came, the last is %s", len(got), lines[len(lines)-1])
		}
		r := hub.SubscribeRequest{Channel: "again:x", Recover: true, Since: channel.Position{Offset: uint64(len(got))}}
		if err := c.join(r); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if again := data(c.lines()); len(again) != 500-len(got) || !strings.HasPrefix(again[0], strconv.Itoa(len(got)+1)+"x") {
			t.Errorf("%d came then", len(again))
		}
	})
}

// On one connection each channel lives by its own rule; the mildest that makes
// room is applied.
func TestSlowRulesMix(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		for _, name := range []string{"log:x", "newest:x", "oldest:x"} {
			c.subscribe(name)
		}
		c.allow(0)
		word := strings.Repeat("x", 100)
		for i := range 200 {
			for _, name := range []string{"newest:x", "oldest:x"} {
				s.publish(name, word)
			}
			if i%20 == 0 {
				s.publish("log:x", strconv.Itoa(i))
			}
			s.settle()
		}
		c.allow(-1)
		s.settle()
		var log []string
		for _, l := range c.lines() {
			if strings.HasPrefix(l, "pub log:x") {
				log = append(log, l)
			}
		}
		if len(log) != 10 || c.closed() {
			t.Errorf("%d of 10 came, closed: %v", len(log), c.closed())
		}
	})
}

// What is urgent goes before what waits; replies keep their place in their
// channel.
func TestLanesOfASlowClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		for _, name := range []string{"bulk:x", "deep:x", "alarm:x"} {
			c.subscribe(name)
		}
		c.allow(0)
		s.publish("deep:x", "cut")
		s.settle()
		s.publish("bulk:x", "b1", "b2")
		s.publish("deep:x", "o1")
		s.settle()
		s.publish("alarm:x", "a1")
		s.settle()
		c.Send([]byte("reply\n"))
		c.UnsubscribeSaying("bulk:x", []byte("gone\n"))
		c.allow(-1)
		s.settle()
		var order []string
		for _, l := range c.lines() {
			order = append(order, l[strings.LastIndexByte(l, ' ')+1:])
		}
		if want := []string{"cut", "reply", "a1", "o1", "b1", "b2", "gone"}; !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
	})
}

// In one round too, where nobody is behind.
func TestLanesOfOneRound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		for _, name := range []string{"bulk:x", "deep:x", "alarm:x"} {
			c.subscribe(name)
		}
		release := s.hold()
		before := c.writes()
		s.publish("bulk:x", "b1")
		s.publish("deep:x", "o1")
		s.publish("alarm:x", "a1")
		release()
		c.gets(t, "a1", "o1", "b1")
		if n := c.writes() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// Alarms have room of their own: a queue full of others does not end them, and
// they are never dropped. Too many of them end the session.
func TestAlarmsHaveTheirOwnRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		c := s.connect("")
		c.subscribe("oldest:x")
		c.subscribe("alarm:x")
		c.allow(0)
		word := strings.Repeat("x", 100)
		for i := range 100 {
			s.publish("oldest:x", word)
			if i%20 == 0 {
				s.publish("alarm:x", "alarm "+strconv.Itoa(i))
			}
			s.settle()
		}
		c.allow(-1)
		s.settle()
		var alarms []string
		for _, d := range data(c.lines()) {
			if strings.HasPrefix(d, "alarm") {
				alarms = append(alarms, d)
			}
		}
		if len(alarms) != 5 {
			t.Errorf("got %q", alarms)
		}
		c.allow(0)
		for range 100 {
			s.publish("alarm:x", word)
			s.settle()
		}
		if s.hub.Connections() != 0 || s.metrics.Limit("alarm_queue").Value() == 0 {
			t.Error("still there")
		}
	})
}

// gauged is a wire that can tell how much bulk it takes.
type gauged struct {
	*wire
	room atomic.Int64
}

func (g *gauged) Room() int { return int(g.room.Load()) }

// Bulk waits for room, the others do not; when there is too much of it for its
// queue it is let through rather than the client sent away.
func TestBulkWaitsForRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, rules)
		g := &gauged{}
		c := s.connectAs(nobody(), func(o *hub.SessionOptions) {
			g.wire, _ = o.Conn.(*wire)
			o.Conn = g
		})
		for _, name := range []string{"bulk:x", "deep:x"} {
			c.subscribe(name)
		}
		s.publish("bulk:x", "b1", "b2")
		s.publish("deep:x", "o1")
		c.gets(t, "o1")
		wait(time.Second)
		c.gets(t)
		g.room.Store(1)
		wait(time.Second)
		c.gets(t, "b1", "b2")
		g.room.Store(0)
		word := strings.Repeat("x", 100)
		for range 200 {
			s.publish("bulk:x", word)
			s.settle()
		}
		if n := len(data(c.lines())); n < 100 || s.hub.Connections() != 1 {
			t.Errorf("%d came, %d connections", n, s.hub.Connections())
		}
	})
}

// A model of slow clients: whatever the rules and the pace, what comes of a
// channel is in order and once; of keyed channels everybody ends with the
// newest of each key; where something was left out the client was told.
func TestSlowModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) { slowModel(t, rt) })
	})
}

func slowModel(t *testing.T, rt *rapid.T) {
	s := newStage(t, nil, rules)
	defer s.takeDown()
	names := []string{"log:x", "state:x", "oldest:x", "again:x", "alarm:x", "bulk:x"}
	c := s.connect("")
	last := map[string]uint64{}
	live := map[string]bool{}
	entered := map[string]bool{} // it has a position, if only that of the beginning
	knows := map[string]string{}
	truth := map[string]string{}
	enter := func(name string) {
		r := hub.SubscribeRequest{Channel: name, Recover: entered[name], Since: channel.Position{Offset: last[name]}}
		if err := c.join(r); err != nil && !errors.Is(err, channel.ErrAlreadySubscribed) {
			rt.Fatal(err)
		}
		entered[name] = true
	}
	take := func() {
		for _, l := range c.lines() {
			w := strings.SplitN(l, " ", 6)
			switch w[0] {
			case "ok":
				live[w[1]] = true
			case "unsub":
				live[w[1]] = false
			case "pub":
				offset, err := strconv.ParseUint(w[3], 10, 64)
				if err != nil || offset <= last[w[1]] || !live[w[1]] {
					rt.Fatalf("%q came at %d, live %v", l[:40], last[w[1]], live[w[1]])
				}
				if prev, _ := strconv.ParseUint(w[4], 10, 64); prev != last[w[1]] && (w[1] == "log:x" || w[1] == "alarm:x" || w[1] == "bulk:x" || w[1] == "again:x") {
					rt.Fatalf("%s: %d came after %d", w[1], offset, last[w[1]])
				}
				last[w[1]] = offset
				if key, _, ok := strings.Cut(w[5], "="); ok && w[1] == "state:x" {
					knows[key] = w[5]
				}
			}
		}
	}
	fresh := func() {
		c = s.connect("")
		clear(live)
		for _, name := range names {
			enter(name)
		}
	}
	for _, name := range names {
		enter(name)
	}
	s.settle()
	take()
	for i := range rapid.IntRange(1, 100).Draw(rt, "steps") {
		switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
		case what == 0:
			c.allow(0)
		case what == 1:
			c.allow(rapid.IntRange(1, 3000).Draw(rt, "room"))
		case what == 2:
			c.allow(-1)
		case what <= 5:
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			truth[key] = fmt.Sprintf("%s=%d%s", key, i, strings.Repeat("x", rapid.IntRange(0, 500).Draw(rt, "size")))
			s.put("state:x", key, truth[key])
		default:
			name := rapid.SampledFrom([]string{"log:x", "oldest:x", "again:x", "alarm:x", "bulk:x"}).Draw(rt, "name")
			for range rapid.IntRange(1, 5).Draw(rt, "n") {
				s.publish(name, strings.Repeat("x", rapid.IntRange(1, 500).Draw(rt, "size")))
			}
		}
		s.settle()
		take()
		if s.hub.Connections() == 0 {
			c.allow(-1)
			wait(6 * time.Second)
			take()
			fresh()
		}
	}
	c.allow(-1)
	s.settle()
	take()
	for _, name := range names {
		if !live[name] {
			enter(name)
		}
	}
	s.settle()
	take()
	if !maps.Equal(knows, truth) {
		rt.Fatalf("it knows %q, it is %q", slices.Sorted(maps.Values(knows)), slices.Sorted(maps.Values(truth)))
	}
}
