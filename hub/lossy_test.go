package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// follow subscribes a new reader to a channel.
func (s *stage) follow(name string) *reader {
	s.t.Helper()
	r := newReader(name)
	c := s.connect("")
	r.attach(c)
	if err := c.join(r.request()); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	return r
}

// wantsTop fails unless the reader stands at the top of its channel, and was
// told of a loss that often.
func (r *reader) wantsTop(t *testing.T, e *fake, told int) {
	t.Helper()
	at, live := r.standing()
	if n := r.told(); n != told {
		t.Errorf("told %d times, want %d", n, told)
	}
	if top := e.top(r.name); told == 0 && (!live || at != top) {
		t.Errorf("stands at %v (live %v), the top is %v", at, live, top)
	}
	r.verify(t, e.log(r.name))
}

// dropping is a feed that loses some publications: those whose number is in
// the set, counted from 1.
func dropping(which func(n int64) bool) func(channel.Sink, *channel.Publication) {
	var n atomic.Int64
	return func(next channel.Sink, p *channel.Publication) {
		if !which(n.Add(1)) {
			next.Deliver(p)
		}
	}
}

func TestGapInTheFeedIsRepaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{stride: 3, feed: dropping(func(n int64) bool { return n%4 == 0 })}
		s := newStage(t, e, nil)
		r := s.follow("log:x")
		for i := range 41 {
			s.publish("log:x", numbers(i, i)...)
			s.settle()
		}
		r.wantsTop(t, e, 0)
		if n := s.metrics.Namespace("log").Repairs.Value(); n != 10 {
			t.Errorf("%d repairs", n)
		}
	})
}

// What is not kept any more cannot be repaired: subscribers are told, and
// begin anew.
func TestGapThatCannotBeRepaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{feed: dropping(func(n int64) bool { return n > 2 && n < 9 })}
		s := newStage(t, e, nil)
		r := s.follow("short:x")
		s.publish("short:x", numbers(1, 9)...)
		s.settle()
		r.wantsTop(t, e, 1)
		c := s.connect("")
		r.attach(c)
		if err := c.join(r.request()); err != nil {
			t.Fatal(err)
		}
		s.settle()
		s.publish("short:x", "10")
		s.settle()
		r.wantsTop(t, e, 2) // by 2500, and by recovered=false
		if at, live := r.standing(); !live || at.Offset != 10 {
			t.Errorf("stands at %v, live %v", at, live)
		}
	})
}

func TestFeedThatRepeatsAndReorders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var held *channel.Publication
		e := &fake{stride: 2, feed: func(next channel.Sink, p *channel.Publication) {
			switch n := p.Offset / 2; {
			case n%5 == 0:
				held = p
			case n%5 == 1 && held != nil:
				next.Deliver(p)
				next.Deliver(held)
				next.Deliver(p)
			default:
				next.Deliver(p)
				next.Deliver(p)
			}
		}}
		s := newStage(t, e, nil)
		r := s.follow("log:x")
		for i := range 42 {
			s.publish("log:x", numbers(i, i)...)
			if i%7 == 0 {
				s.settle()
			}
		}
		s.settle()
		r.wantsTop(t, e, 0)
	})
}

// An engine that says Lost is read, whether it lost anything or not.
func TestLostIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{feed: dropping(func(n int64) bool { return n >= 5 })}
		s := newStage(t, e, nil)
		r := s.follow("log:x")
		e.sink.Lost("log:x")
		e.sink.Lost("log:nobody")
		s.settle()
		s.publish("log:x", numbers(1, 20)...)
		s.settle()
		if at, _ := r.standing(); at.Offset != 4 {
			t.Fatalf("stands at %v", at)
		}
		e.sink.Lost("log:x")
		s.settle()
		r.wantsTop(t, e, 0)
	})
}

// The end of a feed can be lost without a trace. The position check finds it.
func TestSilentLossIsFoundInTime(t *testing.T) {
	const every = 10 * time.Second
	bubble(t, func(t *testing.T) {
		e := &fake{feed: dropping(func(n int64) bool { return n > 3 })}
		s := newStage(t, e, func(o *hub.Options) { o.Namespaces["log"].PositionCheck = every })
		r, idle := s.follow("log:x"), s.follow("log:idle")
		s.publish("log:x", numbers(1, 5)...)
		s.settle()
		if at, _ := r.standing(); at.Offset != 3 {
			t.Fatalf("stands at %v", at)
		}
		wait(every)
		r.wantsTop(t, e, 0)
		idle.wantsTop(t, e, 0)
		if n := s.metrics.Namespace("log").Repairs.Value(); n != 1 {
			t.Errorf("%d repairs", n)
		}
	})
}

// Without the check it is not: the test above can fail.
func TestSilentLossStaysWithoutTheCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{feed: dropping(func(n int64) bool { return n > 3 })}
		s := newStage(t, e, func(o *hub.Options) {
			for _, ns := range o.Namespaces {
				ns.PositionCheck = -1
			}
		})
		r := s.follow("log:x")
		s.publish("log:x", numbers(1, 5)...)
		wait(time.Hour)
		if at, _ := r.standing(); at.Offset != 3 {
			t.Errorf("stands at %v", at)
		}
	})
}

