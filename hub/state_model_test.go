package hub_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/auth"
	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// stateModel is what state channels should hold, in the simplest words, and the
// clients that have to know it. Of its channels one has no rule for slow
// clients, one is ordered by score and conflates, one holds three keys and has
// slow clients subscribe again.
type stateModel struct {
	*stage
	pick pick
	want map[string]map[string]*modelEntry
	last map[string]*sentOnce
	// changed is when a channel did for the last time.
	changed map[string]time.Time
	all     []*mirror
	serial  int
}

// modelEntry is an entry: until when it lives, and with whom, where that is so.
type modelEntry struct {
	data  string
	red   bool
	score int64
	dies  time.Time
	owner *mirror
}

// sentOnce is a put with an id, and where those put it who have said so; "" is
// the server.
type sentOnce struct {
	request hub.EntryRequest
	at      map[string]channel.Position
	when    time.Time
}

const smallKeys = 3

func newStateModel(t testing.TB, p pick) *stateModel {
	x := &stateModel{pick: p, want: map[string]map[string]*modelEntry{}, last: map[string]*sentOnce{}, changed: map[string]time.Time{}}
	x.stage = stateStage(t, nil, func(o *hub.Options) {
		o.Limits.QueueBytes, o.Limits.AlarmBytes = 4000, 2000
		o.Namespaces["table"].Slow, o.Namespaces["small"].Slow = hub.SlowConflate, hub.SlowResync
	})
	for _, name := range []string{"state:a", "table:b", "small:c"} {
		x.want[name] = map[string]*modelEntry{}
	}
	return x
}

func (x *stateModel) someChannel() string {
	names := slices.Sorted(maps.Keys(x.want))
	return names[x.pick("channel", len(names))]
}

// change puts or removes an entry, in one of the ways there are, in the name
// of the server or of a client.
func (x *stateModel) change(name string) {
	x.serial++
	r := hub.EntryRequest{Channel: name, Key: fmt.Sprint("k", x.pick("key", 8)), If: hub.Condition(x.pick("if", 4))}
	if r.If == hub.IfAt {
		// The one that is there, the one before it, or one of a key without.
		r.At = max(x.offset(name, r.Key), 7) - uint64(x.pick("late", 2))
	}
	if r.Remove = x.pick("remove", 3) == 0; !r.Remove {
		r.Data = fmt.Append(nil, x.serial, strings.Repeat("x", x.pick("size", 2)*300))
		r.Score = int64(x.pick("score", 5))
		if color := x.pick("color", 3); color > 0 {
			r.Tags = map[string]string{"color": []string{"red", "blue"}[color-1]}
		}
		switch x.pick("how", 8) {
		case 0:
			r.TTL = time.Duration(x.pick("ttl", 20))*time.Second + 500*time.Millisecond
		case 1:
			r.If, r.ID = hub.Always, fmt.Sprint("id", x.serial)
		}
	}
	by := x.writer(name)
	r.Leave = by != nil && !r.Remove && r.TTL == 0 && r.ID == "" && x.pick("leave", 2) == 0
	x.put(name, r, by)
}

// writer draws who is to write: a client that follows the channel, or nil for
// the server.
func (x *stateModel) writer(name string) *mirror {
	f := x.some("by", func(f *mirror) bool { return f.sure() && f.name == name })
	if f == nil || x.pick("by a client", 2) != 0 {
		return nil
	}
	return f
}

