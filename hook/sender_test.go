package hook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hook"
	"myelin/hub"
	"myelin/internal/memnet"
	"myelin/observe"
)

// post is a webhook's receiver in virtual time, with the engine that it is told
// from.
type post struct {
	t       *testing.T
	engine  channel.Engine
	metrics *observe.Metrics
	ln      *memnet.Listener
	mu      struct {
		sync.Mutex
		status int
		slow   time.Duration
		got    []letter
		tries  int
		taken  func() // called with each letter that was taken
	}
}

type letter struct {
	Webhook string `json:"webhook"`
	ID      string `json:"id"`
	Reason  string `json:"reason"`
	Events  []struct {
		hub.LifecycleEvent
		Offset uint64 `json:"offset"`
	} `json:"events"`
	header http.Header
}

type nobody struct{}

func (nobody) Deliver(*channel.Publication) {}
func (nobody) Lost(string)                  {}
func (nobody) Cleared(string)               {}

var (
	_          = nobody{}
	lifePolicy = func(size int) *channel.Policy { return &channel.Policy{Namespace: "$lifecycle", HistorySize: size} }
)

func newPost(t *testing.T) *post {
	p := &post{t: t, engine: memory.New(memory.Options{}), metrics: observe.New(), ln: memnet.Listen(memnet.Options{})}
	p.mu.status = 200
	if err := p.engine.Start(t.Context(), nobody{}); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(p.serve)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(p.ln) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
		_ = p.engine.Close(context.Background())
	})
	return p
}

func (p *post) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a := asked{r.URL.Path, r.Header, body}
	checkSignature(p.t, &a, "a shared secret")
	l := letter{header: r.Header}
	if err := json.Unmarshal(body, &l); err != nil || l.ID != r.Header.Get(hook.HeaderID) {
		p.t.Errorf("%v: %s", err, body)
	}
	p.mu.Lock()
	p.mu.tries++
	status, slow, taken := p.mu.status, p.mu.slow, p.mu.taken
	if status == 200 {
		p.mu.got = append(p.mu.got, l)
	}
	p.mu.Unlock()
	if taken != nil {
		taken()
	}
	time.Sleep(slow)
	w.WriteHeader(status)
}

func (p *post) answers(status int, slow time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.status, p.mu.slow = status, slow
}

// tells publishes events, one in each publication.
func (p *post) tells(size int, events ...hub.LifecycleEvent) {
	p.t.Helper()
	for _, e := range events {
		b, _ := json.Marshal(hub.LifecycleBatch{Events: []hub.LifecycleEvent{e}})
		if _, err := p.engine.Publish(p.t.Context(), &channel.PublishRequest{Channel: "$lifecycle:events", Policy: lifePolicy(size), Data: b}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// took returns what the receiver took, a word for each event.
func (p *post) took() (words []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.mu.got {
		for _, e := range l.Events {
			words = append(words, strings.TrimSpace(e.Event+" "+e.User+e.Channel))
		}
	}
	return words
}

// send runs a sender; stop ends it in peace.
func (p *post) send(node string, change func(o *hook.SenderOptions)) (stop func()) {
	o := hook.SenderOptions{
		Webhook: hook.Webhook{
			Name: "app", URL: "http://app/hook", Secret: "a shared secret", Timeout: 5 * time.Second, Batch: 10,
			MinPause: time.Second, MaxPause: 10 * time.Second, GiveUp: time.Minute,
		},
		Engine: p.engine, Node: node, Incarnation: 1,
		Tap:       func(context.Context, string, func()) (func(), error) { return func() {}, nil },
		Lifecycle: "$lifecycle:events", State: "$webhooks:cursors", Dead: "$dead:app",
		LifecyclePolicy: lifePolicy(1000), StatePolicy: &channel.Policy{Namespace: "$webhooks", Kind: channel.KindState, HistorySize: 10},
		DeadPolicy: &channel.Policy{Namespace: "$dead", HistorySize: 10},
		Transport:  &http.Transport{DialContext: p.ln.DialContext}, Metrics: p.metrics,
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { hook.NewSender(o).Run(ctx) })
	return func() { cancel(); running.Wait() }
}

func users(event string, from, to int) (out []hub.LifecycleEvent) {
	for i := from; i <= to; i++ {
		out = append(out, hub.LifecycleEvent{Event: event, Time: 1, Node: "n", User: fmt.Sprint(i)})
	}
	return out
}

func words(event string, from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(event, " ", i))
	}
	return out
}

// Everything arrives once and in order, over failures and restarts.
func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t)
		p.tells(1000, users("connected", 1, 25)...)
		stop := p.send("n", func(o *hook.SenderOptions) { o.Alone = true })
		time.Sleep(3 * time.Second)
		if got := p.took(); !slices.Equal(got, words("connected", 1, 25)) || len(p.mu.got) != 3 {
			t.Errorf("%d letters of %s", len(p.mu.got), got)
		}
		p.answers(500, 0)
		p.tells(1000, users("connected", 26, 30)...)
		time.Sleep(20 * time.Second)
		m := p.metrics.Webhook("app")
		if m.Waiting.Value() != 5 || m.Failures.Value() < 3 || m.Delivered.Value() != 3 {
			t.Errorf("%d wait, %d failures, %d taken", m.Waiting.Value(), m.Failures.Value(), m.Delivered.Value())
		}
		stop()
		p.answers(200, 0)
		stop = p.send("n", func(o *hook.SenderOptions) { o.Alone, o.Incarnation = true, 2 })
		time.Sleep(3 * time.Second)
		stop()
		if got := p.took(); !slices.Equal(got, words("connected", 1, 30)) {
			t.Errorf("got %s", got)
		}
		if m.Waiting.Value() != 0 || m.Dead.Value() != 0 {
			t.Errorf("%d wait, %d dead", m.Waiting.Value(), m.Dead.Value())
		}
	})
}

