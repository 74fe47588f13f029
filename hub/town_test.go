package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// crossing is the model of a cluster: clients that hop from node to node while
// publishers publish everywhere and nodes are killed.
type crossing struct {
	*town
	lake *lake
	ids  []string
	// cuts: nodes are also cut off from each other. Then members leave and
	// join again.
	cuts bool
	// door holds a token for everybody who uses a node; who ends one fills it.
	// A mutex would stop the clock of the bubble.
	door    chan struct{}
	hoppers []*hopper
	mu      struct {
		sync.Mutex
		refused, published, kills, cut int
	}
}

// hopper is a client that never stays for long.
type hopper struct {
	x       *crossing
	random  *rand.Rand
	name    string
	readers []*reader
	at      string // the node it is on
	c       *client
	hops    int
}

// alone does something while nobody uses a node.
func (x *crossing) alone(do func()) {
	for range cap(x.door) {
		x.door <- struct{}{}
	}
	do()
	for range cap(x.door) {
		<-x.door
	}
}

// pick returns a node that is there.
func (x *crossing) pick(random *rand.Rand) (string, *node) {
	for i := random.IntN(len(x.ids)); ; i++ {
		id := x.ids[i%len(x.ids)]
		if n := x.nodes[id]; n != nil {
			return id, n
		}
	}
}

// hop leaves the node it is on and comes back by another, or by the same.
func (h *hopper) hop() {
	h.x.door <- struct{}{}
	defer func() { <-h.x.door }()
	if h.c != nil {
		h.c.Close(hub.DisconnectConnectionClosed)
	}
	id, n := h.x.pick(h.random)
	h.at, h.hops = id, h.hops+1
	h.c = n.connect(fmt.Sprintf("%s-%d", h.name, h.hops))
	lines := make(map[string]func(string))
	for _, r := range h.readers {
		line := r.next()
		lines[r.name] = func(text string) { r.hear(line, text) }
	}
	h.c.listen(func(text string) {
		if f := strings.Fields(text); len(f) > 1 && lines[f[1]] != nil {
			lines[f[1]](text)
		} else if f[0] == "bye" {
			for _, hear := range lines {
				hear(text)
			}
		}
	})
	for _, r := range h.readers {
		if err := h.c.join(r.request()); err != nil {
			h.x.mu.Lock()
			h.x.mu.refused++
			h.x.mu.Unlock()
		}
	}
}

// settled reports whether it is subscribed to everything.
func (h *hopper) settled() bool {
	return !slices.ContainsFunc(h.readers, func(r *reader) bool {
		_, live := r.standing()
		return !live
	})
}

// live hops so many times.
func (h *hopper) live(hops int) {
	for range hops {
		h.hop()
		time.Sleep(time.Duration(h.random.Int64N(int64(200 * time.Millisecond))))
	}
}

// publish publishes by any node, now and then.
func (x *crossing) publish(ctx context.Context, seed uint64, names []string) {
	random := rand.New(rand.NewPCG(seed, 2))
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
		name := names[random.IntN(len(names))]
		x.door <- struct{}{}
		_, n := x.pick(random)
		_, err := n.hub.Publish(ctx, &channel.PublishRequest{Channel: name, Data: fmt.Appendf(nil, "%d.%d", seed, i)})
		<-x.door
		x.mu.Lock()
		if err == nil {
			x.mu.published++
		} else if !errors.Is(err, channel.ErrUnavailable) && ctx.Err() == nil {
			x.t.Errorf("publish: %v", err)
		}
		x.mu.Unlock()
	}
}

// wreck kills a node and starts it again, over and over.
func (x *crossing) wreck(ctx context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 3))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10*time.Second + time.Duration(random.Int64N(int64(10*time.Second)))):
		}
		id := x.ids[random.IntN(len(x.ids))]
		if x.cuts && random.IntN(2) == 0 {
			x.cut(random, id)
			continue
		}
		x.alone(func() { x.kill(id) })
		x.mu.Lock()
		x.mu.kills++
		x.mu.Unlock()
		time.Sleep(time.Duration(random.Int64N(int64(8 * time.Second))))
		x.alone(func() { x.start(id) })
	}
}

// cut cuts a node off from another one, or lets it hear and not be heard, and
// heals that after a while.
func (x *crossing) cut(random *rand.Rand, id string) {
	other := "w"
	if i := random.IntN(len(x.ids)); x.ids[i] != id {
		other = x.ids[i]
	}
	if random.IntN(2) == 0 {
		x.net.Cut(id, other)
	} else {
		x.net.CutOneWay(id, other)
	}
	x.mu.Lock()
	x.mu.cut++
	x.mu.Unlock()
	time.Sleep(time.Duration(random.Int64N(int64(12 * time.Second))))
	x.net.Heal(id, other)
}

// TestClientsHopBetweenNodes is the promise of a cluster: any node serves
// anyone. Wherever a client comes back it gets exactly what it missed, and who
// is there is the same everywhere.
func TestClientsHopBetweenNodes(t *testing.T) {
	hops, seeds := 1000, []uint64{1, 2, rand.Uint64()}
	if testing.Short() || raced {
		hops, seeds = 150, seeds[2:]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { crossTown(t, seed, hops, false) })
		})
		t.Run(fmt.Sprint("cut off, seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { crossTown(t, seed, hops, true) })
		})
	}
}

