package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hub"
)

func TestConnectionsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.Connections = 3 })
		first := s.open(nil)
		s.open(nil)
		s.open(nil)
		if _, err := s.dial(nil); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a fourth: %v", err)
		}
		if err := s.hub.Room(); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("Room: %v", err)
		}
		first.Close(hub.DisconnectConnectionClosed)
		s.open(nil)
		if n := s.metrics.Limit("connections").Value(); n != 2 {
			t.Errorf("the limit is counted %d times", n)
		}
	})
}

// The limit holds for any number of doors at once.
func TestConnectionsAreLimitedForAllDoors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 10
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.Connections = limit })
		var opened atomic.Int64
		for range 50 {
			go func() {
				if _, err := s.dial(nil); err == nil {
					opened.Add(1)
				}
			}()
		}
		s.settle()
		if n := opened.Load(); n > limit || n != int64(s.hub.Connections()) {
			t.Errorf("%d were opened, %d are there", n, s.hub.Connections())
		}
	})
}

func TestChannelsPerConnectionAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 40
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.ChannelsPerConnection = limit })
		c := s.connect("")
		for i := range limit {
			c.subscribe(fmt.Sprint("log:", i))
		}
		if err := c.join(hub.SubscribeRequest{Channel: "log:more"}); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("one more: %v", err)
		}
		if err := c.join(hub.SubscribeRequest{Channel: "log:3"}); !errors.Is(err, channel.ErrAlreadySubscribed) {
			t.Errorf("one again: %v", err)
		}
		// Leave all but some, in another order than they came.
		for i := range limit {
			if err := c.Unsubscribe(fmt.Sprint("log:", i*7%limit)); err != nil {
				t.Fatal(err)
			}
			if n := len(c.Subscriptions()); n != limit-1-i {
				t.Fatalf("%d are left after %d", n, i+1)
			}
		}
		c.subscribe("log:more")
		s.publish("log:more", "1")
		s.publish("log:3", "2")
		c.gets(t, "1")
	})
}

func TestDataIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.MessageBytes = 100 })
		c := s.connect("")
		for size, want := range map[int]error{0: channel.ErrBadRequest, 1: nil, 100: nil, 101: channel.ErrLimitExceeded} {
			_, err := c.Publish(context.Background(), &channel.PublishRequest{Channel: "log:x", Data: []byte(strings.Repeat("x", size))})
			if !errors.Is(err, want) {
				t.Errorf("%d bytes: %v, want %v", size, err, want)
			}
		}
	})
}

// At twice the rate half of the commands are refused, and a burst is what the
// limit says.
func TestCommandRateIsLimited(t *testing.T) {
	const rate, burst = 100, 30
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.CommandsPerSecond, o.Limits.CommandBurst = rate, burst })
		c := s.connect("")
		admit := func(n int) (in int) {
			for range n {
				if c.Admit() {
					in++
				}
			}
			return in
		}
		if n := admit(10 * burst); n != burst {
			t.Errorf("%d at once, want %d", n, burst)
		}
		wait(time.Minute)
		if n := admit(10 * burst); n != burst {
			t.Errorf("%d at once after a pause, want %d", n, burst)
		}
		sustained := 0
		for range 20 * rate { // ten seconds at twice the rate
			time.Sleep(time.Second / (2 * rate))
			sustained += admit(1)
		}
		if want := 10 * rate; sustained < want*95/100 || sustained > want*105/100 {
			t.Errorf("%d in 10 s, want %d", sustained, want)
		}
	})
}

func TestPresenceIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		var last *client
		for range hub.MaxPresence {
			last = s.connect("ann")
			if err := last.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
				t.Fatal(err)
			}
		}
		members, err := s.hub.Presence("room:x")
		if err != nil || len(members) != hub.MaxPresence {
			t.Errorf("%d members, %v", len(members), err)
		}
		more := s.connect("bob")
		more.subscribe("room:x")
		if _, err := s.hub.Presence("room:x"); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("one more: %v", err)
		}
		st, err := s.hub.PresenceStats("room:x")
		if want := (hub.PresenceStats{Clients: hub.MaxPresence + 1, Users: 2}); st != want || err != nil {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// When a shard does not keep up publishers wait for it, and give up with their
// context.
func TestPublishersWaitForTheShards(t *testing.T) {
	const highWater, publishers = 16 << 10, 8
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		r := s.follow("log:x")
		release := s.hold()
		var made atomic.Int64
		for range publishers {
			go func() {
				for range 2*highWater/publishers + 1000 {
					s.publish("log:x", "1")
					made.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := made.Load(); n < highWater || n >= highWater+publishers {
			t.Errorf("%d were published before the publishers waited", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.hub.Publish(ctx, &channel.PublishRequest{Channel: "log:x", Data: []byte("1")})
		if !errors.Is(err, channel.ErrTooManyRequests) {
			t.Errorf("Publish: %v", err)
		}
		release()
		if n := made.Load(); n != 2*highWater+1000*publishers {
			t.Errorf("%d were published in all", n)
		}
		if at, _ := r.standing(); at.Offset != uint64(made.Load()) || r.told() != 0 {
			t.Errorf("the reader stands at %v, was told %d times", at, r.told())
		}
	})
}

// An engine that delivers what others published does not wait. A node that
// cannot keep up leaves the feed and reads on when it can.
func TestFeedThatIsTooFast(t *testing.T) {
	const limit = 64 << 10
	for name, keep := range map[string]int{"all kept": 1 << 20, "not all kept": 1000} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := &fake{}
				policy := &channel.Policy{Namespace: "log", HistorySize: keep}
				s := newStage(t, e, func(o *hub.Options) {
					o.Shards = 1
					o.Namespaces["log"].Policy = policy
				})
				r := newReader("log:x")
				c := s.connect("")
				var deepest int64
				c.listen(func(line string) {
					deepest = max(deepest, s.metrics.Hub().InboxDepth.Value())
					r.hear(0, line)
				})
				if err := c.join(r.request()); err != nil {
					t.Fatal(err)
				}
				release := s.hold()
				for range limit + 6_000 {
					if _, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "log:x", Policy: policy, Data: []byte("1")}); err != nil {
						t.Fatal(err)
					}
				}
				release()
				wait(5 * time.Second)
				if deepest > limit+10 {
					t.Errorf("%d messages were queued", deepest)
				}
				if keep > limit {
					r.wantsTop(t, e, 0)
				} else {
					r.wantsTop(t, e, 1)
				}
			})
		})
	}
}

// A subscription that does not become live keeps no more than a bounded
// number of publications; then its client has to subscribe again.
func TestWaitingIsBounded(t *testing.T) {
	const limit = 4096
	for _, n := range []int{limit, limit + 1} {
		bubble(t, func(t *testing.T) {
			e := &fake{}
			s := newStage(t, e, nil)
			r := newReader("log:x")
			c := s.connect("")
			r.attach(c)
			sn, err := c.Subscribe(t.Context(), r.request())
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				s.publish("log:x", "1")
				if i%1000 == 0 {
					s.settle()
				}
			}
			sn.Live(replyTo("log:x", sn))
			s.settle()
			s.publish("log:x", "2")
			s.settle()
			told := 0
			if n > limit {
				told = 1
			}
			r.wantsTop(t, e, told)
		})
	}
}

// One reply holds so many bytes: who missed more is told so, and a history is
// cut.
func TestRepliesAreBounded(t *testing.T) {
	const limit, each = 4 << 20, 64 << 10
	for _, n := range []int{limit / each, limit/each + 1} {
		bubble(t, func(t *testing.T) {
			s := newStage(t, nil, nil)
			c := s.connect("")
			at := s.publish("log:x", "first")
			for range n {
				s.publish("log:x", strings.Repeat("x", each))
			}
			sn, err := c.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:x", Recover: true, Since: at})
			if err != nil {
				t.Fatal(err)
			}
			fits := n*each <= limit
			if sn.Recovered != fits || (len(sn.Publications) > 0) != fits {
				t.Errorf("%d: recovered %v with %d", n, sn.Recovered, len(sn.Publications))
			}
			r, err := c.History(t.Context(), hub.HistoryRequest{Channel: "log:x", Since: &at, Limit: -1})
			if want := min(n, limit/each); err != nil || len(r.Pubs) != want {
				t.Errorf("%d: %d in the history, want %d: %v", n, len(r.Pubs), want, err)
			}
		})
	}
}