// What nobody takes is kept and gives way to what comes after it.
func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t)
		var log bytes.Buffer
		p.answers(503, 0)
		stop := p.send("n", func(o *hook.SenderOptions) {
			o.Alone, o.Webhook.Batch, o.Webhook.URL = true, 1, "http://app/hook?key=s3cret"
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		p.tells(1000, users("connected", 1, 1)...)
		time.Sleep(50 * time.Second)
		p.tells(1000, users("connected", 2, 2)...)
		time.Sleep(25 * time.Second)
		p.answers(200, 0)
		time.Sleep(20 * time.Second)
		if got := p.took(); !slices.Equal(got, words("connected", 2, 2)) || p.metrics.Webhook("app").Dead.Value() != 1 {
			t.Errorf("got %s, %d dead", got, p.metrics.Webhook("app").Dead.Value())
		}
		if p.mu.tries < 8 || p.mu.tries > 25 {
			t.Errorf("%d tries in a minute", p.mu.tries)
		}
		r, err := p.engine.Read(t.Context(), &channel.ReadRequest{Channel: "$dead:app", Policy: &channel.Policy{Namespace: "$dead", HistorySize: 10}, Limit: -1})
		var l letter
		if err != nil || len(r.Pubs) != 1 || json.Unmarshal(r.Pubs[0].Data, &l) != nil || l.Events[0].User != "1" || !strings.Contains(l.Reason, "503") {
			t.Errorf("%+v, %v, %v", l, r.Pubs, err)
		}
		p.answers(200, time.Minute)
		p.tells(1000, users("connected", 3, 3)...)
		time.Sleep(30 * time.Second)
		stop()
		time.Sleep(time.Minute) // until the receiver has let go of all
		if text := log.String(); !strings.Contains(text, "deadline") || strings.Contains(text, "s3cret") {
			t.Errorf("logged:\n%s", text)
		}
	})
}