// Each namespace is checked at its own pace.
func TestChecksKeepTheirPace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var reads [2]atomic.Int64
		e := &fake{reading: func(_ context.Context, r *channel.ReadRequest) error {
			if r.Channel == "log:x" {
				reads[0].Add(1)
			} else {
				reads[1].Add(1)
			}
			return nil
		}}
		s := newStage(t, e, func(o *hub.Options) {
			o.Namespaces["log"].PositionCheck = time.Second
			o.Namespaces["deep"].PositionCheck = time.Minute
		})
		s.follow("log:x")
		s.follow("deep:x")
		wait(10 * time.Minute)
		for i, want := range []int64{600, 10} {
			if n := reads[i].Load(); n < want-2 || n > want+2 {
				t.Errorf("channel %d was checked %d times, want %d", i, n, want)
			}
		}
	})
}

// An engine that does not answer one read keeps neither the other channels
// from being checked nor a repair from ending.
func TestReadsThatHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{
			feed: dropping(func(n int64) bool { return n%3 == 2 }),
			reading: func(ctx context.Context, r *channel.ReadRequest) error {
				if r.Channel != "log:hangs" {
					return nil
				}
				<-ctx.Done()
				return channel.ErrUnavailable.Wrap(ctx.Err())
			},
		}
		s := newStage(t, e, func(o *hub.Options) { o.Namespaces["log"].PositionCheck = 30 * time.Second })
		bad, good := s.follow("log:hangs"), s.follow("log:fine")
		s.publish("log:hangs", "1", "2", "3") // a gap, and a repair that hangs
		s.publish("log:fine", "1", "2")       // no, yes: lost in silence
		s.settle()
		wait(2 * time.Minute)
		good.wantsTop(t, e, 0)
		if bad.told() == 0 {
			t.Error("nobody was told of the gap that could not be read")
		}
	})
}

// A repair that fails is tried again, and subscribers are told when it will
// not do.
func TestReadsThatFail(t *testing.T) {
	for name, failures := range map[string]int64{"for a while": 3, "for ever": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var reads atomic.Int64
				e := &fake{
					feed: dropping(func(n int64) bool { return n == 2 }),
					reading: func(context.Context, *channel.ReadRequest) error {
						if reads.Add(1) <= failures {
							return channel.ErrUnavailable
						}
						return nil
					},
				}
				s := newStage(t, e, nil)
				r := s.follow("log:x")
				s.publish("log:x", "1", "2", "3")
				wait(100 * time.Millisecond)
				s.publish("log:x", "4", "5")
				wait(5 * time.Second)
				if failures < 10 {
					r.wantsTop(t, e, 0)
				} else if n := r.told(); n != 1 {
					t.Errorf("told %d times", n)
				}
			})
		})
	}
}

// The first sight of a new epoch tells everybody, however it is seen.
func TestNewEpoch(t *testing.T) {
	for name, how := range map[string]struct {
		lost, publish bool
		pause         time.Duration
	}{
		"by a publication":    {publish: true},
		"by word":             {lost: true},
		"by both":             {lost: true, publish: true},
		"by checking":         {pause: time.Minute},
		"after a publication": {publish: true, pause: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := &fake{}
				s := newStage(t, e, nil)
				r := s.follow("log:x")
				s.publish("log:x", "1", "2")
				s.settle()
				e.renew("log:x", how.lost)
				if how.publish {
					s.publish("log:x", "3", "4")
				}
				wait(how.pause)
				r.wantsTop(t, e, 1)
				fresh := s.follow("log:x")
				s.publish("log:x", "5")
				s.settle()
				fresh.wantsTop(t, e, 0)
			})
		})
	}
}

// Nor does a subscription escape that is not live yet: it would wait for
// offsets of an epoch that is over.
func TestNewEpochBeforeLive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{}
		s := newStage(t, e, nil)
		s.publish("log:x", numbers(1, 5)...)
		r := newReader("log:x")
		c := s.connect("")
		r.attach(c)
		sn, err := c.Subscribe(t.Context(), r.request())
		if err != nil {
			t.Fatal(err)
		}
		s.settle()
		e.renew("log:x", true)
		s.publish("log:x", "6", "7")
		s.settle()
		sn.Live(replyTo("log:x", sn))
		s.settle()
		r.wantsTop(t, e, 1)
		if _, live := r.standing(); live {
			t.Error("it is still subscribed")
		}
	})
}

