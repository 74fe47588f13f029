package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/filter"
	"myelin/hub"
)

// stateStage is a stage with three namespaces of entries: state by key, table
// by score, own where users write their own keys.
func stateStage(t testing.TB, e channel.Engine, change func(o *hub.Options)) *stage {
	t.Helper()
	s := newStage(t, e, func(o *hub.Options) {
		for _, name := range []string{"state", "table", "own", "small"} {
			ns := *o.Namespaces["log"]
			ns.Policy = &channel.Policy{Namespace: name, Kind: channel.KindState, HistorySize: 20}
			ns.ByScore, ns.OwnKeys = name == "table", name == "own"
			if name == "small" {
				ns.Policy.MaxKeys = 3
			}
			o.Namespaces[name] = &ns
		}
		if change != nil {
			change(o)
		}
	})
	s.form.keyed = true
	return s
}

// set puts an entry in the server's name, or removes it where data is "".
func (s *stage) set(name, key, data string) channel.Ack {
	s.t.Helper()
	ack, err := s.hub.SetEntry(context.Background(), hub.EntryRequest{Channel: name, Key: key, Data: []byte(data), Remove: data == ""})
	if err != nil {
		s.t.Fatal(err)
	}
	return ack
}

// view is the entries of a channel as a client has them.
type view map[string]string

// apply takes a publication as pubLine of a keyed form writes it.
func (v view) apply(line string) {
	f := strings.SplitN(line, " ", 7)
	key, data := f[5], f[6]
	if op, rest, _ := strings.Cut(key, "="); op == "del" {
		delete(v, rest)
	} else {
		v[rest] = data
	}
}

// follow makes a map client of c: it reads pages, then hears of changes.
func (c *client) follow(name string, limit int) (view, error) {
	v := view{}
	r := hub.StateRequest{Subscribe: hub.SubscribeRequest{Channel: name}, Limit: limit}
	for {
		page, err := c.SubscribeState(context.Background(), r)
		if errors.Is(err, channel.ErrUnrecoverable) && r.Cursor != "" {
			r.Cursor, v = "", view{}
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range page.Entries {
			v.apply(pubLineOf(p, true))
		}
		if r.Cursor = page.Next; r.Cursor != "" {
			continue
		}
		for _, p := range page.Live.Publications {
			v.apply(pubLineOf(p, true))
		}
		page.Live.Live(nil)
		return v, nil
	}
}

// update applies what c has heard.
func (c *client) update(v view) {
	c.s.settle()
	for _, l := range c.lines() {
		if strings.HasPrefix(l, "pub ") {
			v.apply(l)
		}
	}
}

func (s *stage) entries(name string) view {
	s.t.Helper()
	v := view{}
	r := hub.ListRequest{Channel: name}
	for {
		page, err := s.hub.Entries(context.Background(), r)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range page.Items {
			v.apply(pubLineOf(p, true))
		}
		if r.Cursor = page.Next; r.Cursor == "" {
			return v
		}
	}
}

func (s *stage) same(who string, got, want view) {
	s.t.Helper()
	if !maps.Equal(got, want) {
		s.t.Fatalf("%s has %v\nwant %v", who, got, want)
	}
}

// TestStateJoins has clients of both kinds come to channels that are empty,
// full, and gone.
func TestStateJoins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		plain, mapped := s.connect("p"), s.connect("m")
		if err := plain.join(hub.SubscribeRequest{Channel: "state:x"}); err != nil {
			t.Fatal(err)
		}
		v, err := mapped.follow("state:x", 2)
		if err != nil || len(v) != 0 {
			t.Fatalf("an empty channel gives %v, %v", v, err)
		}
		plain.gets(t)
		for i := range 5 {
			s.set("state:x", fmt.Sprint("k", i), strconv.Itoa(i))
		}
		s.set("state:x", "k1", "11")
		s.set("state:x", "k3", "")
		want := view{"k0": "0", "k1": "11", "k2": "2", "k4": "4"}
		mapped.update(v)
		s.same("who was there", v, want)
		late := s.connect("l")
		got, err := late.follow("state:x", 3)
		if err != nil {
			t.Fatal(err)
		}
		s.same("who came late", got, want)
		latePlain := s.connect("lp")
		sn, err := latePlain.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "state:x"})
		if err != nil || !sn.Whole {
			t.Fatalf("%+v, %v", sn, err)
		}
		got = view{}
		for _, p := range sn.Publications {
			got.apply(pubLineOf(p, true))
		}
		sn.Live(nil)
		s.same("who came late, without pages", got, want)
		s.set("state:x", "k9", "9")
		latePlain.update(got)
		want["k9"] = "9"
		s.same("who came late, then", got, want)
		s.same("the engine", s.entries("state:x"), want)
	})
}

