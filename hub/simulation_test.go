package hub_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// The timers of the simulation.
const (
	simPong  = 20 * time.Second
	simDelay = 25 * time.Second
)

// simulation is a day in the life of a hub: sessions that connect, subscribe,
// publish, drop, vanish, come back with their positions, refresh their tokens
// or forget to, stop reading, and stop answering; an operator who subscribes,
// unsubscribes and disconnects them; an engine whose feed loses, repeats, and
// now and then begins a new epoch.
type simulation struct {
	*stage
	engine  *fake
	devices []*device
	// pace is how often a device does something, on average. It is pinged
	// about as often, and its tokens last four times as long.
	pace time.Duration

	mu struct {
		sync.Mutex
		counts map[string]int
	}
}

func (sim *simulation) count(what string) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.mu.counts[what]++
}

// simEngine is the engine of the simulation.
func simEngine() *fake {
	var calls atomic.Uint64
	every := func(n uint64) bool { return calls.Add(1)%n == 0 }
	e := &fake{stride: 3, forgetful: true}
	e.feed = func(next channel.Sink, p *channel.Publication) {
		switch {
		case every(301): // lost
		case every(307):
			next.Deliver(p)
			next.Deliver(p)
		case every(311):
			next.Lost(p.Channel)
			next.Deliver(p)
		case every(4001):
			next.Deliver(p)
			go e.renew(p.Channel, every(2))
		default:
			next.Deliver(p)
		}
	}
	e.subscribing = func(context.Context, string) error {
		if every(503) {
			return channel.ErrUnavailable
		}
		return nil
	}
	e.reading = func(ctx context.Context, _ *channel.ReadRequest) error {
		if every(499) {
			return channel.ErrUnavailable
		}
		return nil
	}
	return e
}

func newSimulation(t *testing.T, devices int, pace time.Duration) *simulation {
	sim := &simulation{engine: simEngine(), pace: pace}
	sim.mu.counts = make(map[string]int)
	sim.stage = newStage(t, sim.engine, func(o *hub.Options) {
		o.PingInterval, o.PongTimeout, o.ExpiredDelay = pace*2/3, simPong, simDelay
		o.Limits.QueueBytes = 256
		for _, ns := range o.Namespaces {
			ns.PositionCheck = 5 * time.Minute
		}
	})
	for i := range devices {
		d := &device{
			sim: sim, user: fmt.Sprint("u", i%(devices*2/5+1)), wake: make(chan struct{}, 1),
			random: rand.New(rand.NewPCG(24, uint64(i))), passing: fmt.Sprint("live:", i%(devices/20)),
		}
		for _, name := range []string{fmt.Sprint("log:", i%(devices/10)), fmt.Sprint("room:", i%(devices/20)), fmt.Sprint("short:", i%7)} {
			r := newReader(name)
			r.mu.seen = nil
			d.readers = append(d.readers, r)
		}
		if i%3 > 0 {
			d.readers = d.readers[:2]
		}
		sim.devices = append(sim.devices, d)
	}
	return sim
}

// operate does what operators do, now and then.
func (sim *simulation) operate(ctx context.Context) {
	random := rand.New(rand.NewPCG(7, 7))
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(random.Int64N(int64(time.Minute)))):
		}
		d := sim.devices[random.IntN(len(sim.devices))]
		to := hub.Target{User: d.user}
		var err error
		switch random.IntN(5) {
		case 0:
			_, err = sim.hub.Unsubscribe(context.Background(), to, d.readers[0].name)
		case 1:
			_, err = sim.hub.Disconnect(context.Background(), to, hub.DisconnectForceReconnect, nil)
		case 2:
			// The devices know nothing of this channel: what it brings counts
			// only when it has to be disconnected with 3010.
			_, err = sim.hub.Subscribe(ctx, to, hub.SubscribeRequest{Channel: "deep:news"})
		case 3:
			_, err = sim.hub.Publish(ctx, &channel.PublishRequest{Channel: "deep:news", Data: []byte("news")})
		case 4:
			sim.info()
			_, err = sim.hub.PresenceStats(d.readers[1].name)
		}
		if err != nil {
			sim.count("operator refused")
		}
	}
}