// One node of a cluster sends. Another goes on where it stopped, soon after a
// goodbye, and after the lease where there was none; who comes back from a
// pause finds out.
func TestOneNodeSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t)
		stopA := p.send("a", nil)
		time.Sleep(2 * time.Second)
		stopB := p.send("b", nil)
		for i := 1; i <= 20; i++ {
			p.tells(1000, users("connected", i, i)...)
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		if got := p.took(); !slices.Equal(got, words("connected", 1, 20)) {
			t.Errorf("got %s", got)
		}
		stopA() // in peace
		p.tells(1000, users("connected", 21, 21)...)
		time.Sleep(3 * time.Second)
		if got := p.took(); !slices.Equal(got, words("connected", 1, 21)) {
			t.Errorf("after a goodbye: %s", got)
		}
		// b hangs in its receiver, as a paused process would, for longer than
		// its lease: c takes over, and b finds out.
		d := &deaf{Engine: p.engine}
		stopB()
		stopB = p.send("b", func(o *hook.SenderOptions) { o.Engine = d })
		time.Sleep(2 * time.Second)
		stopC := p.send("c", nil)
		d.set(true)
		p.tells(1000, users("connected", 22, 22)...)
		time.Sleep(time.Minute)
		d.set(false)
		p.tells(1000, users("connected", 23, 23)...)
		time.Sleep(time.Minute)
		got := p.took()
		if !slices.Equal(slices.Compact(got), words("connected", 1, 23)) || len(p.took()) > 24 {
			t.Errorf("after a pause: %s", p.took())
		}
		stopB()
		stopC()
	})
}

// A delivery that was taken and not noted, because its sender died, comes again
// with the same id and the same events, whatever has happened since.
func TestSameDeliveryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t)
		d := &deaf{Engine: p.engine}
		p.tells(1000, users("connected", 1, 3)...)
		p.mu.taken = func() { d.set(true) }
		stopA := p.send("a", func(o *hook.SenderOptions) { o.Engine = d })
		time.Sleep(2 * time.Second)
		p.tells(1000, users("connected", 4, 15)...)
		stopB := p.send("b", func(o *hook.SenderOptions) { o.Webhook.Batch = 2 })
		time.Sleep(time.Minute)
		d.set(false)
		time.Sleep(time.Minute)
		stopA()
		stopB()
		want := append(words("connected", 1, 3), words("connected", 1, 15)...)
		if got := p.took(); !slices.Equal(got, want) {
			t.Errorf("got %s", got)
		}
		if p.mu.got[0].ID != p.mu.got[1].ID || len(p.mu.got) != 8 {
			t.Errorf("%d letters, the first two %s and %s", len(p.mu.got), p.mu.got[0].ID, p.mu.got[1].ID)
		}
	})
}

// deaf is an engine that cannot be reached for a while.
type deaf struct {
	channel.Engine
	mu sync.Mutex
	on bool
}

func (d *deaf) set(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = on
}

func (d *deaf) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	d.mu.Lock()
	on := d.on
	d.mu.Unlock()
	if on {
		return channel.Ack{}, channel.ErrUnavailable
	}
	return d.Engine.Publish(ctx, r)
}

// What was not chosen is not sent, and what the history did not keep is told as
// lost.
func TestWebhookChoosesAndLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t)
		choose := func(o *hook.SenderOptions) {
			o.Alone, o.LifecyclePolicy = true, lifePolicy(5)
			o.Webhook.Events, o.Webhook.Namespaces = []string{"connected", "occupied", "subscribed"}, []string{"chat"}
		}
		stop := p.send("n", choose)
		p.tells(5, hub.LifecycleEvent{Event: "connected", User: "1"}, hub.LifecycleEvent{Event: "disconnected", User: "1"},
			hub.LifecycleEvent{Event: "occupied", Channel: "chat:a"}, hub.LifecycleEvent{Event: "occupied", Channel: "news:a"}, hub.LifecycleEvent{Event: "node_up"})
		time.Sleep(3 * time.Second)
		p.tells(5, hub.LifecycleEvent{Event: "subscribed", Channel: "chat:*", Pattern: true}, hub.LifecycleEvent{Event: "subscribed", Channel: "news:*", Pattern: true},
			hub.LifecycleEvent{Event: "subscribed", Channel: "**", Pattern: true})
		time.Sleep(3 * time.Second)
		if got := p.took(); !slices.Equal(got, []string{"connected 1", "occupied chat:a", "node_up", "subscribed chat:*", "subscribed **"}) {
			t.Errorf("got %s", got)
		}
		stop()
		p.tells(5, users("connected", 2, 20)...)
		stop = p.send("n", func(o *hook.SenderOptions) { choose(o); o.Incarnation = 2 })
		defer stop()
		time.Sleep(3 * time.Second)
		if got := p.took()[5:]; !slices.Equal(got, append([]string{"lost"}, words("connected", 16, 20)...)) {
			t.Errorf("got %s", got)
		}
	})
}
