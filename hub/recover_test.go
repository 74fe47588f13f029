package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// scene is a way to put recovery to the test.
type scene struct {
	namespace string
	publish   int // publications, by all publishers
	pause     time.Duration
	// engine returns a new one; seed is for its whims.
	engine func(random *rand.Rand) channel.Engine
	// whole: nobody may be told of a loss, because nothing is ever gone.
	whole bool
	// slow: some readers take little at a time.
	slow bool
	// ring: more is recovered from the ring than from the engine.
	ring bool
}

// scenes are the ways.
func scenes() map[string]scene {
	plain := func(*rand.Rand) channel.Engine { return &fake{} }
	return map[string]scene{
		"memory, from the ring":    {namespace: "log", publish: 200, pause: time.Millisecond, engine: func(*rand.Rand) channel.Engine { return memory.New(memory.Options{}) }, whole: true, ring: true},
		"memory, from the engine":  {namespace: "deep", publish: 1500, pause: time.Millisecond, engine: func(*rand.Rand) channel.Engine { return memory.New(memory.Options{}) }, whole: true},
		"in a hurry":               {namespace: "deep", publish: 1500, pause: 0, engine: plain, whole: true},
		"little is kept":           {namespace: "short", publish: 300, pause: time.Millisecond, engine: plain},
		"sparse offsets":           {namespace: "log", publish: 200, pause: time.Millisecond, engine: func(*rand.Rand) channel.Engine { return &fake{stride: 7} }, whole: true},
		"readers that are slow":    {namespace: "deep", publish: 1000, pause: time.Millisecond, engine: plain, whole: true, slow: true},
		"a feed that loses":        {namespace: "deep", publish: 1000, pause: time.Millisecond, engine: lossy(5), whole: true},
		"a feed that loses a lot":  {namespace: "short", publish: 300, pause: time.Millisecond, engine: lossy(2)},
		"a feed that lags":         {namespace: "deep", publish: 1000, pause: time.Millisecond, engine: lagging, whole: true},
		"an engine that is slow":   {namespace: "deep", publish: 1000, pause: time.Millisecond, engine: tardy, whole: true},
		"an engine that fails":     {namespace: "deep", publish: 500, pause: 10 * time.Millisecond, engine: failing},
		"epochs that come and go":  {namespace: "deep", publish: 500, pause: time.Millisecond, engine: restless},
		"all of it":                {namespace: "deep", publish: 500, pause: 5 * time.Millisecond, engine: everything, slow: true},
		"a feed that repeats much": {namespace: "log", publish: 200, pause: time.Millisecond, engine: repeating, whole: true},
	}
}

// lossy is an engine whose feed loses one in so many, repeats and swaps others.
func lossy(one int) func(*rand.Rand) channel.Engine {
	return func(random *rand.Rand) channel.Engine {
		var held *channel.Publication
		return &fake{stride: 3, feed: func(next channel.Sink, p *channel.Publication) {
			if held != nil {
				next.Deliver(p)
				next.Deliver(held)
				held = nil
				return
			}
			switch random.IntN(4 * one) {
			case 0, 1:
			case 2:
				next.Lost(p.Channel)
			case 3:
				held = p
			default:
				next.Deliver(p)
			}
		}}
	}
}

func repeating(random *rand.Rand) channel.Engine {
	var last []*channel.Publication
	return &fake{feed: func(next channel.Sink, p *channel.Publication) {
		last = append(last, p)
		for range random.IntN(3) {
			next.Deliver(last[random.IntN(len(last))])
		}
		next.Deliver(p)
	}}
}

// lagging is an engine whose feed comes later than what it reads.
func lagging(random *rand.Rand) channel.Engine {
	var queue []*channel.Publication
	return &fake{feed: func(next channel.Sink, p *channel.Publication) {
		queue = append(queue, p)
		for random.IntN(3) > 0 && len(queue) > 0 {
			next.Deliver(queue[0])
			queue = queue[1:]
		}
	}}
}

// tardy is an engine that takes its time.
func tardy(random *rand.Rand) channel.Engine {
	var mu sync.Mutex
	pause := func(ctx context.Context) error {
		mu.Lock()
		d := time.Duration(random.IntN(20)) * time.Millisecond
		mu.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return nil
	}
	return &fake{
		subscribing: func(ctx context.Context, _ string) error { return pause(ctx) },
		subscribed:  func(ctx context.Context, _ string) error { return pause(ctx) },
		reading:     func(ctx context.Context, _ *channel.ReadRequest) error { return pause(ctx) },
	}
}

// failing is an engine whose calls fail now and then, and whose feed loses.
func failing(random *rand.Rand) channel.Engine {
	var mu sync.Mutex
	fail := func() error {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(3) == 0 {
			return channel.ErrUnavailable
		}
		return nil
	}
	e, _ := lossy(10)(rand.New(rand.NewPCG(1, random.Uint64()))).(*fake)
	e.subscribing = func(context.Context, string) error { return fail() }
	e.reading = func(context.Context, *channel.ReadRequest) error { return fail() }
	return e
}

// restless is an engine that begins new epochs, with and without a word.
func restless(random *rand.Rand) channel.Engine {
	e := &fake{}
	e.feed = func(next channel.Sink, p *channel.Publication) {
		next.Deliver(p)
		if random.IntN(50) == 0 {
			lost := random.IntN(2) == 0
			go e.renew(p.Channel, lost)
		}
	}
	return e
}

// everything is an engine that has it all.
func everything(random *rand.Rand) channel.Engine {
	e, _ := failing(random).(*fake)
	slow, _ := tardy(rand.New(rand.NewPCG(2, random.Uint64()))).(*fake)
	drop := e.feed
	turns := rand.New(rand.NewPCG(3, random.Uint64()))
	e.feed = func(next channel.Sink, p *channel.Publication) {
		drop(next, p)
		if turns.IntN(80) == 0 {
			go e.renew(p.Channel, true)
		}
	}
	e.subscribed, e.stride = slow.subscribed, 2
	return e
}