func crossTown(t *testing.T, seed uint64, hops int, cuts bool) {
	names := []string{"log:x", "log:y", "room:x"}
	x := &crossing{lake: newLake(seed, 30*time.Millisecond, 50), ids: []string{"a", "b", "c"}, door: make(chan struct{}, 16), cuts: cuts}
	x.town = newTown(t, func(o *hub.Options) {
		for _, ns := range o.Namespaces {
			ns.PositionCheck = 5 * time.Second
		}
	}, func(string) channel.Engine { return x.lake.port() }, x.ids...)
	delays := rand.New(rand.NewPCG(seed, 4))
	x.net.Delay(func() time.Duration { return time.Duration(delays.Int64N(int64(20 * time.Millisecond))) })

	// A witness that no kill takes away sees who comes and goes.
	witness := x.start("w").in("witness", "room:x", true)
	ctx, stop := context.WithCancel(context.Background())
	var busy, travel sync.WaitGroup
	for i := range uint64(3) {
		busy.Go(func() { x.publish(ctx, seed+i, names) })
	}
	busy.Go(func() { x.wreck(ctx, seed) })
	for i := range 4 {
		h := &hopper{x: x, name: fmt.Sprint("h", i), random: rand.New(rand.NewPCG(seed, 10+uint64(i)))}
		for _, name := range []string{"room:x", names[i%2]} {
			h.readers = append(h.readers, newReader(name))
		}
		x.hoppers = append(x.hoppers, h)
		travel.Go(func() { h.live(hops) })
	}
	travel.Wait()
	stop()
	busy.Wait()
	for _, h := range x.hoppers {
		for !h.settled() {
			h.hop()
			wait(time.Second)
		}
	}
	wait(10 * time.Second) // the longest that a death or a silent loss goes unnoticed
	x.verify(t, witness)
}

func (x *crossing) verify(t *testing.T, witness *client) {
	filled := 0
	users := []string{"witness"}
	for _, h := range x.hoppers {
		users = append(users, fmt.Sprintf("%s-%d", h.name, h.hops))
		for _, r := range h.readers {
			r.verify(t, x.lake.log(r.name))
			log := x.lake.log(r.name)
			at, live := r.standing()
			if top := log[len(log)-1].Position; !live || at != top {
				t.Errorf("%s stands at %v in %s (live: %v), the top is %v", h.name, at, r.name, live, top)
			}
			if n := r.told(); n > 0 {
				t.Errorf("%s was told %d times that something of %s is lost, and everything is kept", h.name, n, r.name)
			}
			filled += r.filled()
		}
	}
	x.everywhere("room:x", users...)
	here := map[string]bool{"witness": true}
	seen, over := 0, make(map[string]bool)
	synctest.Wait()
	for _, l := range witness.lines() {
		f := strings.Fields(l)
		switch {
		case f[0] == "join" && (here[f[2]] || (over[f[2]] && !x.cuts)) && f[2] != "witness":
			t.Errorf("%s joined twice", f[2])
		case f[0] == "join":
			here[f[2]] = true
			seen++
		case f[0] == "leave" && !here[f[2]]:
			t.Errorf("%s left and was not there", f[2])
		case f[0] == "leave":
			delete(here, f[2])
			over[f[2]] = true
		}
	}
	for _, u := range users {
		if !here[u] {
			t.Errorf("%s was not announced", u)
		}
		delete(here, u)
	}
	if len(here) > 0 {
		t.Errorf("nobody said that they left: %v", here)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t.Logf("published %d, lost on the way %d, refused %d, kills %d, cuts %d, recovered with publications %d, joins told %d",
		x.mu.published, x.lake.mu.lost, x.mu.refused, x.mu.kills, x.mu.cut, filled, seen)
	if filled == 0 || x.mu.published == 0 || x.lake.mu.lost == 0 {
		t.Error("this shows nothing")
	}
}

// What is removed at one node is not read from the ring of another.
func TestRemovedEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLake(1, time.Millisecond, 0)
		w := newTown(t, nil, func(string) channel.Engine { return l.port() }, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		resident := b.connect("resident")
		resident.subscribe("log:x")
		at := a.publish("log:x", numbers(1, 10)...)
		wait(time.Second)
		resident.gets(t, numbers(1, 10)...)
		fifth := l.log("log:x")[4].Position
		back := func(since channel.Position) bool {
			t.Helper()
			sn, err := b.connect("").Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:x", Recover: true, Since: since})
			if err != nil {
				t.Fatal(err)
			}
			return sn.Recovered
		}
		if !back(fifth) || !back(at) {
			t.Error("what is kept was not recovered")
		}
		if err := a.hub.HistoryRemove(t.Context(), "log:x"); err != nil {
			t.Fatal(err)
		}
		if back(fifth) || !back(at) {
			t.Error("after the removal only who was at the top is")
		}
		a.publish("log:x", "11")
		wait(time.Second)
		resident.gets(t, "11")
	})
}
