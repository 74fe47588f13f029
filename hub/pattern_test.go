package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// patterned has everybody subscribe to patterns of "log" and "live"; "room" is
// for those with a capability for the channel, and only users may have patterns.
func patterned(o *hub.Options) {
	all := auth.NewWhoSet(auth.WhoAnonymous)
	for _, name := range []string{"log", "live", "room"} {
		o.Namespaces[name].Patterns = all
	}
	o.Namespaces["room"].Rules.Subscribe = 0
	o.Namespaces["room"].Patterns = auth.NewWhoSet(auth.WhoUser)
}

// A pattern brings what is published on the channels that it matches, whoever
// else is subscribed, in the order of each, and nothing else.
func TestPatternsBringWhatMatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		temp, all, own := s.connect("ann"), s.connect("bob"), s.connect("cid")
		temp.subscribe("log:*.temp")
		all.subscribe("log:**")
		own.subscribe("log:*.temp")
		own.subscribe("log:a.temp")
		s.publish("log:a.temp", "1")
		s.publish("log:b.temp", "2")
		s.publish("log:a.hum", "3")
		s.publish("log:a.b.temp", "4")
		s.publish("live:a.temp", "5")
		s.publish("log:a.temp", "6")
		temp.gets(t, "1", "2", "6")
		all.gets(t, "1", "2", "3", "4", "6")
		s.settle()
		twice := data(own.lines())
		slices.Sort(twice) // there is no order between subscriptions
		if !slices.Equal(twice, []string{"1", "1", "2", "6", "6"}) {
			t.Errorf("a copy for each subscription, got %q", twice)
		}
		if err := temp.Unsubscribe("log:*.temp"); err != nil {
			t.Fatal(err)
		}
		s.publish("log:a.temp", "7")
		temp.gets(t)
		all.gets(t, "7")
		if found := s.channels("", 10); len(found) != 1 || found["log:a.temp"] != 1 {
			t.Errorf("channels %v", found)
		}
	})
}

// What nothing keeps and nobody subscribes to comes by patterns, too.
func TestPatternsOfEphemeralChannels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		c := s.connect("ann")
		c.subscribe("live:*/**")
		for i := range 20 {
			s.publish(fmt.Sprintf("live:%d/x", i%3), fmt.Sprint(i))
		}
		c.gets(t, numbers(0, 19)...)
	})
}

// A pattern has no position, and no members.
func TestPatternsAreNotRecoverable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		c := s.connect("ann")
		sn, err := c.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:**", Recover: true, Recoverable: true, JoinLeave: true})
		if err != nil || sn.Recoverable || sn.Recovered || !sn.WasRecovering || sn.Position != (channel.Position{}) {
			t.Fatalf("%+v, %v", sn, err)
		}
		// What comes before the reply waits for it.
		s.publish("log:a", "1")
		sn.Live(replyTo("log:**", sn))
		c.gets(t, "1")
		_, err = c.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:*", Last: true})
		if !errors.Is(err, channel.ErrNotAvailable) {
			t.Error(err)
		}
	})
}

func TestBadPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			patterned(o)
			o.Limits.PatternsPerConnection, o.Limits.Patterns = 3, 5
		})
		c := s.connect("ann")
		ask := func(c *client, name string) error { return c.join(hub.SubscribeRequest{Channel: name}) }
		for name, want := range map[string]*channel.Error{
			"log:**.a": channel.ErrBadRequest, "log:a*": channel.ErrBadRequest, "*:a": channel.ErrBadRequest,
			"log:*.*.*.*.*": channel.ErrLimitExceeded, "log:" + strings.Repeat("a.", 20) + "*": channel.ErrLimitExceeded,
			"log:" + strings.Repeat("x", 300) + "*": channel.ErrBadRequest, "none:*": channel.ErrUnknownChannel,
			"closed:*": channel.ErrPermissionDenied, "log:\x00*": channel.ErrBadRequest,
		} {
			if err := ask(c, name); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", name, err, want)
			}
		}
		if n := s.metrics.Limit("pattern_shape").Value(); n != 2 {
			t.Errorf("%d were counted for their shape", n)
		}
		for i := range 5 {
			if i == 3 {
				if err := ask(c, "log:one-more.*"); !errors.Is(err, channel.ErrLimitExceeded) {
					t.Error(err)
				}
				c = s.connect("bob")
			}
			if err := ask(c, fmt.Sprintf("log:%d.*", i)); err != nil {
				t.Fatal(err)
			}
		}
		third := s.connect("cid")
		if err := ask(third, "log:a.*"); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Error(err)
		}
		if err := ask(third, "log:4.*"); err != nil {
			t.Errorf("one that there is: %v", err)
		}
		if a, b := s.metrics.Limit("patterns_per_connection").Value(), s.metrics.Limit("patterns").Value(); a != 1 || b != 1 {
			t.Errorf("counted %d and %d", a, b)
		}
		// A pattern is nothing but a subscription.
		_, published := s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:*", Data: []byte("1")})
		_, read := s.hub.History(t.Context(), hub.HistoryRequest{Channel: "log:**"})
		_, present := s.hub.Presence("room:*")
		for _, err := range []error{published, read, present} {
			if !errors.Is(err, channel.ErrBadRequest) || !strings.Contains(err.Error(), "pattern") {
				t.Error(err)
			}
		}
	})
}

