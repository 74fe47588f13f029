package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// Drain tells sessions to go one by one, and lets no more in.
func TestDrainIsPaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		var clients []*client
		for range 50 {
			c := s.connect("")
			c.subscribe("log:x")
			clients = append(clients, c)
		}
		pause := hub.DrainPause(10)
		drained := make(chan error, 1)
		go func() { drained <- s.hub.Drain(t.Context(), 10) }()
		wait(pause / 2)
		for gone := 1; gone <= 50; gone++ {
			if n := 50 - s.hub.Connections(); n != gone {
				t.Errorf("after %d pauses %d are gone", gone-1, n)
			}
			if _, err := s.dial(nil); !errors.Is(err, channel.ErrUnavailable) {
				t.Errorf("a session was opened: %v", err)
			}
			wait(pause)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		for _, c := range clients {
			c.wants(t, "bye 3001")
		}
	})
}

// The rate bounds what comes back within any one second, whatever the clients
// do with their goodbyes, as long as each draws its own delay. The seed is fixed:
// this is about the derivation, not about luck.
func TestDrainRateBoundsWhatComesBack(t *testing.T) {
	var random *rand.Rand
	for name, delay := range map[string]func() float64{
		"none":             func() float64 { return 0 },
		"full jitter":      func() float64 { return random.Float64() / 2 },
		"half a second up": func() float64 { return 0.5 + random.Float64()/2 },
		"second attempts":  func() float64 { return random.Float64()/2 + float64(random.IntN(2))*random.Float64() },
		"a minute":         func() float64 { return random.Float64() * 60 },
		"exponential":      func() float64 { return random.ExpFloat64() * 3 },
	} {
		for _, rate := range []int{10, 150, 500, 5000} {
			random = rand.New(rand.NewPCG(1, 2))
			var back []float64
			for i := range 30 * rate {
				back = append(back, float64(i)*hub.DrainPause(rate).Seconds()+delay())
			}
			slices.Sort(back)
			most, first := 0, 0
			for i := range back {
				for back[i]-back[first] >= 1 {
					first++
				}
				most = max(most, i-first+1)
			}
			if most > rate {
				t.Errorf("%s: %d come back within a second, the rate is %d", name, most, rate)
			}
			if most < rate/4 {
				t.Errorf("%s: at most %d of %d come back within a second: the drain takes too long", name, most, rate)
			}
		}
	}
	if got := hub.DrainPause(0); got != 0 {
		t.Errorf("no rate: %v", got)
	}
}

