package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// TestStateModel runs 10,000 operations at random, with clients of all kinds
// that come, go, come back and read slowly, and holds everybody to one final
// state.
func TestStateModel(t *testing.T) {
	steps, seeds := 10_000, []uint64{1, rand.Uint64()}
	if raced || testing.Short() {
		steps = 2_000
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { stateModel(t, seed, steps) })
		})
	}
}

// mirror is a client of the model and what it has.
type mirror struct {
	c    *client
	name string
	v    view
	at   channel.Position
}

type stateRun struct {
	*stage
	random *rand.Rand
	want   map[string]view
	all    []*mirror
}

func stateModel(t *testing.T, seed uint64, steps int) {
	x := &stateRun{
		stage: stateStage(t, nil, nil), random: rand.New(rand.NewPCG(seed, 1)),
		want: map[string]view{"state:a": {}, "table:b": {}},
	}
	names := slices.Sorted(maps.Keys(x.want))
	for range steps {
		name := names[x.random.IntN(len(names))]
		switch n := x.random.IntN(100); {
		case n < 85:
			x.change(name)
		case n < 90:
			x.come(name)
		case n < 94:
			x.back()
		case n < 97 && len(x.all) > 0:
			i := x.random.IntN(len(x.all))
			x.all[i].c.Close(hub.DisconnectConnectionClosed)
			x.all = slices.Delete(x.all, i, i+1)
		default:
			x.settle()
		}
	}
	wait(time.Second)
	for i, f := range x.all {
		f.hear()
		x.same(fmt.Sprintf("mirror %d of %d of %s", i, len(x.all), f.name), f.v, x.want[f.name])
	}
	for _, name := range names {
		x.same("the engine", x.entries(name), x.want[name])
	}
	if len(x.all) == 0 {
		t.Error("nobody is left to compare")
	}
}

// change puts or removes an entry, in one of the ways there are.
func (x *stateRun) change(name string) {
	want := x.want[name]
	key := fmt.Sprint("k", x.random.IntN(40))
	r := hub.EntryRequest{Channel: name, Key: key, If: hub.Condition(x.random.IntN(3)), Score: int64(x.random.IntN(5))}
	_, there := want[key]
	if r.Remove = x.random.IntN(3) == 0; r.Remove {
		r.Score = 0
	} else {
		r.Data = []byte(strconv.Itoa(x.random.IntN(1000)))
	}
	_, err := x.hub.SetEntry(context.Background(), r)
	if allowed := r.If == hub.Always || there == (r.If == hub.IfExists); !allowed {
		if !errors.Is(err, channel.ErrConflict) {
			x.t.Fatalf("%+v where there is %q: %v", r, want[key], err)
		}
		return
	}
	if err != nil {
		x.t.Fatal(err)
	}
	if r.Remove {
		delete(want, key)
	} else {
		want[key] = string(r.Data)
	}
}

// come has a client follow, by pages or without, with changes among the pages.
func (x *stateRun) come(name string) {
	if len(x.all) > 30 {
		return
	}
	f := &mirror{c: x.connectAs(&auth.Identity{User: "u"}, nil), name: name, v: view{}}
	x.all = append(x.all, f)
	if x.random.IntN(2) == 0 {
		f.join(x, channel.Position{})
		return
	}
	r := hub.StateRequest{Subscribe: hub.SubscribeRequest{Channel: name}, Limit: 1 + x.random.IntN(30), Ascending: x.random.IntN(2) == 0}
	for {
		page, err := f.c.SubscribeState(context.Background(), r)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, p := range page.Entries {
			f.v.apply(pubLineOf(p, true))
		}
		for range x.random.IntN(6) {
			x.change(name)
		}
		if r.Cursor = page.Next; r.Cursor == "" {
			f.begin(page.Live)
			return
		}
	}
}

// join subscribes without pages, from a position where there is one.
func (f *mirror) join(x *stateRun, since channel.Position) {
	sn, err := f.c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: f.name, Recover: !since.IsZero(), Since: since, Recoverable: true})
	if err != nil {
		x.t.Fatal(err)
	}
	if sn.Whole {
		f.v = view{}
	} else if !sn.Recovered {
		x.t.Fatal("neither recovered nor whole")
	}
	for range x.random.IntN(3) {
		x.change(f.name)
	}
	f.begin(sn)
}

func (f *mirror) begin(sn *hub.Subscription) {
	for _, p := range sn.Publications {
		f.v.apply(pubLineOf(p, true))
	}
	f.at = sn.Position
	sn.Live(nil)
}

// hear applies what came.
func (f *mirror) hear() {
	for _, l := range f.c.lines() {
		if w := strings.Fields(l); w[0] == "pub" {
			f.v.apply(l)
			offset, _ := strconv.ParseUint(w[3], 10, 64)
			f.at.Offset = max(f.at.Offset, offset)
		}
	}
}

// back has a mirror lose its connection and come back to where it was.
func (x *stateRun) back() {
	if len(x.all) == 0 {
		return
	}
	f := x.all[x.random.IntN(len(x.all))]
	x.settle()
	f.hear()
	f.c.Close(hub.DisconnectConnectionClosed)
	for range x.random.IntN(40) {
		x.change(f.name)
	}
	f.c = x.connectAs(&auth.Identity{User: "u"}, nil)
	f.join(x, f.at)
}
