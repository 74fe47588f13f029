package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

const lifeChannel = "$lifecycle:events"

// diary is an engine whose lifecycle channel several nodes share, and that may
// fail.
type diary struct {
	channel.Engine
	shared channel.Engine
	mu     struct {
		sync.Mutex
		err error
		// unsure: what is published gets no answer at first.
		unsure bool
	}
}

func newDiary(shared channel.Engine) *diary {
	return &diary{Engine: memory.New(memory.Options{}), shared: shared}
}

func (d *diary) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.err = err
}

// forget has an engine that tries again where no answer comes: so it calls what
// was published by its first attempt a duplicate.
func (d *diary) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.unsure = true
}

func (d *diary) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if r.Channel != lifeChannel {
		return d.Engine.Read(ctx, r)
	}
	return d.shared.Read(ctx, r)
}

func (d *diary) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if r.Channel != lifeChannel {
		return d.Engine.Publish(ctx, r)
	}
	d.mu.Lock()
	err, unsure := d.mu.err, d.mu.unsure
	d.mu.Unlock()
	if err == nil && unsure {
		_, err = d.shared.Publish(ctx, r)
	}
	if err != nil {
		return channel.Ack{}, err
	}
	return d.shared.Publish(ctx, r)
}

func lifePolicy() *channel.Policy {
	return &channel.Policy{Namespace: "$lifecycle", HistorySize: 100_000}
}

// living has a hub tell of everything.
func living(o *hub.Options) {
	o.Namespaces["$lifecycle"] = &hub.Namespace{Policy: lifePolicy(), Recover: true, System: true}
	o.Lifecycle = &hub.Lifecycle{Channel: lifeChannel, Events: hub.LifecycleEvents()}
}

// nullSink is that of an engine nobody listens to.
type nullSink struct{}

func (nullSink) Deliver(*channel.Publication) {}
func (nullSink) Lost(string)                  {}
func (nullSink) Cleared(string)               {}