// put makes a change and holds the answer to what the model says.
func (x *stateModel) put(name string, r hub.EntryRequest, by *mirror) {
	x.t.Helper()
	want := x.want[name]
	old, there := want[r.Key]
	var refused []error
	if r.If == hub.IfNew && there || r.If == hub.IfExists && !there || r.If == hub.IfAt && x.offset(name, r.Key) != r.At {
		refused = append(refused, channel.ErrConflict)
	}
	if !r.Remove && !there && strings.HasPrefix(name, "small:") && len(want) >= smallKeys {
		refused = append(refused, channel.ErrLimitExceeded)
	}
	ack, err := x.set(r, by)
	if len(refused) > 0 {
		if !slices.ContainsFunc(refused, func(e error) bool { return errors.Is(err, e) }) {
			x.t.Fatalf("%.200s where there is %+v: %v, want one of %v", fmt.Sprintf("%+v", r), old, err, refused)
		}
		return
	}
	if err != nil {
		x.t.Fatalf("%+v where there is %+v: %v", r, old, err)
	}
	x.changed[name] = time.Now()
	if r.Remove {
		delete(want, r.Key)
		return
	}
	e := &modelEntry{data: string(r.Data), score: r.Score, red: r.Tags["color"] == "red"}
	if r.Leave {
		e.owner = by
	}
	if r.TTL > 0 {
		e.dies = time.Now().Add(r.TTL)
	}
	want[r.Key] = e
	if r.ID == "" {
		return
	}
	s := x.last[name]
	if s == nil || s.request.ID != r.ID {
		s = &sentOnce{request: r, at: map[string]channel.Position{}, when: time.Now()}
		x.last[name] = s
	}
	s.at[by.user()] = ack.Position
}

func (x *stateModel) set(r hub.EntryRequest, by *mirror) (channel.Ack, error) {
	if by == nil {
		return x.hub.SetEntry(context.Background(), r)
	}
	return by.c.SetEntry(context.Background(), r)
}

// offset is where the entry of a key was put, 0 for none.
func (x *stateModel) offset(name, key string) uint64 {
	page, err := x.hub.Entry(context.Background(), name, key)
	if err != nil {
		x.t.Fatal(err)
	}
	if len(page.Items) == 0 {
		return 0
	}
	return page.Items[0].Offset
}

// again says once more what was said before: nothing comes of it, whichever
// connection of the user's says so, but of what another says with that id.
func (x *stateModel) again() {
	name := x.someChannel()
	s := x.last[name]
	if s == nil || time.Since(s.when) > time.Minute {
		return
	}
	by := x.writer(name)
	first, said := s.at[by.user()]
	if !said {
		x.put(name, s.request, by)
		return
	}
	ack, err := x.set(s.request, by)
	if err != nil || !ack.Duplicate || ack.Position != first {
		x.t.Fatalf("%.200s once more by %q: %+v, %v, the first was at %v", fmt.Sprintf("%+v", s.request), by.user(), ack, err, first)
	}
}

// pass lets time pass, and entries go whose time is over.
func (x *stateModel) pass(d time.Duration) {
	wait(d)
	for name, entries := range x.want {
		maps.DeleteFunc(entries, func(_ string, e *modelEntry) bool {
			over := !e.dies.IsZero() && !time.Now().Before(e.dies)
			if over && e.dies.After(x.changed[name]) {
				x.changed[name] = e.dies
			}
			return over
		})
	}
}

// left takes out what goes with a client.
func (x *stateModel) left(f *mirror) {
	f.in = false
	for name, entries := range x.want {
		maps.DeleteFunc(entries, func(_ string, e *modelEntry) bool {
			if e.owner == f {
				x.changed[name] = time.Now()
			}
			return e.owner == f
		})
	}
}

// truth is what a channel should hold, of all or of only what is red.
func (x *stateModel) truth(name string, onlyRed bool) view {
	v := view{}
	for key, e := range x.want[name] {
		if e.red || !onlyRed {
			v[key] = e.data
		}
	}
	return v
}

// check holds everybody against the model: who reads knows all, whoever else
// what he may.
func (x *stateModel) check() {
	x.settle()
	for i, f := range x.all {
		f.hear()
		if !f.in || !f.free || f.rate > 0 && time.Since(x.changed[f.name]).Seconds() < 1/f.rate+0.01 {
			continue
		}
		x.same(fmt.Sprintf("mirror %d of %s, at rate %v, red %t,", i, f.name, f.rate, f.red != nil), f.v, x.truth(f.name, f.red != nil))
	}
	for name := range x.want {
		x.same("the engine", x.entries(name), x.truth(name, false))
	}
}

// end has everybody read and come back, and holds them to one final state.
func (x *stateModel) end() {
	for len(x.all) < 2 {
		x.come()
	}
	for _, f := range x.all {
		f.read(-1)
	}
	x.settle()
	for _, f := range x.all {
		if f.hear(); !f.in {
			f.back()
		}
	}
	x.pass(2 * time.Second)
	for i, f := range x.all {
		f.hear()
		if !f.in {
			x.t.Fatalf("mirror %d of %s has not come back", i, f.name)
		}
	}
	x.check()
	x.ranking()
}

