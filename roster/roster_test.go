package roster_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/roster"
)

// source is a node that has members, and the way from it to the listener.
type source struct {
	id          string
	incarnation uint64
	journal     *roster.Journal
	// here holds the members by their place.
	here map[roster.Place]roster.Member
	// frames are under way, in order; up says that the listener sees the node.
	frames [][]byte
	up     bool
}

func (s *source) node() channel.Node {
	return channel.Node{ID: s.id, Incarnation: s.incarnation}
}

// fetching is a page that is asked for: first not served, then under way back.
type fetching struct {
	fetch  *roster.Fetch
	to     *source
	served bool
	answer []byte
	err    error
}

// machine holds a roster to the truth while everything between them fails.
type machine struct {
	sources []*source
	roster  *roster.Roster
	fetches []*fetching
	clients int
	// told is who was told as joined and not as left, over who was told as left.
	told, over map[string]bool
	owners     map[string]*source
}

func newMachine(limit int) *machine {
	m := &machine{roster: roster.New(limit), told: map[string]bool{}, over: map[string]bool{}, owners: map[string]*source{}}
	for _, id := range []string{"a", "b"} {
		s := &source{id: id, incarnation: 1}
		s.journal, s.here = roster.NewSmallJournal(1, 250), map[roster.Place]roster.Member{}
		m.sources = append(m.sources, s)
	}
	return m
}

func key(name, client string) string { return name + " " + client }

// tell holds events to: joined once, then left once.
func (m *machine) tell(t rapid.TB, events []roster.Event) {
	t.Helper()
	for _, e := range events {
		k := key(e.Channel, e.Info.Client)
		switch {
		case e.Joined && (m.told[k] || m.over[k]):
			t.Fatalf("%s joined a second time", k)
		case e.Joined:
			m.told[k] = true
		case !m.told[k]:
			t.Fatalf("%s left and had not joined", k)
		default:
			delete(m.told, k)
			m.over[k] = true
		}
	}
}

func (m *machine) ask(f *roster.Fetch) {
	if f == nil {
		return
	}
	for _, s := range m.sources {
		if s.id == f.Node.ID {
			m.fetches = append(m.fetches, &fetching{fetch: f, to: s})
		}
	}
}

func (m *machine) join(s *source, name, user string, present, announced bool, info string) {
	m.clients++
	i := &channel.ClientInfo{User: user, Client: fmt.Sprint("c", m.clients)}
	if info != "" {
		i.ConnInfo, i.ChanInfo = []byte(info), []byte(info+"!")
	}
	m.owners[key(name, i.Client)] = s
	member := roster.Member{Channel: name, Info: i, Present: present, Announced: announced}
	if at := s.journal.Join(member); at != 0 {
		s.here[at] = member
	}
}

func (s *source) leave(at roster.Place) {
	s.journal.Leave(at)
	delete(s.here, at)
}

func (s *source) flush(digest bool) {
	frames, _ := s.journal.Flush(digest)
	if s.up {
		s.frames = append(s.frames, frames...)
	}
}

