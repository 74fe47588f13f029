package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/hub"
)

// TestClassesAgainstModel has clients of all classes come, go, recover and be
// blocked while publications go on. Each gets what its filter matches, in
// order, once, by the name it was given; and each patch starts from what it got
// last.
func TestClassesAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 999), 50, 200).Draw(rt, "steps")
		delay := rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Millisecond}).Draw(rt, "delay")
		bubble(t, func(t *testing.T) {
			m := newClassTown(t, delay)
			for _, n := range steps {
				m.step(n)
			}
			m.end()
		})
	})
}

// classTown is some clients of one channel, and what was published there.
type classTown struct {
	t     *testing.T
	s     *stage
	form  *shown
	pubs  []string // by offset, from 1
	epoch string
	all   []*chooser
}

// chooser is a client of one class, over many subscriptions.
type chooser struct {
	*client
	req  hub.SubscribeRequest
	in   bool
	sn   *hub.Subscription // not live yet
	id   int64
	got  []string
	seen uint64 // offset of the last it got, or where it began
	base string // what a patch may start from
}

func newClassTown(t *testing.T, delay time.Duration) *classTown {
	m := &classTown{t: t, form: &shown{}}
	m.s = newStage(t, nil, func(o *hub.Options) {
		ns := o.Namespaces["deep"]
		ns.Delta, ns.BatchDelay = true, delay
	})
	for i := range 8 {
		c := &chooser{client: m.s.sees(m.form), req: hub.SubscribeRequest{Channel: "deep:x", Numeric: i%2 == 1}}
		switch i % 4 {
		case 0, 1:
			c.req.Delta = i < 4
		default:
			c.req.Filter = is(t, "c", strconv.Itoa(i/4))
		}
		m.all = append(m.all, c)
	}
	return m
}

func (m *classTown) step(n int) {
	c := m.all[n%len(m.all)]
	switch {
	case n < 700:
		m.publish(1 + n%5)
	case n < 850 && !c.in:
		m.join(c)
	case n < 930 && c.in && c.sn == nil:
		_ = c.Unsubscribe("deep:x")
		m.s.settle()
		m.read(c)
		c.in, c.base = false, ""
	case n < 970:
		m.live(c)
	default:
		wait(time.Duration(n%7) * time.Millisecond)
	}
	m.live(m.all[(n*7)%len(m.all)])
}

func (m *classTown) publish(n int) {
	for range n {
		text := fmt.Sprintf("c=%d,n=%d", len(m.pubs)%3, len(m.pubs)+1)
		m.s.tagged("deep:x", text)
		m.pubs = append(m.pubs, text)
	}
}

// join subscribes, and leaves it waiting for a while.
func (m *classTown) join(c *chooser) {
	r := c.req
	if m.epoch != "" {
		r.Recover, r.Since = true, channel.Position{Epoch: m.epoch, Offset: c.seen}
	}
	sn, err := c.Subscribe(context.Background(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	if r.Recover && !sn.Recovered {
		m.t.Fatal("not recovered")
	}
	m.epoch = sn.Position.Epoch
	if !r.Recover {
		c.seen = sn.Position.Offset
		c.got = m.matching(c, 0, c.seen) // what it never asked for
	}
	if sn.Delta != r.Delta || (sn.ID != 0) != r.Numeric {
		m.t.Fatalf("asked for %+v, got %+v", r, sn)
	}
	for _, p := range sn.Publications {
		c.got = append(c.got, string(p.Data))
		c.base = string(p.Data)
	}
	c.seen = max(c.seen, sn.Position.Offset)
	c.in, c.sn, c.id = true, sn, sn.ID
}

func (m *classTown) live(c *chooser) {
	if c.sn != nil {
		c.sn.Live(nil)
		c.sn = nil
	}
}

// read takes in what a client was sent.
func (m *classTown) read(c *chooser) {
	name := "deep:x"
	if c.id != 0 {
		name = "#" + strconv.FormatInt(c.id, 10)
	}
	for _, l := range c.lines() {
		rest, ok := strings.CutPrefix(l, name+": ")
		text, how, okay := strings.Cut(rest, " ")
		if !ok || !okay {
			m.t.Fatalf("%q is not for %s", l, name)
		}
		switch how = strings.Trim(how, "()"); {
		case how == "full" && c.req.Delta, how == "plain" && !c.req.Delta:
		case c.req.Delta && c.base != "" && how == "patch to "+c.base:
		default:
			m.t.Fatalf("%q, the client has %q", l, c.base)
		}
		c.base = text
		c.got = append(c.got, text)
		_, number, _ := strings.Cut(text, "n=")
		n, _ := strconv.ParseUint(number, 10, 64)
		c.seen = n
	}
}

// matching returns what a client should have got between two offsets.
func (m *classTown) matching(c *chooser, after, to uint64) []string {
	var out []string
	for i := after; i < to; i++ {
		tag, _, _ := strings.Cut(m.pubs[i], ",")
		_, value, _ := strings.Cut(tag, "=")
		if c.req.Filter.Match(map[string]string{"c": value}) {
			out = append(out, m.pubs[i])
		}
	}
	return out
}

func (m *classTown) end() {
	for _, c := range m.all {
		if !c.in {
			m.join(c)
		}
		m.live(c)
	}
	m.publish(3)
	wait(time.Second)
	for i, c := range m.all {
		m.read(c)
		if want := m.matching(c, 0, uint64(len(m.pubs))); !slices.Equal(c.got, want) {
			m.t.Errorf("client %d of %+v\ngot  %q\nwant %q", i, c.req, c.got, want)
		}
	}
	if n := m.s.metrics.Namespace("deep").PositionFailures.Value(); n != 0 {
		m.t.Errorf("%d clients were found behind", n)
	}
}
