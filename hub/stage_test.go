package hub_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a hub with an engine, and the wires of its clients.
type stage struct {
	t       testing.TB
	hub     *hub.Hub
	engine  channel.Engine
	metrics *observe.Metrics
	form    *text
	down    bool

	mu struct {
		sync.Mutex
		wires []*wire
	}
}

// namespaces are those of every stage:
//
//	log:    keeps and recovers, the ring holds all that is kept
//	deep:   keeps more than the ring
//	short:  keeps three
//	live:   keeps nothing
//	room:   keeps, shows presence, tells joins and leaves
//	closed: is for nobody
func namespaces() map[string]*hub.Namespace {
	all := auth.NewWhoSet(auth.WhoAnonymous)
	open := auth.Rules{Subscribe: all, Publish: all, Presence: all, History: all}
	ns := func(name string, keep int) *hub.Namespace {
		return &hub.Namespace{
			Policy:  &channel.Policy{Namespace: name, HistorySize: keep},
			Rules:   open,
			Recover: keep > 0,
		}
	}
	room := ns("room", 100)
	room.Presence, room.JoinLeave = true, true
	closed := ns("closed", 10)
	closed.Rules = auth.Rules{}
	return map[string]*hub.Namespace{
		"log": ns("log", 200), "deep": ns("deep", 2000), "short": ns("short", 3), "live": ns("live", 0),
		"room": room, "closed": closed,
	}
}

// newStage returns a running hub on an engine, the memory engine where e is
// nil. All is taken down and looked at with the test.
func newStage(t testing.TB, e channel.Engine, change func(o *hub.Options)) *stage {
	t.Helper()
	if e == nil {
		e = memory.New(memory.Options{})
	}
	s := &stage{t: t, engine: e, metrics: observe.New(), form: &text{name: "shared"}}
	o := hub.Options{
		Node: "here", Engine: e, Namespaces: namespaces(), Metrics: s.metrics,
		Shards: 2, PingInterval: -1, Limits: hub.Limits{CommandsPerSecond: 1 << 20},
	}
	if change != nil {
		change(&o)
	}
	s.hub = hub.New(o)
	if err := e.Start(t.Context(), s.hub); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.takeDown)
	return s
}

// takeDown closes the hub and the engine, and holds the hub to what it says
// about its end.
func (s *stage) takeDown() {
	if s.down {
		return
	}
	s.down = true
	s.hub.Close()
	if n := s.hub.Connections(); n != 0 {
		s.t.Errorf("%d connections after Close", n)
	}
	if err := s.engine.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range s.mu.wires {
		w.verify(s.t)
		if !w.closed() {
			s.t.Errorf("wire %d of %d is open after Close", i, len(s.mu.wires))
		}
	}
	s.balanced()
}

// balanced fails where something is still counted that is gone.
func (s *stage) balanced() {
	s.t.Helper()
	if n := s.metrics.Hub().Sessions.Value(); n != 0 {
		s.t.Errorf("%d sessions are counted", n)
	}
	for name := range namespaces() {
		m := s.metrics.Namespace(name)
		if c, n := m.Channels.Value(), m.Subscriptions.Value(); c != 0 || n != 0 {
			s.t.Errorf("%d channels and %d subscriptions are counted in %s", c, n, name)
		}
	}
}

// client is a session and the other end of its wire.
type client struct {
	*hub.Session
	*wire
	s *stage
}

// Close ends the session.
func (c *client) Close(why hub.Disconnect) { c.Session.Close(why) }

// dial opens a session.
func (s *stage) dial(change func(o *hub.SessionOptions)) (*client, error) {
	w := newWire()
	o := hub.SessionOptions{Conn: w, Form: s.form, Pongs: true}
	if change != nil {
		change(&o)
	}
	ss, err := s.hub.Open(o)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.mu.wires = append(s.mu.wires, w)
	s.mu.Unlock()
	return &client{Session: ss, wire: w, s: s}, nil
}

// open opens a session that has to be let in.
func (s *stage) open(change func(o *hub.SessionOptions)) *client {
	s.t.Helper()
	c, err := s.dial(change)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// connect opens a session and identifies it.
func (s *stage) connect(user string) *client {
	s.t.Helper()
	return s.connectAs(&auth.Identity{User: user, Anonymous: user == ""}, nil)
}

// nobody is the identity of an anonymous client.
func nobody() *auth.Identity { return &auth.Identity{Anonymous: true} }

func (s *stage) connectAs(id *auth.Identity, change func(o *hub.SessionOptions)) *client {
	s.t.Helper()
	c := s.open(change)
	if err := c.Connect(id); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// join subscribes and goes live with a reply.
func (c *client) join(r hub.SubscribeRequest) error {
	sn, err := c.Subscribe(context.Background(), r)
	if err != nil {
		return err
	}
	sn.Live(replyTo(r.Channel, sn))
	return nil
}

// subscribe joins a channel that has to let it in, and forgets the reply.
func (c *client) subscribe(name string) {
	c.s.t.Helper()
	if err := c.join(hub.SubscribeRequest{Channel: name}); err != nil {
		c.s.t.Fatal(err)
	}
	c.s.settle()
	c.lines()
}

// settle waits until everybody waits.
func (s *stage) settle() { synctest.Wait() }

// publish publishes in the server's name.
func (s *stage) publish(name string, texts ...string) channel.Position {
	s.t.Helper()
	var at channel.Position
	for _, d := range texts {
		ack, err := s.hub.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte(d)})
		if err != nil {
			s.t.Fatal(err)
		}
		at = ack.Position
	}
	return at
}

// numbers returns from to up to, as texts.
func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// gets fails unless the publications that came since the last look are these.
func (c *client) gets(t testing.TB, want ...string) {
	t.Helper()
	c.s.settle()
	if got := data(c.lines()); !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// wait lets virtual time pass, and everybody act.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// info returns the counts of the node, whose uptime is nobody's concern.
func (s *stage) info() hub.Info {
	i := s.hub.Info(context.Background())[0]
	i.Uptime = 0
	return i
}

// channels lists the channels of a hub that is not kept waiting.
func (s *stage) channels(pattern string, most int) map[string]int {
	s.t.Helper()
	found, err := s.hub.Channels(context.Background(), pattern, most)
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}
