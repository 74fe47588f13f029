package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hub"
)

// states adds a namespace of keyed channels.
func states(o *hub.Options) {
	ns := *o.Namespaces["log"]
	p := *ns.Policy
	p.Namespace, p.Kind = "state", channel.KindState
	ns.Policy = &p
	o.Namespaces["state"] = &ns
}

// put sets entries of a keyed channel.
func (s *stage) put(name string, keysAndValues ...string) {
	s.t.Helper()
	for i := 0; i < len(keysAndValues); i += 2 {
		_, err := s.hub.Publish(context.Background(), &channel.PublishRequest{
			Channel: name, Op: channel.OpPut, Key: keysAndValues[i], Data: []byte(keysAndValues[i+1]),
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// paced joins a channel at a rate and forgets the reply.
func (c *client) paced(name string, rate float64) {
	c.s.t.Helper()
	if err := c.join(hub.SubscribeRequest{Channel: name, Rate: rate}); err != nil {
		c.s.t.Fatal(err)
	}
	c.s.settle()
	c.lines()
}

// A conflated subscriber gets the first after a pause at once, then what is
// newest at its rate, and in the end the last.
func TestConflated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c, all := s.connect(""), s.connect("")
		c.paced("log:x", 10)
		all.subscribe("log:x")
		s.publish("log:x", "1")
		c.gets(t, "1")
		s.publish("log:x", "2", "3", "4")
		c.gets(t)
		wait(99 * time.Millisecond)
		s.publish("log:x", "5")
		c.gets(t)
		wait(4 * time.Millisecond)
		c.gets(t, "5")
		wait(time.Minute)
		c.gets(t)
		s.publish("log:x", "6")
		c.gets(t, "6")
		all.gets(t, numbers(1, 6)...)
		if n := s.metrics.Namespace("log").Conflated.Value(); n != 3 {
			t.Errorf("%d were conflated", n)
		}
		if n := s.metrics.Namespace("log").Delivered.Value(); n != 3+6 {
			t.Errorf("%d were delivered", n)
		}
	})
}

// Each key has its own newest; they come in the order of their offsets.
func TestConflatedByKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, states)
		c := s.connect("")
		c.paced("state:x", 1)
		s.put("state:x", "a", "a0")
		c.gets(t, "a0")
		s.put("state:x", "a", "a1", "b", "b1", "c", "c1", "a", "a2", "c", "c2")
		wait(time.Second + 10*time.Millisecond)
		c.gets(t, "b1", "a2", "c2")
	})
}

// What waits when a subscription or its connection ends is sent before the
// word that it has.
func TestConflatedToTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, oneShard)
		for _, end := range []func(c *client){
			func(c *client) { c.Close(hub.DisconnectForceReconnect) },
			func(c *client) {
				if _, err := s.hub.Unsubscribe(context.Background(), hub.Target{Client: c.ID()}, "log:x"); err != nil {
					t.Fatal(err)
				}
			},
		} {
			c := s.connect("")
			c.paced("log:x", 1)
			s.publish("log:x", "1")
			s.settle()
			s.publish("log:x", "2", "3")
			s.settle()
			end(c)
			s.settle()
			l := c.lines()
			if !slices.Equal(data(l), []string{"1", "3"}) || strings.HasPrefix(l[len(l)-1], "pub") {
				t.Errorf("got %s", show(l))
			}
		}
	})
}

// When more keys wait than may, they leave early.
func TestConflatedKeysAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, memory.New(memory.Options{}), states)
		c := s.connect("")
		c.paced("state:x", hub.MinRate)
		const keys = 5000
		s.put("state:x", "first", "goes at once")
		c.gets(t, "goes at once")
		for i := range keys {
			s.put("state:x", "k"+strconv.Itoa(i), strconv.Itoa(i))
		}
		s.settle()
		if n := len(data(c.lines())); n != 4096 {
			t.Errorf("%d came at once", n)
		}
		if n := s.metrics.Limit("paced_keys").Value(); n != 1 {
			t.Errorf("the limit was met %d times", n)
		}
	})
}

func TestRateIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("")
		for _, rate := range []float64{-1, 0.001, 1000} {
			if err := c.join(hub.SubscribeRequest{Channel: "log:x", Rate: rate}); !errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("rate %v: %v", rate, err)
			}
		}
	})
}

// Who wants the last value first gets it with the reply, then what follows.
func TestLastValueFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		s.publish("log:x", numbers(1, 5)...)
		c := s.connect("")
		if err := c.join(hub.SubscribeRequest{Channel: "log:x", Last: true}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "6")
		c.gets(t, "5", "6")
		if err := c.join(hub.SubscribeRequest{Channel: "log:empty", Last: true}); err != nil {
			t.Fatal(err)
		}
		c.gets(t)
		if err := c.join(hub.SubscribeRequest{Channel: "live:x", Last: true}); !errors.Is(err, channel.ErrNotAvailable) {
			t.Errorf("without history: %v", err)
		}
	})
}

// Conflation against a model: clients of any rate come, go, lose their
// connection and recover, while keys change. Whoever listens ends with the
// newest of each key that changed since it came, hears nothing twice and
// nothing out of order, and no key more often than its rate allows.
func TestConflationModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) { conflationModel(t, rt) })
	})
}

// follower is a client in the model, and what it knows.
type follower struct {
	*client
	rate  float64
	at    channel.Position
	knows map[string]string
}

// take notes what has come.
func (f *follower) take(rt *rapid.T) {
	for _, line := range f.lines() {
		w := strings.SplitN(line, " ", 6)
		if w[0] != "pub" {
			continue
		}
		offset, err := strconv.ParseUint(w[3], 10, 64)
		if err != nil || offset <= f.at.Offset {
			rt.Fatalf("%q came at %d", line, f.at.Offset)
		}
		f.at.Offset = offset
		key, _, _ := strings.Cut(w[5], "=")
		f.knows[key] = w[5]
	}
}

func conflationModel(t *testing.T, rt *rapid.T) {
	s := newStage(t, nil, states)
	defer s.takeDown()
	truth := map[string]string{}
	var all []*follower
	n := 0
	enter := func(f *follower) {
		f.client = s.connect("")
		sn, err := f.Subscribe(context.Background(), hub.SubscribeRequest{
			Channel: "state:x", Rate: f.rate, Recover: f.at.Epoch != "", Since: f.at,
		})
		if err != nil {
			rt.Fatal(err)
		}
		switch {
		case f.at.Epoch == "":
			f.at = sn.Position
			maps.Copy(f.knows, truth) // as a snapshot would say
		case !sn.Recovered:
			rt.Fatal("not recovered")
		}
		if sn.Whole {
			sn.Live(nil)
			return
		}
		sn.Live(replyTo("state:x", sn))
	}
	for range rapid.IntRange(1, 60).Draw(rt, "steps") {
		switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
		case what == 0 && len(all) < 4:
			f := &follower{knows: map[string]string{}, rate: rapid.SampledFrom([]float64{0, 1, 10, 100}).Draw(rt, "rate")}
			all = append(all, f)
			enter(f)
		case what == 1 && len(all) > 0:
			f := all[rapid.IntRange(0, len(all)-1).Draw(rt, "who")]
			f.cut()
			s.settle()
			f.take(rt)
			f.Close(hub.DisconnectConnectionClosed)
			enter(f)
		case what <= 3:
			wait(time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond)
		default:
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			n++
			truth[key] = fmt.Sprintf("%s=%d", key, n)
			s.put("state:x", key, truth[key])
		}
		s.settle()
		for _, f := range all {
			f.take(rt)
		}
	}
	wait(1100 * time.Millisecond)
	for i, f := range all {
		f.take(rt)
		for k, v := range truth {
			if f.knows[k] != v {
				rt.Fatalf("follower %d of rate %v knows %q, it is %q", i, f.rate, f.knows[k], v)
			}
		}
	}
}