func sharedEngine(t *testing.T) channel.Engine {
	t.Helper()
	e := memory.New(memory.Options{})
	if err := e.Start(t.Context(), nullSink{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// told reads the lifecycle channel: one line for each event, client ids left
// out, and how many publications it is in.
func told(t testing.TB, e channel.Engine) (lines []string, batches int) {
	t.Helper()
	r, err := e.Read(context.Background(), &channel.ReadRequest{Channel: lifeChannel, Policy: lifePolicy(), Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Pubs {
		var b hub.LifecycleBatch
		if err := json.Unmarshal(p.Data, &b); err != nil {
			t.Fatal(err)
		}
		for _, ev := range b.Events {
			var line strings.Builder
			line.WriteString(ev.Event)
			for _, s := range []string{ev.Channel, ev.User, ev.Reason} {
				if s != "" {
					line.WriteString(" " + s)
				}
			}
			if strings.HasPrefix(ev.Event, "node_") && ev.Node != "here" {
				line.WriteString(" " + ev.Node)
			}
			if ev.Pattern {
				line.WriteString(" (pattern)")
			}
			if ev.Count > 0 {
				fmt.Fprint(&line, " ", ev.Count)
			}
			if ev.Again {
				line.WriteString(" again")
			}
			if ev.Time == 0 || ev.Node == "" {
				t.Errorf("%+v has no time or node", ev)
			}
			lines = append(lines, line.String())
		}
	}
	return lines, len(r.Pubs)
}

func want(t *testing.T, e channel.Engine, lines ...string) {
	t.Helper()
	wait(3 * time.Second)
	if got, _ := told(t, e); !slices.Equal(got, lines) {
		t.Fatalf("told\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(lines, "\n "))
	}
}

// The lifecycle tells of everything in its order, of channels that are left and
// entered again within a moment nothing, and of what ends with a connection.
func TestLifecycle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		s := newStage(t, newDiary(shared), living)
		s.hub.Begin()
		a := s.connect("ann")
		a.subscribe("room:x")
		b := s.connect("bob")
		b.subscribe("room:x")
		_ = a.Unsubscribe("room:x")
		lines := []string{
			"node_up", "connected ann", "subscribed room:x ann", "occupied room:x", "connected bob", "subscribed room:x bob", "unsubscribed room:x ann",
		}
		want(t, shared, lines...)
		_ = b.Unsubscribe("room:x")
		b.subscribe("room:x")
		lines = append(lines, "unsubscribed room:x bob", "subscribed room:x bob")
		want(t, shared, lines...)
		_, _ = s.hub.Unsubscribe(t.Context(), hub.Target{User: "bob"}, "")
		lines = append(lines, "unsubscribed room:x bob server unsubscribe", "vacated room:x")
		want(t, shared, lines...)
		a.subscribe("log:y")
		a.Close(hub.DisconnectForceReconnect)
		lines = append(lines, "subscribed log:y ann", "occupied log:y",
			"unsubscribed log:y ann connection closed", "disconnected ann force reconnect", "vacated log:y")
		want(t, shared, lines...)
		s.takeDown()
		s.hub.Close() // a second time
		lines = append(lines, "disconnected bob shutdown")
		want(t, shared, lines...)
	})
}

// What was not chosen is not told, nor who was never let in, nor who reads the
// lifecycle.
func TestLifecycleTellsWhatWasChosen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		s := newStage(t, newDiary(shared), func(o *hub.Options) {
			living(o)
			o.Lifecycle.Events = []string{hub.LifeOccupied, hub.LifeSubscribed}
			o.Lifecycle.Namespaces = []string{"room"}
		})
		s.hub.Begin()
		s.open(nil).Close(hub.DisconnectStale)
		a := s.connectAs(&auth.Identity{User: "ann"}, nil)
		a.subscribe("log:x")
		if err := a.join(hub.SubscribeRequest{Channel: lifeChannel, Granted: true}); err != nil {
			t.Fatal(err)
		}
		a.subscribe("room:x")
		a.Close(hub.DisconnectConnectionClosed)
		want(t, shared, "node_up", "subscribed room:x ann", "occupied room:x")
	})
}

// An engine that does not answer for a while holds nobody up; what was too much
// is told as lost, and what was tried is told once.
func TestLifecycleOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		d := newDiary(shared)
		s := newStage(t, d, func(o *hub.Options) { living(o); o.Lifecycle.Queue = 10 })
		s.hub.Begin()
		wait(time.Second)
		d.fail(channel.ErrUnavailable)
		began := time.Now()
		for i := range 30 {
			s.connect(fmt.Sprint("user", i))
		}
		if time.Since(began) > 0 {
			t.Error("clients waited")
		}
		wait(time.Minute)
		d.fail(nil)
		wait(time.Minute)
		got, _ := told(t, shared)
		var connected, lost, losses int
		for _, l := range got {
			if strings.HasPrefix(l, "connected") {
				connected++
			}
			var n int
			if _, err := fmt.Sscanf(l, "lost %d", &n); err == nil {
				lost += n
				losses++
			}
		}
		if connected+lost != 30 || lost == 0 || connected < 10 {
			t.Errorf("%d connected, %d lost of 30: %s", connected, lost, got)
		}
		if n := s.metrics.Limit("lifecycle_queue").Value(); n != int64(lost) {
			t.Errorf("%d lost are counted, %d were told", n, lost)
		}
		if len(got) != 1+connected+losses {
			t.Errorf("told %s", got)
		}
	})
}

// Many events share publications.
func TestLifecycleBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := sharedEngine(t)
		d := newDiary(shared)
		s := newStage(t, d, living)
		s.hub.Begin()
		d.fail(channel.ErrUnavailable)
		for range 1000 {
			s.connect("ann")
		}
		wait(time.Second)
		d.fail(nil)
		wait(time.Minute)
		got, batches := told(t, shared)
		if len(got) != 1001 || batches > 8 {
			t.Errorf("%d events in %d publications", len(got), batches)
		}
	})
}
