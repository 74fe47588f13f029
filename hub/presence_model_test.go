package hub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/auth"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// presenceModel is who is in a room of a cluster, and some who want to know.
type presenceModel struct {
	*town
	pick pick
	ids  []string
	here []*member
	all  []*watcher
	rate int
	// certain is from when on all nodes know of what was done so far, told from
	// when on all who watch have been told.
	certain, told time.Time
	// lossy is by how much longer it takes since the bus lost something.
	lossy time.Duration
	died  time.Time
}

// member is one connection that is in the room.
type member struct {
	c        *client
	at, user string
}

// watcher is one who hears of comings and goings, or follows a map of who is
// there: by a count of what it heard of each user, or by its view.
type watcher struct {
	*member
	kind    string
	clients map[string]int
	users   map[string]int
	v       view
}

// presenceBound is how long it takes at most until a change is known
// everywhere, and presenceDeath where a node dies. A connection that answers no
// pings is found out within presenceSilence, and presenceMaps are told later
// than others by a look a second.
const (
	presenceBound   = 100 * time.Millisecond
	presenceDeath   = 7 * time.Second
	presenceSilence = 8 * time.Second
	presenceLook    = 1200 * time.Millisecond
)

func newPresenceModel(t testing.TB, p pick) *presenceModel {
	m := &presenceModel{pick: p, ids: []string{"a", "b", "c"}, rate: []int{5, 50, 1000}[p("rate", 3)]}
	m.town = newTown(t, func(o *hub.Options) {
		o.Namespaces["room"].JoinLeaveRate = m.rate
		o.PingInterval, o.PongTimeout = 5*time.Second, 2*time.Second
	}, nil)
	for _, id := range m.ids {
		m.begin(id)
	}
	wait(time.Second)
	for _, kind := range []string{"", hub.ClientsNamespace, hub.UsersNamespace} {
		m.watch("a", kind)
	}
	return m
}

func (m *presenceModel) begin(id string) { m.start(id).form.keyed = true }

// over says that something has changed that is known everywhere after d.
func (m *presenceModel) over(changes int, d time.Duration) {
	if at := time.Now().Add(d + m.lossy); at.After(m.certain) {
		m.certain = at
	}
	if m.told.Before(m.certain) {
		m.told = m.certain
	}
	m.told = m.told.Add(time.Duration(2*changes) * time.Second / time.Duration(m.rate))
}

// node draws one that is there.
func (m *presenceModel) node() string {
	up := slices.DeleteFunc(slices.Clone(m.ids), func(id string) bool { return m.nodes[id] == nil })
	return up[m.pick("node", len(up))]
}

func (m *presenceModel) user() string { return fmt.Sprint("u", m.pick("user", 4)) }

// enter opens a connection that answers pings, or never does.
func (m *presenceModel) enter(at, user string, answers bool) *client {
	return m.nodes[at].connectAs(&auth.Identity{User: user}, func(o *hub.SessionOptions) { o.Pongs = !answers })
}

func (m *presenceModel) come() {
	if len(m.here) >= 25 {
		return
	}
	at, user := m.node(), m.user()
	f := &member{m.enter(at, user, true), at, user}
	m.join(f)
}

func (m *presenceModel) join(f *member) {
	if err := f.c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
		m.t.Fatal(err)
	}
	m.here = append(m.here, f)
	m.over(1, presenceBound)
}

// silent has somebody come whose link is dead already: he is found out.
func (m *presenceModel) silent() {
	c := m.enter(m.node(), m.user(), false)
	if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
		m.t.Fatal(err)
	}
	m.over(2, presenceSilence)
}

