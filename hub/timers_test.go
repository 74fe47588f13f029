package hub_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// timers are those of the tests, with pings.
func timers(ping, pong time.Duration) func(o *hub.Options) {
	return func(o *hub.Options) { o.PingInterval, o.PongTimeout = ping, pong }
}

// tick is how late a timer may be.
const tick = time.Second

func TestPingsAreAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, timers(25*time.Second, 10*time.Second))
		c := s.connect("")
		c.listen(func(line string) {
			if line == "ping" && !c.Pong() {
				t.Error("the pong was not asked for")
			}
		})
		const day = 24 * time.Hour
		wait(day)
		if n := s.hub.Connections(); n != 1 {
			t.Fatalf("%d connections", n)
		}
		pings := s.metrics.Hub().PingsSent.Value()
		if least, most := int64(day/(26*time.Second)), int64(day/(25*time.Second)); pings < least || pings > most {
			t.Errorf("%d pings, want %d to %d", pings, least, most)
		}
	})
}

func TestPongNobodyAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, timers(25*time.Second, 20*time.Second))
		c := s.connect("")
		if c.Pong() {
			t.Error("a pong before any ping")
		}
		wait(26 * time.Second)
		c.wants(t, "ping")
		if !c.Pong() || c.Pong() {
			t.Error("want one pong for one ping")
		}
	})
}

// A session that does not answer in time ends, also where the next ping is due
// before.
func TestNoPong(t *testing.T) {
	for name, pong := range map[string]time.Duration{"before the next ping": 10 * time.Second, "after it": 40 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, timers(25*time.Second, pong))
				deaf := s.connect("")
				oneWay := s.connectAs(nobody(), func(o *hub.SessionOptions) { o.Pongs = false })
				wait(12 * time.Second)
				deaf.wants(t) // the first ping comes after half an interval
				// It is given up between then and the full interval, and its time.
				wait(pong)
				if deaf.closed() {
					t.Error("given up early")
				}
				wait(14*time.Second + 2*tick)
				l := deaf.lines()
				if len(l) == 0 || l[len(l)-1] != "bye 3012" {
					t.Errorf("got %s", show(l))
				}
				if !deaf.closed() || oneWay.closed() {
					t.Errorf("closed: %v, one way %v", deaf.closed(), oneWay.closed())
				}
			})
		})
	}
}

// A pong that comes late, after the next ping, still counts.
func TestLatePong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, timers(25*time.Second, 40*time.Second))
		c := s.connect("")
		c.listen(func(line string) {
			if line == "ping" {
				go func() {
					time.Sleep(35 * time.Second)
					c.Pong()
				}()
			}
		})
		wait(time.Hour)
		if c.closed() {
			t.Error("closed")
		}
		c.Close(hub.DisconnectConnectionClosed)
		wait(time.Minute) // the pongs still on their way
	})
}

func TestSessionsThatStayUnknown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		silent, known := s.open(nil), s.connect("")
		wait(14 * time.Second)
		silent.wants(t)
		wait(time.Second + tick)
		silent.wants(t, "bye 3502")
		wait(time.Hour)
		known.wants(t)
		if err := silent.Connect(nobody()); !errors.As(err, new(hub.Disconnect)) {
			t.Errorf("Connect after the end: %v", err)
		}
		if err := known.Connect(nobody()); !errors.Is(err, hub.DisconnectBadRequest) {
			t.Errorf("Connect again: %v", err)
		}
	})
}

// in is an identity that ends so long from now.
func in(user string, d time.Duration) *auth.Identity {
	return &auth.Identity{User: user, ExpiresAt: time.Now().Add(d).Unix()}
}