// TestPagesAreOfOneMoment changes what was read and what is to be read.
func TestPagesAreOfOneMoment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		for i := range 10 {
			s.set("state:x", strconv.Itoa(i), "old")
		}
		c := s.connect("")
		ask := func(cursor string) (*hub.StatePage, error) {
			return c.SubscribeState(context.Background(), hub.StateRequest{
				Subscribe: hub.SubscribeRequest{Channel: "state:x"}, Cursor: cursor, Limit: 4,
			})
		}
		first, err := ask("")
		if err != nil {
			t.Fatal(err)
		}
		s.set("state:x", "0", "new")
		s.set("state:x", "9", "")
		s.set("state:x", "5", "new")
		s.set("state:x", "05", "new")
		second, err := ask(first.Next)
		if err != nil {
			t.Fatal(err)
		}
		last, err := ask(second.Next)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, page := range []*hub.StatePage{first, second, last} {
			for _, p := range page.Entries {
				keys = append(keys, p.Key+string(p.Data))
			}
		}
		if want := "0old 1old 2old 3old 4old 5old 6old 7old 8old 9old"; strings.Join(keys, " ") != want {
			t.Errorf("the pages hold %q, want %q", keys, want)
		}
		var then []string
		for _, p := range last.Live.Publications {
			then = append(then, pubLineOf(p, true)[len("pub state:x "):])
		}
		slices.Sort(then)
		if len(then) != 4 {
			t.Errorf("and then %q", then)
		}
		last.Live.Live(nil)
		s.set("state:x", "8", "new")
		c.gets(t, "put=8 new")
	})
}

// TestCursorsOfOthers refuses cursors that are made up, of another channel or
// session, or too old.
func TestCursorsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		for i := range 10 {
			s.set("state:x", strconv.Itoa(i), "x")
			s.set("state:y", strconv.Itoa(i), "y")
		}
		a, b := s.connect("a"), s.connect("b")
		ask := func(c *client, name, cursor string) (*hub.StatePage, error) {
			return c.SubscribeState(context.Background(), hub.StateRequest{
				Subscribe: hub.SubscribeRequest{Channel: name}, Cursor: cursor, Limit: 3,
			})
		}
		page, err := ask(a, "state:x", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, cursor := range []string{"x", ".", "1.", ".1", "-1.-1", page.Next + "0000", strings.Repeat("9", 5000)} {
			if _, err := ask(a, "state:x", cursor); !errors.Is(err, channel.ErrBadRequest) && !errors.Is(err, channel.ErrUnrecoverable) {
				t.Errorf("cursor %.20q: %v", cursor, err)
			}
		}
		if _, err := ask(a, "state:y", page.Next); !errors.Is(err, channel.ErrUnrecoverable) {
			t.Errorf("a cursor of another channel: %v", err)
		}
		if _, err := ask(b, "state:x", page.Next); !errors.Is(err, channel.ErrUnrecoverable) {
			t.Errorf("a cursor of another session: %v", err)
		}
		wait(2 * time.Minute)
		if _, err := ask(a, "state:x", page.Next); !errors.Is(err, channel.ErrUnrecoverable) {
			t.Errorf("a cursor of long ago: %v", err)
		}
		if n := s.metrics.Limit("state_snapshots").Value(); n != 1 {
			t.Errorf("%d snapshots are counted as given up", n)
		}
		for i := range 40 {
			name := fmt.Sprint("state:", i)
			for k := range 4 {
				s.set(name, strconv.Itoa(k), "x")
			}
			_, err = ask(a, name, "")
		}
		if !errors.Is(err, channel.ErrTooManyRequests) {
			t.Errorf("40 snapshots at a time: %v", err)
		}
	})
}