// hear takes the next frame of a source.
func (m *machine) hear(t rapid.TB, s *source) {
	if len(s.frames) == 0 {
		return
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	events, ask := m.roster.Hear(s.node(), f)
	m.tell(t, events)
	m.ask(ask)
}

// serve has a page read at its source, answer brings one back. The two are
// apart so that frames come in between.
func (f *fetching) serve() {
	if f.served {
		return
	}
	f.served = true
	if !f.to.up {
		f.err = errors.New("cut off")
		return
	}
	f.answer, f.err = f.to.journal.Answer(f.fetch.Request)
}

func (m *machine) answer(t rapid.TB, i int) {
	f := m.fetches[i]
	f.serve()
	m.fetches = slices.Delete(m.fetches, i, i+1)
	events, ask := m.roster.Page(f.fetch, f.answer, f.err)
	m.tell(t, events)
	m.ask(ask)
}

func (m *machine) appear(s *source) {
	if !s.up {
		s.up = true
		m.ask(m.roster.Up(s.node()))
	}
}

func (m *machine) vanish(t rapid.TB, s *source) {
	if !s.up {
		return
	}
	s.up, s.frames = false, nil
	m.roster.Down(s.node())
	for more := true; more; {
		var events []roster.Event
		events, more = m.roster.Sweep(3)
		m.tell(t, events)
	}
	// Those that are still there join again when it comes back.
	maps.DeleteFunc(m.over, func(k string, _ bool) bool { return m.owners[k] == s })
}

func (m *machine) restart(t rapid.TB, s *source) {
	m.vanish(t, s)
	s.incarnation++
	s.journal, s.here = roster.NewSmallJournal(s.incarnation, 250), map[roster.Place]roster.Member{}
}

// settle lets everything arrive, and digests go round until nothing is asked.
func (m *machine) settle(t rapid.TB) {
	for range 4 {
		for _, s := range m.sources {
			m.appear(s)
			s.flush(true)
			for len(s.frames) > 0 {
				m.hear(t, s)
			}
		}
		for len(m.fetches) > 0 {
			m.answer(t, 0)
		}
	}
}

// verify holds the roster to the truth.
func (m *machine) verify(t rapid.TB) {
	t.Helper()
	want, announced, all := map[string]string{}, map[string]bool{}, 0
	names := map[string]bool{}
	for _, s := range m.sources {
		for _, member := range s.here {
			all++
			names[member.Channel] = true
			k := key(member.Channel, member.Info.Client)
			if member.Present {
				want[k] = fmt.Sprintf("%+v", *member.Info)
			}
			if member.Announced || !member.Present { // the silent ones are for the caller
				announced[k] = true
			}
		}
	}
	got := map[string]string{}
	for name := range names {
		for _, i := range m.roster.Members(name, 1<<20) {
			got[key(name, i.Client)] = fmt.Sprintf("%+v", *i)
		}
	}
	if node, full := m.roster.Missing(); node != "" || full {
		t.Fatalf("members of %q are missing (full: %v)", node, full)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	if _, diverged := m.roster.Copies(); diverged > 0 {
		t.Fatal("a copy was not exact")
	}
	if m.roster.Len() != all {
		t.Fatalf("%d members, want %d", m.roster.Len(), all)
	}
	if !maps.Equal(m.told, announced) {
		t.Fatalf("told of %v\nthere are %v", m.told, announced)
	}
}

// actions are what may happen, in any order.
func (m *machine) actions() map[string]func(*rapid.T) {
	pick := func(t *rapid.T) *source { return rapid.SampledFrom(m.sources).Draw(t, "node") }
	rarely := func(t *rapid.T) bool { return rapid.IntRange(0, 5).Draw(t, "rarely") == 5 }
	return map[string]func(*rapid.T){
		"join": func(t *rapid.T) {
			s := pick(t)
			for range rapid.IntRange(1, 4).Draw(t, "how many") {
				m.join(s, rapid.SampledFrom([]string{"room:x", "room:y", "z"}).Draw(t, "channel"), rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "user"),
					rapid.Bool().Draw(t, "present"), rapid.Bool().Draw(t, "announced"), rapid.SampledFrom([]string{"", "{}"}).Draw(t, "info"))
			}
			if rapid.Bool().Draw(t, "flush") {
				s.flush(false)
			}
		},
		"leave": func(t *rapid.T) {
			if s := pick(t); len(s.here) > 0 {
				s.leave(rapid.SampledFrom(slices.Sorted(maps.Keys(s.here))).Draw(t, "who"))
				if rapid.Bool().Draw(t, "flush") {
					s.flush(false)
				}
			}
		},
		"flush": func(t *rapid.T) { pick(t).flush(rapid.Bool().Draw(t, "digest")) },
		"hear":  func(t *rapid.T) { m.hear(t, pick(t)) },
		"lose": func(t *rapid.T) {
			if s := pick(t); len(s.frames) > 0 {
				i := rapid.IntRange(0, len(s.frames)-1).Draw(t, "which")
				s.frames = slices.Delete(s.frames, i, i+1)
			}
		},
		"serve": func(t *rapid.T) {
			if len(m.fetches) > 0 {
				rapid.SampledFrom(m.fetches).Draw(t, "fetch").serve()
			}
		},
		"answer": func(t *rapid.T) {
			if len(m.fetches) > 0 {
				m.answer(t, rapid.IntRange(0, len(m.fetches)-1).Draw(t, "fetch"))
			}
		},
		"fail": func(t *rapid.T) {
			if len(m.fetches) > 0 {
				f := rapid.SampledFrom(m.fetches).Draw(t, "fetch")
				f.served, f.answer, f.err = true, nil, errors.New("lost")
			}
		},
		"appear": func(t *rapid.T) { m.appear(pick(t)) },
		"vanish": func(t *rapid.T) {
			if s := pick(t); rarely(t) {
				m.vanish(t, s)
			}
		},
		"restart": func(t *rapid.T) {
			if s := pick(t); rarely(t) {
				m.restart(t, s)
			}
		},
		"": func(t *rapid.T) {
			for name := range map[string]bool{"room:x": true, "room:y": true, "z": true} {
				for _, i := range m.roster.Members(name, 1<<20) {
					if i.Client == "" {
						t.Fatal("a member without a client")
					}
				}
			}
		},
	}
}

// Whatever is lost, late and cut, the copy is right in the end, and watchers
// were told of each member once.
func TestRosterFollowsTheTruth(t *testing.T) {
	for range 10 { // what is rare needs more and longer walks than rapid takes by itself
		rapid.Check(t, func(t *rapid.T) {
			m := newMachine(1000)
			for range 3 {
				t.Repeat(m.actions())
			}
			m.settle(t)
			m.verify(t)
		})
	}
}