func TestConnectionsExpire(t *testing.T) {
	for _, delay := range []time.Duration{25 * time.Second, 500 * time.Millisecond, 90 * time.Minute} {
		bubble(t, func(t *testing.T) {
			s := newStage(t, nil, func(o *hub.Options) { o.ExpiredDelay = delay })
			c := s.connectAs(in("ann", time.Minute), nil)
			refreshed := s.connectAs(in("bob", time.Minute), nil)
			wait(time.Minute + delay - time.Second)
			c.wants(t)
			if err := refreshed.Refresh(in("bob", time.Hour)); err != nil {
				t.Error(err)
			}
			if err := refreshed.Refresh(in("eve", time.Hour)); !errors.Is(err, hub.DisconnectInvalidToken) {
				t.Errorf("refreshed as another: %v", err)
			}
			wait(time.Second + tick)
			c.wants(t, "bye 3005")
			refreshed.wants(t)
			if err := refreshed.Refresh(&auth.Identity{User: "bob"}); err != nil {
				t.Error(err)
			}
			wait(2 * time.Hour)
			refreshed.wants(t)
		})
	}
}

// token is a grant for a channel that ends so long from now.
func token(name string, d time.Duration) *auth.Grant {
	return &auth.Grant{Channel: name, ExpiresAt: time.Now().Add(d).Unix()}
}

func TestSubscriptionsExpire(t *testing.T) {
	for _, delay := range []time.Duration{25 * time.Second, 500 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			s := newStage(t, nil, func(o *hub.Options) { o.ExpiredDelay = delay })
			c := s.connect("ann")
			for name, d := range map[string]time.Duration{"log:a": time.Minute, "log:b": 2 * time.Minute, "log:c": time.Minute} {
				if err := c.join(hub.SubscribeRequest{Channel: name, Grant: token(name, d)}); err != nil {
					t.Fatal(err)
				}
			}
			c.subscribe("log:ever")
			wait(time.Minute + delay - time.Second)
			c.wants(t)
			if err := c.RefreshSubscription(token("log:c", 10*time.Minute)); err != nil {
				t.Error(err)
			}
			if err := c.RefreshSubscription(token("log:none", time.Minute)); !errors.Is(err, channel.ErrPermissionDenied) {
				t.Errorf("refreshed what is not there: %v", err)
			}
			wait(time.Second + tick)
			c.wants(t, "unsub log:a 2501")
			wait(time.Minute + tick)
			c.wants(t, "unsub log:b 2501")
			wait(15 * time.Minute)
			c.wants(t, "unsub log:c 2501")
			if subs := c.Subscriptions(); !slices.Equal(subs, []string{"log:ever"}) {
				t.Errorf("subscribed to %q", subs)
			}
			s.publish("log:a", "1")
			s.publish("log:ever", "2")
			c.gets(t, "2")
		})
	}
}

// A client cannot renew a subscription that the server made: it comes back
// with a new token.
func TestServersSubscriptionsExpire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		n, err := s.hub.Subscribe(context.Background(), hub.Target{User: "ann"}, hub.SubscribeRequest{
			Channel: "log:a", Grant: token("log:a", time.Minute),
		})
		if n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s.settle()
		c.lines()
		wait(time.Minute + 24*time.Second)
		c.wants(t)
		wait(time.Second + tick)
		c.wants(t, "bye 3006")
	})
}

// A subscription whose end comes first counts, in whatever order they are
// made, and one that lasts for ever does not hide the others.
func TestExpiryOfManySubscriptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connectAs(in("ann", time.Hour), nil)
		var want []string
		minutes := []int{9, 3, 7, 1, 8, 2}
		for _, m := range minutes {
			name := "log:" + string(rune('0'+m))
			if err := c.join(hub.SubscribeRequest{Channel: name, Grant: token(name, time.Duration(m)*time.Minute)}); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		c.lines()
		slices.Sort(minutes)
		for _, m := range minutes {
			want = append(want, "unsub log:"+string(rune('0'+m))+" 2501")
		}
		wait(30 * time.Minute)
		c.wants(t, want...)
		wait(31 * time.Minute)
		c.wants(t, "bye 3005")
	})
}

// Time passes for nothing: a hub with sessions that need no timers wakes for
// nobody, or a year would take more than a moment.
func TestIdleSessionsNeedNoTimers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, &fake{}, func(o *hub.Options) {
			for _, ns := range o.Namespaces {
				ns.PositionCheck = -1
			}
		})
		for range 1000 {
			s.connect("")
		}
		wait(365 * 24 * time.Hour)
		if n := s.hub.Connections(); n != 1000 {
			t.Errorf("%d are left", n)
		}
	})
}
