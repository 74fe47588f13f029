package consumer_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/channel"
	"myelin/consumer"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ear is a client's end: a Conn and a Form in one, which keeps publications.
type ear struct {
	mu struct {
		sync.Mutex
		heard []*channel.Publication
		at    []time.Time // when each of them came
		ended []uint32
	}
}

func (e *ear) WriteNow(p []byte) (int, error) { return len(p), nil }
func (e *ear) NotifyWritable(func())          {}
func (e *ear) Close()                         {}
func (e *ear) AppendEvent(b []byte, ev *hub.Event) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch ev.Kind {
	case hub.EventPublication:
		e.mu.heard = append(e.mu.heard, ev.Pub)
		e.mu.at = append(e.mu.at, time.Now())
	case hub.EventUnsubscribed:
		e.mu.ended = append(e.mu.ended, ev.Code)
	default:
	}
	return append(b, '.')
}

// rig is a node: an engine, a hub and the consumers.
type rig struct {
	t       testing.TB
	engine  channel.Engine
	hub     *hub.Hub
	m       *consumer.Manager
	metrics *observe.Metrics
	down    bool
}

func namespaces(m *consumer.Manager) map[string]*hub.Namespace {
	everybody := auth.NewWhoSet(auth.WhoAnonymous)
	open := auth.Rules{Subscribe: everybody, Publish: everybody}
	space := func(name string, keep int) *hub.Namespace {
		return &hub.Namespace{Policy: &channel.Policy{Namespace: name, HistorySize: keep}, Rules: open}
	}
	closed := space("closed", 100)
	closed.Rules = auth.Rules{}
	starred := space("starred", 100)
	starred.Patterns = everybody
	return map[string]*hub.Namespace{
		"jobs": space("jobs", 10_000), "short": space("short", 5), "plain": space("plain", 0), "dead": space("dead", 10_000), "closed": closed,
		"own": space("own", 100), "starred": starred,
		consumer.Namespace: {Policy: &channel.Policy{Namespace: consumer.Namespace}, Gate: m},
	}
}

// newRig returns a node on an engine, a new one where e is nil.
func newRig(t testing.TB, e channel.Engine, change func(o *consumer.Options)) *rig {
	return newRigOn(t, e, nil, change)
}

func newRigOn(t testing.TB, e channel.Engine, bus channel.Bus, change func(o *consumer.Options)) *rig {
	t.Helper()
	r := &rig{t: t, engine: e, metrics: observe.New()}
	if e == nil {
		r.engine = &lasting{memory.New(memory.Options{}), new(outlet)}
	}
	o := consumer.Options{
		Policy: &channel.Policy{Namespace: consumer.StateNamespace, Kind: channel.KindState, HistorySize: 1}, Metrics: r.metrics,
		Rules: map[string]consumer.Rules{"jobs": {Clients: consumer.ClientsAny}, "starred": {Clients: consumer.ClientsAny}, "short": {Clients: consumer.ClientsAny}, "own": {Clients: consumer.ClientsOwn}},
	}
	if change != nil {
		change(&o)
	}
	r.m = consumer.New(o)
	r.hub = hub.New(hub.Options{Node: "here", Engine: r.engine, Bus: bus, Namespaces: namespaces(r.m), Metrics: r.metrics, Shards: 2, PingInterval: -1})
	r.m.Attach(r.hub)
	return r
}

// start starts the engine, where it is the rig's own, and the consumers.
func (r *rig) start() *rig {
	r.t.Helper()
	if err := r.engine.Start(r.t.Context(), r.hub); err != nil {
		r.t.Fatal(err)
	}
	r.m.Start()
	return r
}

// stop takes the node down, but for its engine.
func (r *rig) stop() {
	if !r.down {
		r.down = true
		r.m.Close()
		r.hub.Close()
	}
}

// bubble runs a test on a node in virtual time.
func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, nil).start()
		t.Cleanup(func() {
			r.stop()
			if err := r.engine.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		test(t, r)
	})
}