// Where a namespace has no patterns "*" is a character.
func TestStarsWithoutPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["log"].Patterns = auth.NewWhoSet(auth.WhoUser) })
		c := s.connect("ann")
		c.subscribe("short:*")
		s.publish("short:*", "1")
		s.publish("short:a", "2")
		c.gets(t, "1")
	})
}

// capable is a user with capabilities to subscribe.
func capable(user string, wildcards ...string) *auth.Identity {
	return &auth.Identity{User: user, Caps: []auth.Capability{{Channels: wildcards, Allow: []string{"sub"}, Match: auth.MatchWildcard}}}
}

// Of the channels that match a session gets those that it may subscribe to, by
// the token that it has now.
func TestPatternsAreCheckedByChannel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		some := s.connectAs(capable("ann", "room:a*", "room:b"), nil)
		none, every := s.connect("bob"), s.connectAs(capable("cid", "room:**"), nil)
		granted := s.connect("dan")
		for _, c := range []*client{some, none, every} {
			c.subscribe("room:*")
		}
		if err := granted.join(hub.SubscribeRequest{Channel: "room:*", Grant: &auth.Grant{Channel: "room:*"}}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		granted.lines()
		publish := func() {
			for _, name := range []string{"a1", "a2", "b", "c"} {
				s.publish("room:"+name, name)
			}
		}
		for range 3 {
			publish()
			some.gets(t, "a1", "a2", "b")
			none.gets(t)
			every.gets(t, "a1", "a2", "b", "c")
			granted.gets(t, "a1", "a2", "b", "c")
		}
		// More channels than are remembered.
		for i := range 2000 {
			s.publish(fmt.Sprintf("room:a%d", i), "a")
		}
		s.settle()
		if n := len(data(some.lines())); n != 2000 {
			t.Errorf("%d came", n)
		}
		every.lines()
		granted.lines()
		if err := some.Refresh(capable("ann", "room:b", "room:c")); err != nil {
			t.Fatal(err)
		}
		publish()
		some.gets(t, "b", "c")
		anonymous := s.connectAs(nobody(), nil)
		if err := anonymous.join(hub.SubscribeRequest{Channel: "room:*"}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Error(err)
		}
	})
}

// Everything is for those who may have patterns everywhere.
func TestThePatternOfEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			patterned(o)
			for name, ns := range o.Namespaces {
				if name != "log" && name != "room" {
					delete(o.Namespaces, name)
				} else if name == "room" {
					ns.Patterns = auth.NewWhoSet(auth.WhoToken)
				}
			}
		})
		all := s.connectAs(capable("root", "**"), nil)
		all.subscribe("**")
		s.publish("log:a", "1")
		s.publish("room:b", "2")
		all.gets(t, "1", "2")
		for _, id := range []*auth.Identity{{User: "ann"}, capable("bob", "room:a")} {
			if err := s.connectAs(id, nil).join(hub.SubscribeRequest{Channel: "**"}); !errors.Is(err, channel.ErrPermissionDenied) {
				t.Error(err)
			}
		}
	})
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		err := s.connectAs(capable("root", "**"), nil).join(hub.SubscribeRequest{Channel: "**"})
		if !errors.Is(err, channel.ErrNotAvailable) || !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "deep") && !strings.Contains(err.Error(), "short") {
			t.Error(err)
		}
	})
}

// holed is an engine whose watchers can be told of a gap.
type holed struct {
	channel.Engine
	watchers []channel.Watcher
	unwatch  int
}