// watch adds somebody who wants to know, at a moment when nothing is under way.
func (m *presenceModel) watch(at, kind string) {
	if len(m.all) >= 8 {
		return
	}
	m.quiet()
	w := &watcher{member: &member{m.enter(at, "watcher", true), at, "watcher"}, kind: kind}
	var err error
	switch {
	case kind == "":
		w.clients, w.users = m.truth()
		err = w.c.join(hub.SubscribeRequest{Channel: "room:x", JoinLeave: true, Users: true})
		m.over(1, presenceBound)
	case m.pick("pages", 2) == 0:
		w.v, err = w.c.watch(kind + ":room:x")
	default:
		w.v = view{}
		err = w.c.join(hub.SubscribeRequest{Channel: kind + ":room:x"})
		m.over(0, presenceBound)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.all = append(m.all, w)
}

// quiet waits until nothing is under way.
func (m *presenceModel) quiet() {
	wait(max(time.Until(m.told), 0) + presenceLook)
	m.check()
}

// truth is how many connections each user has who does not watch.
func (m *presenceModel) truth() (clients, users map[string]int) {
	clients, users = map[string]int{}, map[string]int{}
	for _, f := range m.here {
		clients[f.user]++
		users[f.user] = 1
	}
	return clients, users
}

// leave has somebody go, in one of the ways there are.
func (m *presenceModel) leave() {
	if len(m.here) > 0 {
		i := m.pick("who", len(m.here))
		m.end(m.here[i])
		m.here = slices.Delete(m.here, i, i+1)
	}
}

func (m *presenceModel) end(f *member) {
	m.over(1, presenceBound)
	switch m.pick("how", 4) {
	case 0:
		if err := f.c.Unsubscribe("room:x"); err != nil {
			m.t.Fatal(err)
		}
	case 1:
		f.c.cut()
		f.c.Close(hub.DisconnectWriteError)
	case 2:
		m.disconnect(hub.Target{Client: f.c.ID()})
	default:
		f.c.Close(hub.DisconnectConnectionClosed)
	}
}

// disconnect has any node send somebody away, wherever he is.
func (m *presenceModel) disconnect(who hub.Target) {
	_, err := m.nodes[m.node()].hub.Disconnect(context.Background(), who, hub.DisconnectForceReconnect, nil)
	// A node that has just died is asked, and does not answer.
	if err != nil && (m.died.IsZero() || time.Since(m.died) > 2*presenceDeath) {
		m.t.Fatal(err)
	}
	m.over(0, presenceBound)
}

// moves has somebody leave the room and enter it again, or another way round.
func (m *presenceModel) moves() {
	if len(m.here) > 0 {
		i := m.pick("who", len(m.here))
		f := m.here[i]
		m.here = slices.Delete(m.here, i, i+1)
		if err := f.c.Unsubscribe("room:x"); err != nil {
			m.t.Fatal(err)
		}
		m.over(1, presenceBound)
		m.join(f)
	}
}

// sendAway ends all connections of a user, on all nodes.
func (m *presenceModel) sendAway() {
	user := m.user()
	m.disconnect(hub.Target{User: user})
	n := len(m.here)
	m.here = slices.DeleteFunc(m.here, func(f *member) bool { return f.user == user })
	m.over(n-len(m.here), presenceBound)
}

// mass has half of all go in one moment, while others come.
func (m *presenceModel) mass() {
	stay := m.here[:0:0]
	for i, f := range m.here {
		if i%2 == 0 {
			stay = append(stay, f)
		} else {
			m.end(f)
		}
	}
	m.here = stay
	m.come()
}

// lose has the bus lose what one node tells another next.
func (m *presenceModel) lose() {
	n := 1 + m.pick("broadcasts", 3)
	m.net.Drop(m.node(), m.ids[m.pick("to", 3)], n)
	m.lossy += time.Duration(2*n) * time.Second
	m.over(0, presenceBound) // it may be of what is under way
}

// fall ends a node with all who are there, with a goodbye or without, or brings
// it back.
func (m *presenceModel) fall() {
	id := []string{"b", "c"}[m.pick("which", 2)]
	if m.nodes[id] == nil {
		m.begin(id)
		m.over(0, time.Second)
		return
	}
	n := len(m.here)
	m.here = slices.DeleteFunc(m.here, func(f *member) bool { return f.at == id })
	m.all = slices.DeleteFunc(m.all, func(w *watcher) bool { return w.at == id })
	if m.pick("kill", 2) == 0 {
		m.stop(id)
	} else {
		m.kill(id)
		m.died = time.Now()
	}
	m.over(n-len(m.here)+8, presenceDeath)
}

// check holds what everybody says and was told against the truth, once that is
// known.
func (m *presenceModel) check() {
	for _, w := range m.all {
		m.hear(w)
	}
	now := time.Now()
	if now.Before(m.certain) {
		return
	}
	clients, users := m.truth()
	names := []string{}
	for _, f := range m.here {
		names = append(names, f.user)
	}
	for _, w := range m.all {
		if w.kind == "" {
			names = append(names, w.user)
		}
	}
	m.everywhere("room:x", names...)
	for id, n := range m.nodes {
		got := map[string]int{}
		list, err := n.hub.PresenceUsers("room:x")
		for _, u := range list {
			got[u.User] = u.Clients
		}
		delete(got, "watcher")
		if err != nil || !maps.Equal(got, clients) {
			m.t.Fatalf("node %s: users %v, %v, want %v", id, got, err, clients)
		}
	}
	for _, w := range m.all {
		switch {
		case w.kind == "" && !now.Before(m.told) && (!maps.Equal(w.clients, clients) || !maps.Equal(w.users, users)):
			m.t.Fatalf("a watcher at %s was told of %v and the users %v, want %v and %v", w.at, w.clients, w.users, clients, users)
		case w.kind != "" && now.Sub(m.certain) >= presenceLook:
			if want := m.entries(w.kind); !maps.Equal(w.v, want) {
				m.t.Fatalf("a watcher of %s at %s has %v, want %v", w.kind, w.at, w.v, want)
			}
		}
	}
}

// entries are those of a presence map.
func (m *presenceModel) entries(kind string) view {
	v, count := view{}, map[string]int{}
	add := func(f *member) {
		if count[f.user]++; kind == hub.UsersNamespace {
			v[f.user] = fmt.Sprintf("{%q:%d}", "clients", count[f.user])
		} else {
			v[f.c.ID()] = fmt.Sprintf("{%q:%q}", "user", f.user)
		}
	}
	for _, f := range m.here {
		add(f)
	}
	for _, w := range m.all {
		if w.kind == "" {
			add(w.member)
		}
	}
	return v
}

// hear adds up what a watcher is told: nobody leaves who has not come, and no
// user comes who is there.
func (m *presenceModel) hear(w *watcher) {
	if w.kind != "" {
		w.c.update(w.v)
		return
	}
	for _, l := range w.c.comings() {
		verb, who, _ := strings.Cut(l, " ")
		if who == "watcher" {
			continue
		}
		sum, by := w.clients, 1
		if strings.HasPrefix(verb, "user-") {
			sum = w.users
		}
		if strings.HasSuffix(verb, "leave") {
			by = -1
		}
		if sum[who] += by; sum[who] < 0 || strings.HasPrefix(verb, "user-") && sum[who] > 1 {
			m.t.Fatalf("a watcher at %s was told %q, and that makes %d", w.at, l, sum[who])
		}
		if sum[who] == 0 {
			delete(sum, who)
		}
	}
}

// Whatever clients, nodes and the bus do, the answer about who is there is the
// truth on each node, by connection and by user; whoever adds up what he is
// told comes to the same, and so does who follows a map of it.
func TestPresenceModel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		channeltest.Walks(t, func(t testing.TB, rt *rapid.T) {
			m := newPresenceModel(t, drawn(rt))
			defer func() {
				for id := range m.nodes {
					m.stop(id)
				}
			}()
			kinds := []string{"", hub.ClientsNamespace, hub.UsersNamespace}
			come := func(*rapid.T) { m.come() }
			rt.Repeat(map[string]func(*rapid.T){
				"": func(*rapid.T) { m.check() }, "come": come, "come more": come, "come yet more": come,
				"leave": func(*rapid.T) { m.leave() }, "leave more": func(*rapid.T) { m.leave() },
				"move": func(*rapid.T) { m.moves() }, "silent": func(*rapid.T) { m.silent() },
				"user is sent away": func(*rapid.T) { m.sendAway() }, "many leave": func(*rapid.T) { m.mass() },
				"watch": func(*rapid.T) { m.watch(m.node(), kinds[m.pick("kind", 3)]) },
				"lose":  func(*rapid.T) { m.lose() }, "node": func(*rapid.T) { m.fall() },
				"a moment":  func(*rapid.T) { wait(time.Duration(1+m.pick("ms", 300)) * time.Millisecond) },
				"some time": func(*rapid.T) { wait(time.Duration(1+m.pick("s", 12)) * time.Second) },
			})
			m.quiet()
		})
	})
}
