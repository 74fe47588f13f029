package hub_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// model is what the hub should have, in the simplest words.
type model struct {
	s       *stage
	clients []*modelled
	serial  int
}

// modelled is one client in the model.
type modelled struct {
	*client
	user     string
	known    bool
	subs     map[string]bool // whether it watches
	expected []string
}

// tell notes what a client has to hear.
func (c *modelled) tell(format string, args ...any) {
	c.expected = append(c.expected, fmt.Sprintf(format, args...))
}

// Few of each, so that they meet.
func anyUser() *rapid.Generator[string] { return rapid.SampledFrom([]string{"", "ann", "bob"}) }

func anyChannel() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"room:a", "room:b", "live:c"})
}

// one draws a client, nil where there is none.
func (m *model) one(rt *rapid.T) *modelled {
	if len(m.clients) == 0 {
		return nil
	}
	return m.clients[rapid.IntRange(0, len(m.clients)-1).Draw(rt, "client")]
}

// others calls fn with the subscribers of a channel.
func (m *model) others(name string, fn func(c *modelled, watches bool)) {
	for _, c := range m.clients {
		if watches, ok := c.subs[name]; ok {
			fn(c, watches)
		}
	}
}

// come makes c a subscriber.
func (m *model) come(c *modelled, name string, watches bool) {
	c.subs[name] = watches && name != "live:c"
	m.pass(c, name, "join")
}

// leave makes c none.
func (m *model) leave(c *modelled, name string) {
	delete(c.subs, name)
	m.pass(c, name, "leave")
}

func (m *model) pass(c *modelled, name, what string) {
	if name == "live:c" {
		return
	}
	m.others(name, func(o *modelled, watches bool) {
		if watches {
			o.tell("%s %s %s", what, name, c.user)
		}
	})
}

// end takes c out, whose wire is looked at no more.
func (m *model) end(c *modelled) {
	m.clients = slices.DeleteFunc(m.clients, func(o *modelled) bool { return o == c })
	for name := range c.subs {
		m.leave(c, name)
	}
}

func (m *model) open(rt *rapid.T) {
	c := &modelled{client: m.s.open(nil), subs: make(map[string]bool)}
	m.clients = append(m.clients, c)
	if rapid.Bool().Draw(rt, "connect") {
		m.connectOne(rt, c)
	}
}

func (m *model) connectOne(rt *rapid.T, c *modelled) {
	user := anyUser().Draw(rt, "user")
	err := c.Connect(&auth.Identity{User: user, Anonymous: user == ""})
	if (err == nil) == c.known {
		rt.Fatalf("Connect: %v, connected before: %v", err, c.known)
	}
	if err == nil {
		c.user, c.known = user, true
	}
}

func (m *model) connect(rt *rapid.T) {
	if c := m.one(rt); c != nil {
		m.connectOne(rt, c)
	}
}

func (m *model) subscribe(rt *rapid.T) {
	c := m.one(rt)
	if c == nil {
		return
	}
	name, watches := anyChannel().Draw(rt, "channel"), rapid.Bool().Draw(rt, "watches")
	_, there := c.subs[name]
	sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: name, JoinLeave: watches})
	if (err == nil) != (c.known && !there) {
		rt.Fatalf("Subscribe: %v, connected: %v, subscribed: %v", err, c.known, there)
	}
	if err == nil {
		sn.Live([]byte("ok\n"))
		c.tell("ok")
		m.come(c, name, watches)
	}
}

func (m *model) unsubscribe(rt *rapid.T) {
	c := m.one(rt)
	if c == nil {
		return
	}
	name := anyChannel().Draw(rt, "channel")
	if err := c.Unsubscribe(name); err != nil {
		rt.Fatal(err)
	}
	if _, ok := c.subs[name]; ok {
		m.leave(c, name)
	}
}

func (m *model) publish(rt *rapid.T) {
	name := anyChannel().Draw(rt, "channel")
	m.serial++
	text := fmt.Sprint(m.serial)
	if _, err := m.s.hub.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte(text)}); err != nil {
		rt.Fatal(err)
	}
	m.others(name, func(c *modelled, _ bool) { c.tell("%s", text) })
}

func (m *model) closeOne(rt *rapid.T) {
	if c := m.one(rt); c != nil {
		c.Close(hub.DisconnectConnectionClosed)
		m.end(c)
	}
}

// of returns the clients of a user.
func (m *model) of(user string) (out []*modelled) {
	for _, c := range m.clients {
		if c.known && c.user == user {
			out = append(out, c)
		}
	}
	return out
}

