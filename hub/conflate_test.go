package hub_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