// TestFiltersOfEntries holds that a filter is for snapshots as for changes, and
// that who saw an entry hears of its end.
func TestFiltersOfEntries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		tagged := func(key, tag string) {
			r := hub.EntryRequest{Channel: "state:x", Key: key, Data: []byte("x"), Tags: map[string]string{"to": tag}}
			if _, err := s.hub.SetEntry(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 6 {
			tagged(strconv.Itoa(i), []string{"ann", "bob"}[i%2])
		}
		f, err := filter.Parse([]byte(`{"key":"to","cmp":"eq","val":"ann"}`), filter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		plain, c := s.connect("p"), s.connect("m")
		sn, err := plain.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "state:x", Filter: f})
		if err != nil || len(sn.Publications) != 3 {
			t.Fatalf("without pages %+v, %v", sn, err)
		}
		sn.Live(nil)
		r := hub.StateRequest{Subscribe: hub.SubscribeRequest{Channel: "state:x", Filter: f}, Limit: 4}
		first, err := c.SubscribeState(context.Background(), r)
		if err != nil || len(first.Entries) != 2 {
			t.Fatalf("the first page is %+v, %v", first, err)
		}
		s.set("state:x", "0", "")
		s.set("state:x", "1", "")
		tagged("2", "bob")
		r.Cursor = first.Next
		last, err := c.SubscribeState(context.Background(), r)
		if err != nil || len(last.Entries) != 1 {
			t.Fatalf("the last page is %+v, %v", last, err)
		}
		v := view{"0": "x", "2": "x", "4": "x"}
		for _, p := range last.Live.Publications {
			v.apply(pubLineOf(p, true))
		}
		s.same("who read pages", v, view{"4": "x"})
		last.Live.Live(nil)
		s.set("state:x", "3", "")
		s.set("state:x", "4", "")
		c.gets(t, "del=4 ")
		plain.gets(t, "del=0 ", "del=2 ", "del=4 ")
	})
}

// TestEntriesLeaveSight holds that who saw an entry is told that it ended when it
// gets other tags, and who did not see it is not, whatever he sees of ends.
func TestEntriesLeaveSight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, func(o *hub.Options) { o.Namespaces["state"].TagKeys = true })
		tagged := func(key, tag string) {
			r := hub.EntryRequest{Channel: "state:x", Key: key, Data: []byte("x"), Tags: map[string]string{"to": tag}}
			if _, err := s.hub.SetEntry(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		tagged("1", "ann")
		ann, bob, all, ends := s.connect("ann"), s.connect("bob"), s.connect("all"), s.connect("ends")
		for c, f := range map[*client]*filter.Filter{ann: is(t, "to", "ann"), bob: is(t, "to", "bob"), all: nil, ends: is(t, hub.TagRemoved, "true")} {
			if err := c.join(hub.SubscribeRequest{Channel: "state:x", Filter: f}); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		for _, c := range []*client{ann, bob, all, ends} {
			c.lines()
		}
		tagged("1", "bob")
		tagged("1", "bob")
		tagged("1", "ann")
		s.set("state:x", "1", "")
		ann.gets(t, "del=1 ", "put=1 x", "del=1 ")
		bob.gets(t, "put=1 x", "put=1 x", "del=1 ")
		all.gets(t, "put=1 x", "put=1 x", "put=1 x", "del=1 ")
		ends.gets(t, "del=1 ")
	})
}

// TestFilterOfTheTokenIsForAllPages holds that who leaves out the token after
// the first page gets no more for it.
func TestFilterOfTheTokenIsForAllPages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		for i := range 6 {
			r := hub.EntryRequest{
				Channel: "state:x", Key: strconv.Itoa(i), Data: []byte("x"), Tags: map[string]string{"site": []string{"a", "b"}[i%2]},
			}
			if _, err := s.hub.SetEntry(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		limit := auth.SubOptions{Filter: is(t, "site", "a")}
		for name, first := range map[string]hub.SubscribeRequest{
			"token":  {Channel: "state:x", Grant: &auth.Grant{Channel: "state:x", SubOptions: limit}},
			"server": {Channel: "state:x", Granted: true, Options: limit},
		} {
			c := s.connect(name)
			r := hub.StateRequest{Subscribe: first, Limit: 1}
			var keys strings.Builder
			for {
				page, err := c.SubscribeState(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range page.Entries {
					keys.WriteString(p.Key)
				}
				if page.Live != nil {
					page.Live.Live(nil)
					break
				}
				r = hub.StateRequest{Subscribe: hub.SubscribeRequest{Channel: "state:x"}, Cursor: page.Next, Limit: 1}
			}
			if keys.String() != "024" {
				t.Errorf("%s: the pages have the keys %q, want those of site a", name, keys.String())
			}
		}
	})
}
