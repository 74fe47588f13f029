package hub_test

import (
	"context"
	"strconv"
	"strings"

	"myelin/channel"
	"myelin/filter"
	"myelin/hub"
)

// mirror is a client of the state model: what it has of a channel, and what it
// may expect of it.
type mirror struct {
	x    *stateModel
	c    *client
	name string
	rate float64
	// red lets through the entries that are; nil for all.
	red *filter.Filter
	v   view
	at  channel.Position
	// in: it is subscribed, for all it has heard. gone: its connection is over.
	// free: it reads what comes. slow: it may have missed something since it
	// began.
	in, gone, free, slow bool
}

// some draws one of the mirrors that fit, nil for none.
func (x *stateModel) some(what string, fits func(f *mirror) bool) *mirror {
	var list []*mirror
	for _, f := range x.all {
		if fits(f) {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[x.pick(what, len(list))]
}

func anyMirror(*mirror) bool { return true }

// sure says whether it is subscribed, and not only for all it has heard.
func (f *mirror) sure() bool { return f.in && f.free && !f.slow }

// user is whose client it is, "" for none, which is the server.
func (f *mirror) user() string {
	if f == nil {
		return ""
	}
	return f.c.Identity().User
}

// come has a client follow, by pages or without, at once or conflated.
func (x *stateModel) come() {
	if len(x.all) >= 20 {
		return
	}
	f := &mirror{x: x, name: x.someChannel(), rate: []float64{0, 0, 1, 20}[x.pick("rate", 4)], v: view{}}
	if x.pick("red", 3) == 0 {
		f.red = is(x.t, "color", "red")
	}
	f.c = x.connectAs(x.identity(), nil)
	x.all = append(x.all, f)
	if x.pick("pages", 2) == 0 {
		f.join()
	} else {
		f.pages()
	}
}

// glance has a client begin to read pages and think better of it.
func (x *stateModel) glance() {
	c := x.connectAs(x.identity(), nil)
	page, err := c.SubscribeState(context.Background(), hub.StateRequest{Subscribe: hub.SubscribeRequest{Channel: x.someChannel()}, Limit: 1})
	switch {
	case err != nil:
		x.t.Fatal(err)
	case page.Live != nil && x.pick("cancel", 2) == 0:
		page.Live.Cancel()
	case page.Live != nil:
		page.Live.Live(nil)
	}
	c.Close(hub.DisconnectConnectionClosed)
}

// pages subscribes page by page, with changes among the pages.
func (f *mirror) pages() {
	x := f.x
	r := hub.StateRequest{
		Subscribe: hub.SubscribeRequest{Channel: f.name, Rate: f.rate, Filter: f.red}, Limit: 1 + x.pick("limit", 9), Ascending: x.pick("ascending", 2) == 0,
	}
	for {
		page, err := f.c.SubscribeState(context.Background(), r)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, p := range page.Entries {
			if _, twice := f.v[p.Key]; twice {
				x.t.Fatalf("%s is on two pages", p.Key)
			}
			f.v.apply(pubLineOf(p, true))
		}
		for range x.pick("meanwhile", 6) {
			x.change(f.name)
		}
		if r.Cursor = page.Next; r.Cursor == "" {
			f.begin(page.Live)
			return
		}
	}
}

// join subscribes without pages, from where it was if it was anywhere.
func (f *mirror) join() {
	x := f.x
	sn, err := f.c.Subscribe(context.Background(), hub.SubscribeRequest{
		Channel: f.name, Recover: !f.at.IsZero(), Since: f.at, Recoverable: true, Rate: f.rate, Filter: f.red,
	})
	switch {
	case err != nil:
		x.t.Fatal(err)
	case sn.Whole:
		f.v = view{}
	case !sn.Recovered:
		x.t.Fatal("neither recovered nor whole")
	}
	for range x.pick("meanwhile", 3) {
		x.change(f.name)
	}
	f.begin(sn)
}

func (f *mirror) begin(sn *hub.Subscription) {
	for _, p := range sn.Publications {
		f.v.apply(pubLineOf(p, true))
	}
	f.at = sn.Position
	f.in, f.free, f.slow = true, true, false
	sn.Live(nil)
}

// hear applies what came, which follows on what it has: with nothing twice,
// nothing out of order, and no gap but where it asked for that or was slow.
func (f *mirror) hear() {
	lines := f.c.lines()
	if f.gone {
		return
	}
	for _, l := range lines {
		w := strings.Fields(l)
		switch w[0] {
		case "pub":
			offset, _ := strconv.ParseUint(w[3], 10, 64)
			prev, _ := strconv.ParseUint(w[4], 10, 64)
			gap := prev != f.at.Offset && f.rate == 0 && f.red == nil && !f.slow
			if !f.in || w[2] != f.at.Epoch || offset <= f.at.Offset || gap {
				f.x.t.Fatalf("%q came at %v, in: %v", l, f.at, f.in)
			}
			f.v.apply(l)
			f.at.Offset = offset
		case "unsub", "bye", "notice":
			if !f.slow {
				f.x.t.Fatalf("%q, and it always reads", l)
			}
			if w[0] != "notice" {
				f.in, f.gone = false, w[0] == "bye"
			}
		}
	}
	if f.c.closed() { // with or without a word that it could read
		if !f.slow {
			f.x.t.Fatal("cut off, and it always reads")
		}
		f.in, f.gone = false, true
	}
	f.slow = f.slow && !f.free
}

// pause has one that has nothing to lose stop reading.
func (x *stateModel) pause() {
	owners := map[*mirror]bool{}
	for _, entries := range x.want {
		for _, e := range entries {
			owners[e.owner] = true
		}
	}
	if f := x.some("who", func(f *mirror) bool { return f.in && !owners[f] }); f != nil {
		f.c.allow(0)
		f.free, f.slow = false, true
	}
}

// read has one that has stopped read something, or go on.
func (x *stateModel) read() {
	if f := x.some("who", func(f *mirror) bool { return !f.free }); f != nil {
		f.read([]int{-1, 10, 400, 3000}[x.pick("room", 4)])
	}
}

func (f *mirror) read(room int) {
	f.c.allow(room)
	f.free = f.free || room < 0
}

// leave has a client unsubscribe, for a while or for good.
func (x *stateModel) leave() {
	f := x.some("who", (*mirror).sure)
	if f == nil {
		return
	}
	if err := f.c.Unsubscribe(f.name); err != nil {
		x.t.Fatal(err)
	}
	x.settle()
	f.hear()
	x.left(f)
}

// back has a client come back to where it was.
func (x *stateModel) back() {
	if f := x.some("who", anyMirror); f != nil {
		x.settle()
		f.hear()
		f.back()
	}
}

// back has it lose its connection, unless that is good and its subscription has
// ended, and go on.
func (f *mirror) back() {
	x := f.x
	if f.in || f.gone || !f.free {
		if x.pick("cut", 2) == 0 {
			f.c.cut()
		}
		f.c.Close(hub.DisconnectConnectionClosed)
		x.settle()
		x.left(f)
		for range x.pick("while away", 40) {
			x.change(f.name)
		}
		f.c, f.gone = x.connectAs(x.identity(), nil), false
	}
	if x.pick("anew", 4) == 0 {
		f.v = view{}
		f.pages()
	} else {
		f.join()
	}
}

// sendAway has the server end all connections of a user.
func (x *stateModel) sendAway() {
	user := x.identity().User
	x.settle()
	for _, f := range x.all {
		f.hear()
	}
	if _, err := x.hub.Disconnect(context.Background(), hub.Target{User: user}, hub.DisconnectForceReconnect, nil); err != nil {
		x.t.Fatal(err)
	}
	x.settle()
	for _, f := range x.all {
		if f.c.Identity().User == user {
			f.c.lines()
			f.gone = true
			x.left(f)
		}
	}
}