// The ring holds nothing of an epoch that is over, even where the offsets of
// the new one would fit.
func TestNewEpochDoesNotMeetTheOldRing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{feed: dropping(func(n int64) bool { return n > 10 })}
		s := newStage(t, e, nil)
		s.follow("log:x")
		s.publish("log:x", numbers(1, 10)...)
		e.renew("log:x", false)
		at := s.publish("log:x", "11", "12", "13")
		// All leave but one that is not live yet, which keeps the ring here.
		if _, err := s.connect("").Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:x"}); err != nil {
			t.Fatal(err)
		}
		e.sink.Lost("log:x")
		s.settle()
		r := newReader("log:x")
		r.mu.at, r.mu.known = channel.Position{Epoch: at.Epoch, Offset: 1}, true
		c := s.connect("")
		r.attach(c)
		if err := c.join(r.request()); err != nil {
			t.Fatal(err)
		}
		s.settle()
		r.wantsTop(t, e, 0)
	})
}

// A client may be ahead of its node, whose feed lags behind what others read.
// That is no reason to tell it that something is missing.
func TestClientAheadOfTheFeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lagging := true
		var behind []*channel.Publication
		e := &fake{}
		e.feed = func(next channel.Sink, p *channel.Publication) {
			if lagging {
				behind = append(behind, p)
				return
			}
			next.Deliver(p)
		}
		s := newStage(t, e, nil)
		s.follow("log:x")
		at := s.publish("log:x", "1", "2", "3")
		ahead := newReader("log:x")
		ahead.mu.at, ahead.mu.known = at, true
		c := s.connect("")
		ahead.attach(c)
		s.publish("log:x", "4")
		if err := c.join(ahead.request()); err != nil {
			t.Fatal(err)
		}
		lagging = false
		for _, p := range behind {
			e.sink.Deliver(p)
		}
		s.publish("log:x", "5")
		s.settle()
		ahead.wantsTop(t, e, 0)
	})
}

// A read may be older than what the feed brought before it: what was brought
// is not thrown away for it.
func TestStaleReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &stale{fake: &fake{feed: dropping(func(n int64) bool { return n == 2 })}}
		s := newStage(t, e, nil)
		r := s.follow("log:x")
		// 3 shows the gap; 4 comes before the read, which knows of 1 to 3.
		e.hide = 1
		s.publish("log:x", "1", "2", "3", "4")
		s.settle()
		r.wantsTop(t, e.fake, 0)
	})
}

// stale is an engine whose reads do not know the newest publications.
type stale struct {
	*fake
	hide int
}

// Read is channel.Engine's.
func (e *stale) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	res, err := e.fake.Read(ctx, r)
	if n := len(res.Pubs) - e.hide; err == nil && n >= 0 && e.hide > 0 {
		res.Pubs = res.Pubs[:n]
		res.Top.Offset = r.Since.Offset
		if n > 0 {
			res.Top = res.Pubs[n-1].Position
		}
	}
	return res, err
}

// However much a feed has lost, no read asks for more than one answer may
// hold, and the subscribers get all of it.
func TestLargeGapsAreReadInPieces(t *testing.T) {
	const many, each = 100, 200 << 10
	bubble(t, func(t *testing.T) {
		e := &fake{stride: 3, feed: dropping(func(n int64) bool { return n > 1 && n < many })}
		s := newStage(t, e, func(o *hub.Options) { o.Limits.MessageBytes = each })
		c := s.connect("")
		c.subscribe("log:x")
		var want []string
		for i := range many {
			want = append(want, strings.Repeat(string(rune('a'+i%26)), each))
		}
		s.publish("log:x", want...)
		c.gets(t, want...)
		if n := e.most.Load(); n > 4<<20+each {
			t.Errorf("one read brought %d bytes", n)
		}
		// Nor does the read of one who comes back.
		at := e.log("log:x")[0].Position
		if sn, err := s.connect("").Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:x", Recover: true, Since: at}); err != nil || sn.Recovered {
			t.Errorf("recovered %v, %v", sn.Recovered, err)
		}
		if n := e.most.Load(); n > 4<<20+each {
			t.Errorf("one read brought %d bytes", n)
		}
	})
}

// A feed that is lost for all channels at once does not make the node ask for
// all of them at once.
func TestRepairsTakeTurns(t *testing.T) {
	const many = 1000
	bubble(t, func(t *testing.T) {
		var reading, most atomic.Int64
		e := &fake{stride: 3, feed: dropping(func(n int64) bool { return n > many })}
		e.reading = func(context.Context, *channel.ReadRequest) error {
			now := reading.Add(1)
			defer reading.Add(-1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		s := newStage(t, e, func(o *hub.Options) { o.Limits.ChannelsPerConnection = many })
		c := s.connect("")
		for round := range 2 {
			for i := range many {
				name := "log:" + numbers(i, i)[0]
				if round == 0 {
					if err := c.join(hub.SubscribeRequest{Channel: name}); err != nil {
						t.Fatal(err)
					}
				}
				s.publish(name, name)
			}
		}
		wait(time.Millisecond)
		c.lines()
		for i := range many {
			e.sink.Lost("log:" + numbers(i, i)[0])
		}
		wait(time.Second)
		if n := len(data(c.lines())); n != many {
			t.Errorf("%d of %d were repaired", n, many)
		}
		if n := most.Load(); n > 256 || n < 100 {
			t.Errorf("%d reads at once", n)
		}
	})
}