// publishers and readers are how many meet.
const publishers, readers = 4, 8

// play has publishers and readers meet on one channel, and returns how often
// publications were recovered, and how often the engine was read.
func (sc scene) play(t *testing.T, seed uint64) (filled, reads int64) {
	e := &counting{Engine: sc.engine(rand.New(rand.NewPCG(seed, 1)))}
	s := newStage(t, e, func(o *hub.Options) {
		o.Namespaces[sc.namespace].PositionCheck = time.Second
		o.Limits.QueueBytes = 2000
	})
	name := sc.namespace + ":x"
	var log struct {
		sync.Mutex
		pubs []*channel.Publication
	}
	var publishing, reading sync.WaitGroup
	done := make(chan struct{})
	for p := range publishers {
		random := rand.New(rand.NewPCG(seed, 100+uint64(p)))
		publishing.Go(func() {
			for i := range sc.publish / publishers {
				data := fmt.Sprint(p, ".", i)
				at := s.publish(name, data)
				log.Lock()
				log.pubs = append(log.pubs, &channel.Publication{Position: at, Data: []byte(data)})
				log.Unlock()
				switch {
				case sc.pause > 0:
					time.Sleep(time.Duration(random.Int64N(int64(2 * sc.pause))))
				case random.IntN(4) == 0:
					// On one processor the readers would come when all is over.
					runtime.Gosched()
				}
			}
		})
	}
	all := make([]*reader, readers)
	for i := range all {
		all[i] = newReader(name)
		random := rand.New(rand.NewPCG(seed, 200+uint64(i)))
		reading.Go(func() { sc.read(s, all[i], random, done) })
	}
	publishing.Wait()
	close(done)
	reading.Wait()
	wait(30 * time.Second) // what is lost in silence is found
	top := s.top(name)
	for i, r := range all {
		for range 100 {
			if _, live := r.standing(); live {
				break
			}
			c := s.connect("")
			r.attach(c)
			_ = c.join(r.request())
			wait(2 * time.Second)
		}
		if at, live := r.standing(); at != top || !live {
			t.Errorf("seed %d: reader %d stands at %v (live %v), the top is %v", seed, i, at, live, top)
		}
		if n := r.told(); n > 0 && sc.whole {
			t.Errorf("seed %d: reader %d was told %d times of a loss that was none", seed, i, n)
		}
		r.verify(t, log.pubs)
		filled += int64(r.filled())
	}
	return filled, e.reads.Load()
}

// top returns the position of a channel, whatever it takes.
func (s *stage) top(name string) channel.Position {
	s.t.Helper()
	for range 100 {
		if r, err := s.hub.History(context.Background(), hub.HistoryRequest{Channel: name}); err == nil {
			return r.Top
		}
	}
	s.t.Fatal("the engine does not answer")
	return channel.Position{}
}

// read comes and goes until the publishers are done.
func (sc scene) read(s *stage, r *reader, random *rand.Rand, done <-chan struct{}) {
	over := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	// nap sleeps for a part of the time that the publishers take, at most one
	// of so many; where they take none it only lets others go first.
	whole := sc.pause * time.Duration(sc.publish/publishers)
	nap := func(part int) {
		if whole == 0 {
			for range random.IntN(100) {
				runtime.Gosched()
			}
			return
		}
		time.Sleep(time.Duration(random.Int64N(int64(whole) / int64(part))))
	}
	for !over() {
		c := s.connect("")
		r.attach(c)
		if sc.slow && random.IntN(2) == 0 {
			c.allow(0)
			go c.trickle(rand.New(rand.NewPCG(4, random.Uint64())))
		}
		for !over() {
			if c.join(r.request()) != nil {
				break
			}
			nap(20)
			if random.IntN(2) == 0 {
				break
			}
			r.leave()
			c.UnsubscribeSaying(r.name, []byte("unsub "+r.name+" 0\n"))
			nap(20)
		}
		c.Close(hub.DisconnectForceReconnect)
		nap(2 + 8*random.IntN(2))
	}
}

// trickle lets a little through at a time, and all in the end.
func (w *wire) trickle(random *rand.Rand) {
	for range 50 {
		time.Sleep(time.Millisecond)
		w.allow(random.IntN(100))
	}
	w.allow(-1)
}

// counting counts the reads of an engine that have no limit: those that recover
// and repair.
type counting struct {
	channel.Engine
	reads atomic.Int64
}

// Read is channel.Engine's.
func (e *counting) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if r.Limit < 0 {
		e.reads.Add(1)
	}
	return e.Engine.Read(ctx, r)
}

func TestRecoveryIsExact(t *testing.T) {
	rounds := uint64(4)
	if testing.Short() {
		rounds = 1
	}
	for name, sc := range scenes() {
		t.Run(name, func(t *testing.T) {
			var filled, reads int64
			for seed := range rounds {
				bubble(t, func(t *testing.T) {
					f, r := sc.play(t, seed)
					filled += f
					reads += r
				})
			}
			t.Logf("%d recoveries with publications, %d reads", filled, reads)
			// Without a pause it is up to the scheduler what comes about.
			if filled == 0 && rounds > 1 && sc.pause > 0 {
				t.Error("nothing was ever recovered: the scene shows nothing")
			}
			if sc.ring && filled <= reads {
				t.Error("nothing was recovered from a ring")
			}
			if sc.whole && !sc.ring && rounds > 1 && reads == 0 {
				t.Error("nothing was read from the engine")
			}
		})
	}
}