func (e *holed) Watch(ctx context.Context, p *channel.Policy, w channel.Watcher) error {
	e.watchers = append(e.watchers, w)
	return e.Engine.Watch(ctx, p, w)
}

func (e *holed) Unwatch(p *channel.Policy) {
	e.unwatch++
	e.Engine.Unwatch(p)
}

// Who may have missed something is told to subscribe again, and a namespace is
// watched for as long as there are patterns.
func TestGapsInPatternsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &holed{Engine: memory.New(memory.Options{})}
		s := newStage(t, e, patterned)
		c, server := s.connect("ann"), s.connect("bob")
		c.subscribe("log:*")
		c.subscribe("live:*")
		if _, err := s.hub.Subscribe(t.Context(), hub.Target{User: "bob"}, hub.SubscribeRequest{Channel: "log:a.*"}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		server.lines()
		if len(e.watchers) != 2 {
			t.Fatalf("%d namespaces are watched", len(e.watchers))
		}
		e.watchers[0].Gap()
		s.settle()
		c.wants(t, "unsub log:* 2500")
		server.wants(t, "bye 3010")
		s.publish("log:a", "1")
		c.gets(t)
		if e.unwatch != 1 {
			t.Errorf("%d times unwatched", e.unwatch)
		}
		c.subscribe("log:*")
		s.publish("log:a", "2")
		s.publish("live:a", "3")
		c.gets(t, "2", "3")
	})
}

// A conflated pattern brings the newest of each channel.
func TestConflatedPattern(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		c := s.connect("ann")
		if err := c.join(hub.SubscribeRequest{Channel: "log:*", Rate: 1}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:a", "0")
		s.settle()
		c.lines()
		for i := range 10 {
			s.publish("log:a", fmt.Sprint("a", i))
			s.publish("log:b", fmt.Sprint("b", i))
		}
		wait(3 * time.Second)
		c.gets(t, "a9", "b9")
	})
}

// What has expired is not handed on.
func TestPatternsDropWhatHasExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		c := s.connect("ann")
		c.subscribe("log:*")
		past := time.Now().Add(-time.Second).UnixMilli()
		_, _ = s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte("1"), Expires: past})
		s.publish("log:a", "2")
		c.gets(t, "2")
	})
}

// TestPatternsAtRandom has sessions come, go and change their patterns while
// several publish. Each gets of every channel what was published while it was
// subscribed, in order and once.
func TestPatternsAtRandom(t *testing.T) {
	seed := rand.Uint64()
	bubble(t, func(t *testing.T) { patternsAtRandom(t, rand.New(rand.NewPCG(seed, 1))) })
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

func patternsAtRandom(t *testing.T, random *rand.Rand) {
	s := newStage(t, nil, patterned)
	kinds := []string{"log:*.t", "log:a.*", "log:**", "live:*.t", "log:*.*", "log:a.t"}
	names := []string{"log:a.t", "log:b.t", "log:a.h", "live:a.t", "live:b.h"}
	does := func(pattern, name string) bool {
		switch pattern {
		case "log:*.t":
			return name == "log:a.t" || name == "log:b.t"
		case "log:a.*":
			return strings.HasPrefix(name, "log:a.")
		case "live:*.t":
			return name == "live:a.t"
		case "log:a.t":
			return name == "log:a.t"
		}
		return strings.HasPrefix(name, "log:")
	}
	type member struct {
		c    *client
		kind string
		want []string
	}
	var members []*member
	for i := range 3000 {
		switch what := random.IntN(10); {
		case what == 0 && len(members) < 20:
			m := &member{c: s.connect("u"), kind: kinds[random.IntN(len(kinds))]}
			m.c.subscribe(m.kind)
			members = append(members, m)
		case what == 1 && len(members) > 0:
			at := random.IntN(len(members))
			m := members[at]
			m.c.gets(t, m.want...)
			m.c.Close(hub.DisconnectConnectionClosed)
			members = slices.Delete(members, at, at+1)
		default:
			name := names[random.IntN(len(names))]
			for _, m := range members {
				if does(m.kind, name) {
					m.want = append(m.want, fmt.Sprint(i))
				}
			}
			s.publish(name, fmt.Sprint(i))
		}
	}
	for _, m := range members {
		m.c.gets(t, m.want...)
	}
}

// Patterns hold on two nodes as on one; each has an engine of its own here, so
// what a node publishes is its own.
func TestServerSubscribesToPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, patterned, nil, "a", "b")
		c := w.nodes["b"].connect("ann")
		n, err := w.nodes["a"].hub.Subscribe(t.Context(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "log:*"})
		if n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wait(time.Second)
		c.lines()
		w.nodes["b"].publish("log:x", "1")
		c.gets(t, "1")
		if n, err := w.nodes["a"].hub.Unsubscribe(t.Context(), hub.Target{User: "ann"}, "log:*"); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// A slow client of a namespace that conflates ends with the newest of every