// client is a connected session.
type client struct {
	*hub.Session
	*ear
	r *rig
}

func (c *client) Close() {
	c.Session.Close(hub.DisconnectConnectionClosed)
	synctest.Wait()
}

func (r *rig) connect(user string, caps ...auth.Capability) *client {
	r.t.Helper()
	e := new(ear)
	s, err := r.hub.Open(hub.SessionOptions{Conn: e, Form: e})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Connect(&auth.Identity{User: user, Anonymous: user == "", Caps: caps}); err != nil {
		r.t.Fatal(err)
	}
	return &client{s, e, r}
}

// sit takes a seat at a consumer.
func (c *client) sit(name, source string) error {
	full, err := consumer.Channel(name, source)
	if err != nil {
		return err
	}
	sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: full})
	if err != nil {
		return err
	}
	sn.Live([]byte("."))
	synctest.Wait()
	return nil
}

func (r *rig) sits(user, name, source string) *client {
	r.t.Helper()
	c := r.connect(user)
	if err := c.sit(name, source); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// take returns what came since the last look.
func (c *client) take() []*channel.Publication {
	pubs, _ := c.takeStamped()
	return pubs
}

// takeStamped also returns when each of them came.
func (c *client) takeStamped() ([]*channel.Publication, []time.Time) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out, at := c.mu.heard, c.mu.at
	c.mu.heard, c.mu.at = nil, nil
	return out, at
}

// said shows deliveries as "data#attempt".
func said(pubs []*channel.Publication) string {
	out := make([]string, len(pubs))
	for i, p := range pubs {
		out[i] = string(p.Data) + "#" + p.Tags[consumer.TagAttempt]
	}
	return strings.Join(out, " ")
}

func (c *client) gets(want string) []*channel.Publication {
	c.r.t.Helper()
	pubs := c.take()
	if got := said(pubs); got != want {
		c.r.t.Errorf("got %q, want %q", got, want)
	}
	return pubs
}

// publish publishes numbers from to up to.
func (r *rig) publish(source string, from, to int) {
	r.t.Helper()
	for i := from; i <= to; i++ {
		if _, err := r.hub.Publish(context.Background(), &channel.PublishRequest{Channel: source, Data: []byte(strconv.Itoa(i))}); err != nil {
			r.t.Fatal(err)
		}
	}
	synctest.Wait()
}

// word says something about deliveries by their tokens.
func (r *rig) word(do string, delay time.Duration, pubs ...*channel.Publication) (*consumer.Outcome, error) {
	var tokens []string
	for _, p := range pubs {
		tokens = append(tokens, p.Tags[consumer.TagAck])
	}
	out, err := r.m.Settle(context.Background(), &consumer.Word{Do: do, Delay: delay, Tokens: tokens})
	synctest.Wait()
	return out, err
}

// acks acknowledges, which has to settle all.
func (r *rig) acks(pubs ...*channel.Publication) {
	r.t.Helper()
	out, err := r.word("ack", 0, pubs...)
	if err != nil || out.Done != len(pubs) {
		r.t.Fatalf("acked %+v, %v of %d", out, err, len(pubs))
	}
}

func (r *rig) create(name, source string, set consumer.Settings, from consumer.Start) *consumer.Info {
	r.t.Helper()
	i, err := r.m.Create(context.Background(), name, source, set, from)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

func (r *rig) info(name, source string) *consumer.Info {
	r.t.Helper()
	i, err := r.m.Info(context.Background(), name, source)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// kept returns the data of what a channel keeps.
func (r *rig) kept(name string) []string {
	r.t.Helper()
	h, err := r.hub.History(context.Background(), hub.HistoryRequest{Channel: name, Limit: -1})
	if err != nil {
		r.t.Fatal(err)
	}
	out := make([]string, len(h.Pubs))
	for i, p := range h.Pubs {
		out[i] = string(p.Data)
	}
	return out
}

// wait lets virtual time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// numbers returns what said shows of first deliveries from to up to.
func numbers(from, to int) string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i, "#1"))
	}
	return strings.Join(out, " ")
}