func (m *model) serverSubscribe(rt *rapid.T) {
	name, user := anyChannel().Draw(rt, "channel"), rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "user")
	want := 0
	n, err := m.s.hub.Subscribe(context.Background(), hub.Target{User: user}, hub.SubscribeRequest{Channel: name})
	// They come one by one, so that the first may hear of the second, or not:
	// nobody watches here.
	for _, c := range m.of(user) {
		if _, there := c.subs[name]; !there {
			want++
			c.tell("sub %s", name)
			m.come(c, name, false)
		}
	}
	if n != want || err != nil {
		rt.Fatalf("Subscribe: %d, %v, want %d", n, err, want)
	}
}

func (m *model) serverUnsubscribe(rt *rapid.T) {
	name, user := anyChannel().Draw(rt, "channel"), rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "user")
	gone := 0
	for _, c := range m.of(user) {
		if _, there := c.subs[name]; there {
			n, err := m.s.hub.Unsubscribe(context.Background(), hub.Target{User: user, Client: c.ID()}, name)
			if n != 1 || err != nil {
				rt.Fatalf("Unsubscribe: %d, %v", n, err)
			}
			gone++
			m.leave(c, name)
			c.tell("unsub %s 2000", name)
		}
	}
	if n, err := m.s.hub.Unsubscribe(context.Background(), hub.Target{User: user}, name); n != 0 || err != nil {
		rt.Fatalf("Unsubscribe: %d, %v", n, err)
	}
}

func (m *model) serverDisconnect(rt *rapid.T) {
	user := rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "user")
	clients := m.of(user)
	var except []string
	for i, c := range clients {
		if i%2 == 1 {
			except = append(except, c.ID())
		}
	}
	n, err := m.s.hub.Disconnect(context.Background(), hub.Target{User: user}, hub.DisconnectForceReconnect, except)
	if n != len(clients)-len(except) || err != nil {
		rt.Fatalf("Disconnect: %d, %v, want %d", n, err, len(clients)-len(except))
	}
	for i, c := range clients {
		if i%2 == 0 {
			m.end(c)
		}
	}
}

// check holds the hub against the model.
func (m *model) check(rt *rapid.T) {
	synctest.Wait()
	want := hub.Info{Node: "here", Clients: len(m.clients)}
	users, channels, members := map[string]bool{}, map[string]int{}, map[string][]string{}
	for _, c := range m.clients {
		if c.known {
			users[c.user] = true
		}
		for name := range c.subs {
			want.Subscriptions++
			channels[name]++
			members[name] = append(members[name], c.user+" ")
		}
		m.heard(rt, c)
	}
	want.Users, want.Channels = len(users), len(channels)
	if got := m.s.info(); got != want {
		rt.Fatalf("Info is %+v, want %+v", got, want)
	}
	for name, n := range channels {
		if got := m.s.channels("", 100)[name]; got != n {
			rt.Fatalf("%s has %d subscribers, want %d", name, got, n)
		}
	}
	for _, name := range []string{"room:a", "room:b"} {
		slices.Sort(members[name])
		if got := m.s.present(name); !slices.Equal(got, members[name]) {
			rt.Fatalf("in %s are %q, want %q", name, got, members[name])
		}
	}
}

// heard fails unless a client heard what it had to. Channels are told of apart,
// so the order counts only within one step.
func (m *model) heard(rt *rapid.T, c *modelled) {
	var got []string
	for _, l := range c.lines() {
		var kind, name, rest string
		_, _ = fmt.Sscan(l, &kind, &name, &rest)
		switch kind {
		case "pub":
			got = append(got, data([]string{l})...)
		case "sub":
			got = append(got, "sub "+name)
		default:
			got = append(got, l)
		}
	}
	want := c.expected
	c.expected = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		rt.Fatalf("%q heard %q, want %q", c.user, got, want)
	}
}

func TestHubIsAsItsModel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// Without its Deadline, which a bubble does not let one ask for.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			s := newStage(t, nil, nil)
			defer s.takeDown()
			m := &model{s: s}
			rt.Repeat(map[string]func(*rapid.T){
				"open": m.open, "connect": m.connect, "subscribe": m.subscribe, "subscribe more": m.subscribe,
				"unsubscribe": m.unsubscribe, "publish": m.publish, "close": m.closeOne,
				"server subscribes": m.serverSubscribe, "server unsubscribes": m.serverUnsubscribe,
				"server disconnects": m.serverDisconnect, "": m.check,
			})
		})
	})
}