// channel that its pattern matches.
func TestSlowPatternIsConflatedByChannel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			patterned(o)
			o.Namespaces["log"].Slow = hub.SlowConflate
			o.Limits.QueueBytes = 2 << 10
		})
		c := s.connect("ann")
		c.subscribe("log:*")
		c.allow(0)
		for i := range 300 {
			s.publish(fmt.Sprintf("log:%d", i%5), fmt.Sprint(i))
			s.settle()
		}
		c.allow(1 << 20)
		wait(time.Second)
		last := make(map[string]string)
		lines := c.lines()
		for _, l := range lines {
			if f := strings.Fields(l); f[0] == "pub" {
				last[f[1]] = f[5]
			}
		}
		for i := range 5 {
			if got, want := last[fmt.Sprintf("log:%d", i)], fmt.Sprint(295+i); got != want {
				t.Errorf("the newest of log:%d is %q, want %q", i, got, want)
			}
		}
		if n := len(data(lines)); n >= 300 {
			t.Errorf("all %d came, so this shows nothing", n)
		}
	})
}

// What a token filters on a channel it filters on the pattern that matches the
// channel, and on no other channel of it.
func TestEnforcedFiltersHoldForPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, patterned)
		limited := &auth.Identity{User: "ann", Caps: []auth.Capability{
			{Channels: []string{"log:a"}, Allow: []string{"sub"}, Filter: is(t, "who", "ann")},
		}}
		c := s.connectAs(limited, nil)
		asked := s.connectAs(limited, nil)
		c.subscribe("log:*")
		if err := asked.join(hub.SubscribeRequest{Channel: "log:*", Filter: is(t, "kind", "x")}); err != nil {
			t.Fatal(err)
		}
		s.settle()
		asked.lines()
		for i, tags := range []map[string]string{{"who": "ann"}, {"who": "bob"}, {"who": "ann", "kind": "x"}, {"kind": "x"}} {
			for _, name := range []string{"log:a", "log:b"} {
				_, err := s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: name, Data: fmt.Append(nil, name, i), Tags: tags})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		c.gets(t, "log:a0", "log:b0", "log:b1", "log:a2", "log:b2", "log:b3")
		asked.gets(t, "log:a2", "log:b2", "log:b3")
		// With a token that limits nothing it gets all.
		if err := c.Refresh(&auth.Identity{User: "ann"}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:a", "all")
		c.gets(t, "all")
	})
}

// The engine hands patterns the changes of state channels, too.
func TestPatternsOfStateChannels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			patterned(o)
			states(o)
		})
		c := s.connect("ann")
		c.subscribe("state:*")
		s.put("state:a", "k", "1")
		s.put("state:b", "k", "2")
		c.gets(t, "1", "2")
	})
}

// Why a client with a pattern got it, or did not.
func TestExplainPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			patterned(o)
			o.PingInterval = 10 * time.Second
		})
		s.publish("log:x", "1")
		wait(time.Second)
		c, denied := s.connect("ann"), s.connectAs(capable("bob", "room:a"), nil)
		c.subscribe("log:*")
		denied.subscribe("room:*")
		filtered := s.connect("cid")
		if err := filtered.join(hub.SubscribeRequest{Channel: "log:**", Filter: is(t, "kind", "x")}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "2")
		s.publish("room:a", "1")
		s.publish("room:b", "1")
		s.settle()
		s.is(s.why(c, "log:x", 1), hub.VerdictEarlier, "patterns recover nothing")
		s.is(s.why(c, "log:x", 2), hub.VerdictWritten, `by its pattern "log:*"`)
		s.is(s.why(denied, "room:a", 1), hub.VerdictWritten, `by its pattern "room:*"`)
		s.is(s.why(denied, "room:b", 1), hub.VerdictNotSubscribed, "may not subscribe")
		s.is(s.why(filtered, "log:x", 2), hub.VerdictSkipped, "filter")
		wait(15 * time.Second)
		if !c.Pong() {
			t.Fatal("no ping came")
		}
		s.is(s.why(c, "log:x", 2), hub.VerdictReceived, "answered a ping")
	})
}