// ranking holds the list by score to the order that the entries should have.
func (x *stateModel) ranking() {
	want := slices.SortedFunc(maps.Keys(x.want["table:b"]), func(a, b string) int {
		return cmp.Or(cmp.Compare(x.want["table:b"][a].score, x.want["table:b"][b].score), strings.Compare(a, b))
	})
	var got []string
	r := hub.ListRequest{Channel: "table:b", Limit: 1 + x.pick("limit", 9), Scored: true}
	for {
		page, err := x.hub.Entries(context.Background(), r)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, p := range page.Items {
			got = append(got, p.Key)
		}
		if r.Cursor = page.Next; r.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		x.t.Fatalf("by score %q, want %q", got, want)
	}
}

// mass has some clients leave in one moment, however each does, while others
// write.
func (x *stateModel) mass() {
	part := x.pick("part", 4)
	stay := x.all[:0:0]
	var gone []*mirror
	for i, f := range x.all {
		if i%4 == part {
			gone = append(gone, f)
		} else {
			stay = append(stay, f)
		}
	}
	for i, f := range gone {
		switch x.pick("end", 3) {
		case 0:
			f.c.Close(hub.DisconnectConnectionClosed)
		case 1:
			f.c.cut()
			f.c.Close(hub.DisconnectWriteError)
		default:
			if _, err := x.hub.Disconnect(context.Background(), hub.Target{Client: f.c.ID()}, hub.DisconnectForceReconnect, nil); err != nil {
				x.t.Fatal(err)
			}
		}
		if i%2 == 0 {
			x.settle()
		}
	}
	x.settle()
	x.all = stay
	for _, f := range gone {
		x.left(f)
	}
}

// actions are what may happen, by name.
func (x *stateModel) actions() map[string]func() {
	change := func() {
		for name, n := x.someChannel(), 1+x.pick("changes", 4); n > 0; n-- {
			x.change(name)
		}
	}
	return map[string]func(){
		"change": change, "change more": change, "change yet more": change, "say it again": x.again,
		"come": x.come, "one more comes": x.come, "and one more": x.come, "come and go": x.glance, "leave": x.leave, "come back": x.back, "pause": x.pause, "read": x.read,
		"many leave": x.mass, "time passes": func() { x.pass(time.Duration(1+x.pick("seconds", 15)) * time.Second) },
		"user is sent away": x.sendAway, "ranking": x.ranking,
	}
}

// TestStateModel walks at random through everything that can be done to state
// channels, and holds all who follow them to one state after each step.
func TestStateModel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		channeltest.Walks(t, func(t testing.TB, rt *rapid.T) {
			x := newStateModel(t, drawn(rt))
			defer x.takeDown()
			actions := map[string]func(*rapid.T){"": func(*rapid.T) { x.check() }}
			for name, act := range x.actions() {
				actions[name] = func(*rapid.T) { act() }
			}
			rt.Repeat(actions)
			x.end()
		})
	})
}

// TestStateModelAtLength runs 10,000 operations, with clients of all kinds that
// come, go, come back and read slowly, and holds everybody to one final state.
func TestStateModelAtLength(t *testing.T) {
	steps, seeds := 10_000, []uint64{1, rand.Uint64()}
	if raced || testing.Short() {
		steps = 2_000
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := newStateModel(t, random(seed))
				actions := x.actions()
				names := slices.Sorted(maps.Keys(actions))
				for i := range steps {
					if x.pick("what", 10) < 8 {
						x.change(x.someChannel())
					} else {
						actions[names[x.pick("act", len(names))]]()
					}
					if i%20 == 0 {
						x.check()
					}
				}
				x.end()
				t.Logf("%d changes, %d mirrors in the end", x.serial, len(x.all))
			})
		})
	}
}

// identity is that of one of few users, so that some have several connections.
func (x *stateModel) identity() *auth.Identity {
	return &auth.Identity{User: fmt.Sprint("u", x.pick("user", 4))}
}