// A drain that was held up, here by an engine that takes its time, does not make
// good for it in a burst.
func TestDrainHasNoBursts(t *testing.T) {
	const clients, rate = 100, 20
	pause := hub.DrainPause(rate)
	bubble(t, func(t *testing.T) {
		var held atomic.Int64
		e := &fake{leaving: func(string) {
			if held.Add(1)%30 == 0 {
				<-time.After(2 * time.Second)
			}
		}}
		s := newStage(t, e, nil)
		for i := range clients {
			s.connect("").subscribe(fmt.Sprint("log:", i))
		}
		drained := make(chan error, 1)
		go func() { drained <- s.hub.Drain(t.Context(), rate) }()
		var left []int
		for len(left) == 0 || left[len(left)-1] > 0 {
			wait(100 * time.Millisecond)
			left = append(left, s.hub.Connections())
		}
		for i := 10; i < len(left); i++ {
			if gone := left[i-10] - left[i]; gone > int(time.Second/pause)+1 {
				t.Errorf("%d went within a second, one in %v should", gone, pause)
			}
		}
		if least := int(clients * pause / (100 * time.Millisecond)); len(left) <= least+20 {
			t.Errorf("it took %d00 ms, and was never held up", len(left))
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		for range 50 {
			s.connect("")
		}
		if err := s.hub.Drain(t.Context(), 0); err != nil || s.hub.Connections() != 0 {
			t.Errorf("%d left, %v", s.hub.Connections(), err)
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		for range 50 {
			s.connect("")
		}
		ctx, cancel := context.WithTimeout(t.Context(), hub.DrainPause(10)*49/2)
		defer cancel()
		if err := s.hub.Drain(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
		if n := s.hub.Connections(); n != 25 {
			t.Errorf("%d are left, want 25", n)
		}
	})
}

// Sessions that open while the hub drains or closes are refused, or are gone
// when it has. Nobody is left behind.
func TestOpeningWhileClosing(t *testing.T) {
	for _, drain := range []bool{true, false} {
		for range 30 {
			s := newStage(t, nil, nil)
			var all sync.WaitGroup
			begin := make(chan struct{})
			for range 4 {
				all.Go(func() {
					<-begin
					for {
						c, err := s.dial(nil)
						if err != nil {
							return
						}
						if c.Connect(&auth.Identity{User: "ann"}) == nil {
							_ = c.join(hub.SubscribeRequest{Channel: "room:x"})
						}
					}
				})
			}
			close(begin)
			for s.hub.Connections() < 20 {
				s.publish("room:x", "1")
			}
			if drain {
				if err := s.hub.Drain(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			} else {
				s.hub.Close()
			}
			all.Wait()
			if n := s.hub.Connections(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
			s.takeDown()
		}
	}
}

// A client that does not take its goodbye keeps nobody waiting for long, and
// its connection is closed.
func TestCloseWithClientsThatDoNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		stuck, slow, fine := s.connect(""), s.connect(""), s.connect("")
		for _, c := range []*client{stuck, slow, fine} {
			c.subscribe("log:x")
		}
		stuck.allow(0)
		slow.allow(0)
		s.publish("log:x", "1", "2")
		s.settle()
		go func() {
			time.Sleep(2 * time.Second)
			slow.allow(-1)
		}()
		began := time.Now()
		s.hub.Close()
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("Close took %v", took)
		}
		if !stuck.closed() || !slow.closed() || !fine.closed() {
			t.Errorf("closed: %v, %v, %v", stuck.closed(), slow.closed(), fine.closed())
		}
		for _, c := range []*client{slow, fine} {
			if l := c.lines(); len(l) != 3 || l[2] != "bye 3001" {
				t.Errorf("got %s", show(l))
			}
		}
	})
}

// Doors close their sessions while the hub closes them too.
func TestClosingFromBothSides(t *testing.T) {
	for range 50 {
		s := newStage(t, nil, nil)
		var doors sync.WaitGroup
		begin := make(chan struct{})
		for range 20 {
			c := s.connect("ann")
			if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
			doors.Go(func() {
				<-begin
				c.Close(hub.DisconnectConnectionClosed)
			})
		}
		close(begin)
		s.hub.Close()
		doors.Wait()
		s.takeDown()
	}
}

// An engine may deliver until it is closed, which is after the hub.
func TestDeliveriesAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{}
		s := newStage(t, e, nil)
		s.connect("").subscribe("log:x")
		// The engine never hears of the end of the subscription, so that it
		// goes on and on.
		hold := make(chan struct{})
		e.leaving = func(string) { <-hold }
		closed := make(chan struct{})
		go func() {
			s.hub.Close()
			close(closed)
		}()
		synctest.Wait()
		e.sink.Lost("log:x")
		e.sink.Deliver(&channel.Publication{Channel: "log:x", Position: channel.Position{Epoch: "e1", Offset: 9}, Prev: 8})
		close(hold)
		<-closed
		e.sink.Lost("log:x")
		e.sink.Deliver(&channel.Publication{Channel: "log:x", Position: channel.Position{Epoch: "e1", Offset: 19}, Prev: 18})
	})
}

// Close may come in any state of a subscription and from several sides.
func TestCloseTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		s.connect("").subscribe("log:x")
		s.hub.Close()
		s.hub.Close()
	})
}

// A goodbye that shares its write with what was queued has the same deadline
// as any other, whether or not the session has other timers.
func TestGoodbyeThatIsTakenInPart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		c.allow(0)
		c.allow(3)
		c.Send([]byte("a\n"))
		c.Close(hub.DisconnectForceReconnect)
		s.settle()
		if c.closed() {
			t.Error("closed with the goodbye in the queue")
		}
		wait(4 * time.Second)
		if c.closed() {
			t.Error("closed before its time")
		}
		wait(3 * time.Second)
		if !c.closed() {
			t.Error("still open")
		}
		c.wants(t, "a")
	})
}