// run lets the time pass.
func (sim *simulation) run(span time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { sim.operate(ctx) })
	for _, d := range sim.devices {
		all.Go(func() { d.live(ctx) })
	}
	all.Wait()
	// Those who vanished are found out. Then everybody reads and answers
	// again, and comes back.
	wait(sim.pace)
	for range 20 {
		for _, d := range sim.devices {
			d.mu.Lock()
			d.mu.stuck = d.mu.stuck || d.mu.deaf // a ping may be unanswered
			d.mu.deaf = false
			d.mu.Unlock()
			if d.c != nil {
				d.c.allow(-1)
				d.refresh()
			}
			d.mend()
		}
		wait(time.Minute)
	}
}

// check holds the end of the day against the promises of the package.
func (sim *simulation) check(t *testing.T) {
	delivered, filled, told := 0, 0, 0
	present := make(map[string]int)
	for i, d := range sim.devices {
		d.mu.Lock()
		for _, b := range d.mu.broken {
			t.Errorf("device %d: %s", i, b)
		}
		over := d.mu.over
		d.mu.Unlock()
		if over {
			t.Errorf("device %d could not connect", i)
		}
		for _, r := range d.readers {
			r.verify(t, nil)
			at, live := r.standing()
			if top := sim.engine.top(r.name); !live || at != top {
				t.Errorf("device %d stands at %v in %s (live %v), the top is %v", i, at, r.name, live, top)
			}
			present[r.name]++
			r.mu.Lock()
			delivered, filled, told = delivered+r.mu.got, filled+r.mu.filled, told+r.mu.told
			r.mu.Unlock()
		}
	}
	for name, n := range present {
		if strings.HasPrefix(name, "room:") {
			if st, err := sim.hub.PresenceStats(name); err != nil || st.Clients != n {
				t.Errorf("%d are present in %s, want %d (%v)", st.Clients, name, n, err)
			}
		}
		if got := sim.channels(name, 1)[name]; got != n {
			t.Errorf("%s has %d subscribers, want %d", name, got, n)
		}
	}
	if n := sim.hub.Connections(); n != len(sim.devices) {
		t.Errorf("%d connections, want %d", n, len(sim.devices))
	}
	ended := int64(0)
	for code := uint32(3000); code < 3600; code++ {
		ended += sim.metrics.Disconnect(code).Value()
	}
	if opened := int64(sim.mu.counts["connected"]); opened != ended+int64(len(sim.devices)) {
		t.Errorf("%d connected, %d ended", opened, ended)
	}
	slow := sim.metrics.Hub().SlowDisconnects.Value()
	if !testing.Short() && (filled == 0 || told == 0 || delivered == 0 || slow == 0) {
		t.Errorf("%d recoveries, %d told of a loss, %d delivered, %d slow: the day shows nothing", filled, told, delivered, slow)
	}
	t.Logf("delivered %d, recovered %d times with publications, told of a loss %d times", delivered, filled, told)
}

// totals prints what happened.
func (sim *simulation) totals(t *testing.T, span, took time.Duration) {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(sim.mu.counts)) {
		fmt.Fprintf(&b, ", %s %d", what, sim.mu.counts[what])
	}
	repairs := int64(0)
	for name := range namespaces() {
		repairs += sim.metrics.Namespace(name).Repairs.Value()
	}
	t.Logf("%d sessions, %v in %v: pings %d, repairs %d, slow %d, writes %d%s", len(sim.devices), span, took.Round(time.Millisecond),
		sim.metrics.Hub().PingsSent.Value(), repairs, sim.metrics.Hub().SlowDisconnects.Value(), sim.metrics.Hub().Writes.Value(), b.String())
}

func TestADayOfAThousandSessions(t *testing.T) {
	devices, span, pace := 1000, 24*time.Hour, 15*time.Minute
	switch {
	case testing.Short():
		devices, span = 100, 3*time.Hour
	case raced:
		pace = time.Hour
	}
	began := time.Now()
	var sim *simulation
	bubble(t, func(t *testing.T) {
		sim = newSimulation(t, devices, pace)
		sim.run(span)
		sim.check(t)
	})
	sim.totals(t, span, time.Since(began))
}
