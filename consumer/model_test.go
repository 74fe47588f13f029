package consumer_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/consumer"
	"myelin/engine/memory"
)

// mortal is an engine that from its end on takes nothing any more, for the node
// that is dying; the next one has it again.
type mortal struct {
	lasting
	dead atomic.Bool
}

func (m *mortal) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if m.dead.Load() {
		return channel.Ack{}, channel.ErrUnavailable
	}
	return m.Engine.Publish(ctx, r)
}

// model is what must be so, beside what is.
type model struct {
	t       *testing.T
	keeps   *memory.Engine
	out     *outlet
	r       *rig
	engine  *mortal
	clients []*client
	hand    []held // delivered and not answered by us
	next    int
	seen    map[string]int
	acked   map[string]bool // answered with yes
	wrong   string
}

// held is a delivery and who has it.
type held struct {
	pub *channel.Publication
	by  *client
}

func (m *model) failf(format string, args ...any) {
	if m.wrong == "" {
		m.wrong = fmt.Sprintf(format, args...)
	}
}

// begin starts a node on what the one before left.
func (m *model) begin() {
	m.engine = &mortal{lasting: lasting{m.keeps, m.out}}
	m.r = newRig(m.t, m.engine, nil)
	m.out.mu.Lock()
	m.out.mu.hub = m.r.hub
	m.out.mu.Unlock()
	m.r.m.Start()
	m.clients, m.hand = nil, nil
}

func (m *model) collect() {
	for _, c := range m.clients {
		for _, p := range c.take() {
			data := string(p.Data)
			m.seen[data]++
			if m.acked[data] {
				m.failf("%s came again after its ack was answered", data)
			}
			m.hand = append(m.hand, held{p, c})
		}
	}
}

// step does one thing.
func (m *model) step(op string, pick int) {
	switch op {
	case "publish":
		m.next++
		m.r.publish("jobs:a", m.next, m.next)
	case "connect":
		if len(m.clients) < 3 {
			c := m.r.connect("u" + strconv.Itoa(pick))
			if err := c.sit("w", "jobs:a"); err != nil {
				m.failf("a seat: %v", err)
			}
			m.clients = append(m.clients, c)
		}
	case "leave":
		if len(m.clients) > 0 {
			i := pick % len(m.clients)
			m.clients[i].Close()
			m.clients = append(m.clients[:i:i], m.clients[i+1:]...)
		}
	case "ack", "nack", "in_progress":
		if len(m.hand) > 0 {
			i := pick % len(m.hand)
			h := m.hand[i]
			m.hand = append(m.hand[:i:i], m.hand[i+1:]...)
			_, err := m.r.word(op, 0, h.pub)
			if err != nil {
				m.failf("%s of %s: %v", op, h.pub.Data, err)
			}
			if op == "ack" {
				m.acked[string(h.pub.Data)] = true
			}
		}
	case "wait":
		wait(time.Duration(pick%40) * time.Second)
	case "restart":
		m.r.stop()
		m.begin()
	case "crash":
		m.engine.dead.Store(true)
		m.r.stop()
		m.begin()
	}
	synctest.Wait()
	m.collect()
}

// end acknowledges all that comes until nothing does, and counts.
func (m *model) end() {
	m.step("connect", 0)
	for range 200 {
		if len(m.hand) == 0 {
			wait(31 * time.Second)
			m.collect()
			if len(m.hand) == 0 {
				break
			}
		}
		for len(m.hand) > 0 {
			m.step("ack", 0)
		}
	}
	for n := 1; n <= m.next; n++ {
		if m.seen[strconv.Itoa(n)] == 0 {
			m.failf("%d never came", n)
		}
	}
	i, err := m.r.m.Info(context.Background(), "w", "jobs:a")
	switch {
	case err != nil:
		m.failf("%v", err)
	case i.Pending != 0 || i.Behind != 0 || i.Counts.Lost != 0 || i.Counts.DeadLettered != 0:
		m.failf("in the end %+v", i)
	case i.Counts.Acked != uint64(m.next):
		m.failf("%d of %d are acknowledged", i.Counts.Acked, m.next)
	}
}

// Whatever happens, all comes until it is acknowledged, and nothing of which
// that was answered comes again.
func TestModel(t *testing.T) {
	ops := []string{
		"publish", "publish", "publish", "connect", "leave", "ack", "ack", "ack", "nack", "in_progress", "wait", "restart", "crash",
	}
	rapid.Check(t, func(rt *rapid.T) {
		type action struct {
			op   string
			pick int
		}
		todo := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) action {
			return action{rapid.SampledFrom(ops).Draw(rt, "op"), rapid.IntRange(0, 100).Draw(rt, "pick")}
		}), 1, 60).Draw(rt, "actions")
		set := consumer.Settings{
			MaxUnacked: rapid.IntRange(1, 8).Draw(rt, "unacked"), Ordered: rapid.Bool().Draw(rt, "ordered"), Exclusive: rapid.Bool().Draw(rt, "exclusive"),
		}
		wrong := ""
		synctest.Test(t, func(t *testing.T) {
			m := &model{t: t, keeps: memory.New(memory.Options{}), out: new(outlet), seen: make(map[string]int), acked: make(map[string]bool)}
			if err := m.keeps.Start(t.Context(), m.out); err != nil {
				t.Fatal(err)
			}
			m.begin()
			m.r.create("w", "jobs:a", set, fresh)
			for _, a := range todo {
				m.step(a.op, a.pick)
			}
			m.end()
			wrong = m.wrong
			m.r.stop()
			if err := m.keeps.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}
