package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/hub"
)

// shown is a Form that shows how an event came: by which name, as what shape.
type shown struct{ calls atomic.Int64 }

func (f *shown) AppendEvent(dst []byte, e *hub.Event) []byte {
	f.calls.Add(1)
	name := e.Channel
	if e.ID != 0 {
		name = "#" + strconv.FormatInt(e.ID, 10)
	}
	switch e.Kind {
	case hub.EventPublication:
		how := "plain"
		switch {
		case e.Base != nil:
			how, e.Saved = fmt.Sprintf("patch to %s", e.Base.Data), 10
		case e.Delta:
			how = "full"
		}
		return fmt.Appendf(dst, "%s: %s (%s)\n", name, e.Pub.Data, how)
	case hub.EventJoin:
		return fmt.Appendf(dst, "%s: join\n", name)
	case hub.EventUnsubscribed:
		return fmt.Appendf(dst, "%s: unsub %d\n", name, e.Code)
	case hub.EventPassed:
		return fmt.Appendf(dst, "%s: passed %d\n", name, e.Pub.Offset)
	default:
		return dst
	}
}

func keep(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse([]byte(text), filter.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// is matches the publications whose tag has a value.
func is(t testing.TB, tag, value string) *filter.Filter {
	return keep(t, fmt.Sprintf(`{"key":%q,"cmp":"eq","val":%q}`, tag, value))
}

// tagged publishes texts of which each is its own tags: "a=1,b=2".
func (s *stage) tagged(name string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		tags := make(map[string]string)
		for pair := range strings.SplitSeq(text, ",") {
			k, v, _ := strings.Cut(pair, "=")
			tags[k] = v
		}
		if _, err := s.hub.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte(text), Tags: tags}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// choosy joins a channel and returns what it was granted.
func (c *client) choosy(r hub.SubscribeRequest) *hub.Subscription {
	c.s.t.Helper()
	sn, err := c.Subscribe(context.Background(), r)
	if err != nil {
		c.s.t.Fatal(err)
	}
	sn.Live(nil)
	c.s.settle()
	return sn
}

// shows fails unless the lines that came are these.
func (c *client) shows(want ...string) {
	c.s.t.Helper()
	c.s.settle()
	if got := c.lines(); !slices.Equal(got, want) {
		c.s.t.Fatalf("got %q\nwant %q", got, want)
	}
}

func texts(pubs []*channel.Publication) []string {
	var out []string
	for _, p := range pubs {
		out = append(out, string(p.Data))
	}
	return out
}

func TestFilterOfTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		plain, red, alsoRed := s.connect("p"), s.connect("r"), s.connect("s")
		plain.subscribe("log:x")
		red.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "c", "red")})
		alsoRed.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: keep(t, `{"key":"c","cmp":"in","vals":["red"]}`)})
		s.tagged("log:x", "c=red", "c=blue", "c=red,n=2")
		plain.gets(t, "c=red", "c=blue", "c=red,n=2")
		red.gets(t, "c=red", "c=red,n=2")
		alsoRed.gets(t, "c=red", "c=red,n=2")
		if n := s.metrics.Namespace("log").Filtered.Value(); n != 2 {
			t.Errorf("%d publications filtered", n)
		}
	})
}

// TestFiltersTogether: what the filters of a client take is bounded, one that is
// asked for again takes nothing, and one that is gone gives its room back.
func TestFiltersTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.FilterBytes = 100 })
		c := s.connect("c")
		long := func(value string) *filter.Filter { return is(t, "c", strings.Repeat(value, 40)) }
		for _, name := range []string{"log:a", "log:b", "log:c"} {
			c.choosy(hub.SubscribeRequest{Channel: name, Filter: long("x")})
		}
		c.choosy(hub.SubscribeRequest{Channel: "log:plain"})
		ask := hub.SubscribeRequest{Channel: "log:d", Filter: long("y")}
		if _, err := c.Subscribe(t.Context(), ask); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a second filter: %v", err)
		}
		if n := s.metrics.Limit("filter_bytes").Value(); n != 1 {
			t.Errorf("%d hits of the limit", n)
		}
		for _, name := range []string{"log:a", "log:b", "log:c"} {
			if err := c.Unsubscribe(name); err != nil {
				t.Fatal(err)
			}
		}
		c.choosy(ask)
	})
}

// TestFilteredIsNotBehind: what a subscription was not for is no gap.
func TestFilteredIsNotBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		red, private := s.connect("r"), s.connectAs(nobody(), func(o *hub.SessionOptions) {
			o.Form, o.Private = &shown{}, true
		})
		paced := s.connect("p")
		red.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "c", "red")})
		private.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "c", "red")})
		paced.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "c", "red"), Rate: 1})
		s.tagged("log:x", "c=red", "c=blue")
		wait(time.Minute) // the position is checked
		red.gets(t, "c=red")
		paced.gets(t, "c=red")
		private.shows("log:x: c=red (plain)")
		if n := s.metrics.Namespace("log").PositionFailures.Value(); n != 0 {
			t.Errorf("%d subscriptions were found behind", n)
		}
	})
}

func TestFilteredRecovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		var seen channel.Position
		for _, c := range []string{"red", "blue"} {
			seen = s.publish("log:x", c)
		}
		s.tagged("log:x", "c=red,n=1", "c=blue,n=2", "c=red,n=3", "c=blue,n=4")
		c := s.connect("r")
		sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{
			Channel: "log:x", Recover: true, Since: seen, Filter: is(t, "c", "red"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(sn.Publications); !sn.Recovered || !slices.Equal(got, []string{"c=red,n=1", "c=red,n=3"}) {
			t.Errorf("recovered %v %q", sn.Recovered, got)
		}
		if sn.Position.Offset != seen.Offset+4 {
			t.Errorf("stands at %d", sn.Position.Offset)
		}
		s.tagged("log:x", "c=blue,n=5", "c=red,n=6") // while it waits
		sn.Live(nil)
		c.gets(t, "c=red,n=6")
		_ = c.Unsubscribe("log:x")
		last := c.choosy(hub.SubscribeRequest{Channel: "log:x", Last: true, Filter: is(t, "c", "blue")})
		if got := texts(last.Publications); !slices.Equal(got, []string{"c=blue,n=5"}) {
			t.Errorf("last %q", got)
		}
	})
}

// sighted is an identity whose connection token lets it see one value.
func sighted(t testing.TB, name, tag, value string) *auth.Identity {
	return &auth.Identity{User: "u", Subs: map[string]auth.SubOptions{name: {Filter: is(t, tag, value)}}}
}

// TestTokensFilterCannotBeWidened tries every way to what a channel holds.
func TestTokensFilterCannotBeWidened(t *testing.T) {
	byCap := func(t *testing.T) *auth.Identity {
		return &auth.Identity{User: "u", Caps: []auth.Capability{{
			Channels: []string{"log:*"}, Match: auth.MatchWildcard, Allow: []string{"sub", "hst"}, Filter: is(t, "site", "a"),
		}}}
	}
	grant := func(t *testing.T) *auth.Grant {
		return &auth.Grant{Channel: "log:x", SubOptions: auth.SubOptions{Filter: is(t, "site", "a")}}
	}
	for name, c := range map[string]struct {
		who *auth.Identity
		req hub.SubscribeRequest
	}{
		"subs":         {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{}},
		"capability":   {byCap(t), hub.SubscribeRequest{}},
		"grant":        {&auth.Identity{User: "u"}, hub.SubscribeRequest{Grant: grant(t)}},
		"both":         {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Grant: grant(t)}},
		"a wider wish": {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Filter: keep(t, `{"key":"site","cmp":"ex"}`)}},
		"granted":      {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Granted: true}},
		"patches":      {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Delta: true}},
		"conflated":    {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Rate: 100}},
		"with last":    {sighted(t, "log:x", "site", "a"), hub.SubscribeRequest{Last: true}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, nil)
				start := s.publish("log:x", "begin")
				s.tagged("log:x", "site=a,n=1", "site=b,n=2")
				client := s.connectAs(c.who, nil)
				c.req.Channel, c.req.Recover, c.req.Since = "log:x", !c.req.Last, start
				sn := client.choosy(c.req)
				s.tagged("log:x", "site=b,n=3", "site=a,n=4")
				wait(time.Second)
				got := append(texts(sn.Publications), data(client.lines())...)
				if want := []string{"site=a,n=1", "site=a,n=4"}; !slices.Equal(got, want) {
					t.Errorf("got %q", got)
				}
				for _, reverse := range []bool{false, true} {
					h, err := client.History(context.Background(), hub.HistoryRequest{Channel: "log:x", Limit: -1, Reverse: reverse})
					if err != nil {
						t.Fatal(err)
					}
					got := texts(h.Pubs)
					slices.Sort(got)
					if !slices.Equal(got, []string{"site=a,n=1", "site=a,n=4"}) {
						t.Errorf("history %q", got)
					}
				}
			})
		})
	}
}

// TestWishNarrows: the client's filter counts too, but not for history, which
// it has not asked to be filtered.
func TestWishNarrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connectAs(sighted(t, "log:x", "site", "a"), nil)
		c.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "kind", "alarm")})
		s.tagged("log:x", "site=a,kind=alarm", "site=a,kind=note", "site=b,kind=alarm")
		c.gets(t, "site=a,kind=alarm")
		h, err := c.History(context.Background(), hub.HistoryRequest{Channel: "log:x", Limit: -1})
		if got := texts(h.Pubs); err != nil || len(got) != 2 {
			t.Errorf("history %q %v", got, err)
		}
	})
}

func TestRefreshMovesTheFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["log"].Delta = true })
		who := sighted(t, "log:x", "site", "a")
		c := s.connectAs(who, nil)
		c.choosy(hub.SubscribeRequest{Channel: "log:x"})
		patched := s.connectAs(&auth.Identity{User: "u"}, func(o *hub.SessionOptions) { o.Form = &shown{} })
		patched.choosy(hub.SubscribeRequest{Channel: "log:x", Delta: true})
		s.tagged("log:x", "site=a,n=1", "site=b,n=1")
		c.gets(t, "site=a,n=1")
		patched.shows("log:x: site=a,n=1 (full)", "log:x: site=b,n=1 (patch to site=a,n=1)")
		for _, site := range []string{"b", "a"} {
			if err := c.Refresh(sighted(t, "log:x", "site", site)); err != nil {
				t.Fatal(err)
			}
			s.tagged("log:x", "site=a,n=2", "site=b,n=2")
			c.gets(t, "site="+site+",n=2")
		}
		// A client that takes patches cannot skip, so it subscribes anew.
		s.settle()
		patched.lines()
		if err := patched.Refresh(who); err != nil {
			t.Fatal(err)
		}
		patched.shows("log:x: unsub 2500")
		// The same by a subscription token.
		d := s.connect("d")
		g := &auth.Grant{Channel: "log:x"}
		d.choosy(hub.SubscribeRequest{Channel: "log:x", Grant: g})
		g = &auth.Grant{Channel: "log:x", SubOptions: auth.SubOptions{Filter: is(t, "site", "b")}}
		if err := d.RefreshSubscription(g); err != nil {
			t.Fatal(err)
		}
		s.tagged("log:x", "site=a,n=3", "site=b,n=3")
		d.gets(t, "site=b,n=3")
	})
}

// TestFilteredHistoryReadsOn: a call finds what it asks for, however far it is.
func TestFilteredHistoryReadsOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Limits.HistoryRead = 10
			o.Namespaces["deep"].Policy.HistorySize = 20_000
		})
		c := s.connectAs(sighted(t, "deep:x", "c", "red"), nil)
		s.tagged("deep:x", "c=red,n=1")
		s.publish("deep:x", numbers(1, 95)...)
		s.tagged("deep:x", "c=red,n=2")
		ask := func(limit int, reverse bool) []string {
			t.Helper()
			h, err := c.History(context.Background(), hub.HistoryRequest{Channel: "deep:x", Limit: limit, Reverse: reverse})
			if err != nil || h.Top.Offset == 0 {
				t.Fatal(h.Top, err)
			}
			return texts(h.Pubs)
		}
		if got := ask(5, false); !slices.Equal(got, []string{"c=red,n=1", "c=red,n=2"}) {
			t.Errorf("got %q", got)
		}
		if got := ask(1, true); !slices.Equal(got, []string{"c=red,n=2"}) {
			t.Errorf("got %q", got)
		}
		if got := ask(-1, true); !slices.Equal(got, []string{"c=red,n=2", "c=red,n=1"}) {
			t.Errorf("got %q", got)
		}
		if got := ask(0, false); len(got) != 0 {
			t.Errorf("got %q", got)
		}
		// But not for ever.
		s.publish("deep:x", numbers(1, 10_100)...)
		since := channel.Position{Offset: 97}
		_, err := c.History(context.Background(), hub.HistoryRequest{Channel: "deep:x", Limit: 1, Since: &since})
		if !errors.Is(err, channel.ErrLimitExceeded) || !strings.Contains(err.Error(), "go on from offset 10097") {
			t.Error(err)
		}
		if s.metrics.Limit("sieved").Value() != 1 {
			t.Error("the limit is not counted")
		}
	})
}

// TestManyFilters has more classes than are looked for one by one come and go.
func TestManyFilters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 59), 30, 80).Draw(rt, "steps")
		bubble(t, func(t *testing.T) {
			s := newStage(t, nil, func(o *hub.Options) { o.Shards = 1 })
			clients := make([]*client, 40)
			in := make(map[int]bool)
			for i := range clients {
				clients[i] = s.connect(strconv.Itoa(i))
				if in[i] = i%4 > 0; in[i] {
					clients[i].choosy(hub.SubscribeRequest{Channel: "live:x", Filter: is(t, "c", strconv.Itoa(i/2))})
				}
			}
			for n, step := range steps {
				i := step % len(clients)
				if in[i] {
					_ = clients[i].Unsubscribe("live:x")
				} else {
					clients[i].choosy(hub.SubscribeRequest{Channel: "live:x", Filter: is(t, "c", strconv.Itoa(i/2))})
				}
				in[i] = !in[i]
				s.settle()
				text := fmt.Sprintf("c=%d,n=%d", i/2, n)
				s.tagged("live:x", text)
				for j, c := range clients {
					if in[j] && j/2 == i/2 {
						c.gets(t, text)
					} else {
						c.gets(t)
					}
				}
			}
		})
	})
}
