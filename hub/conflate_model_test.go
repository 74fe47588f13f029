package hub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// conflationModel is what was said on some channels, and clients of any rate
// who hear some of it. Of the channels two hold entries or one value and have
// slow clients conflated, and one has them sent away.
type conflationModel struct {
	*stage
	pick pick
	// said is every publication by its offset, as the client is shown it.
	// over is when some of them are of no use any more, in Unix milliseconds.
	said map[string]map[uint64]string
	over map[string]map[uint64]int64
	// truth is the newest of each key. vague: the newest of a log was to expire,
	// so nobody need have it.
	truth   map[string]map[string]string
	vague   map[string]bool
	changed map[string]time.Time
	all     []*follower
	serial  int
}

// follower is a client, and what it knows.
type follower struct {
	m    *conflationModel
	c    *client
	name string
	rate float64
	at   channel.Position
	// knows is the newest of each key; aware says that it knows of any.
	knows map[string]string
	aware bool
	// last is when each key came, where that says something of the rate.
	last map[string]time.Time
	// As of a mirror of the state model.
	in, free, slow bool
	// hole: what it hears next may come after what it did not get when it was
	// slow, though it has read all there was.
	hole bool
	// ear is at its connection of now.
	ear *stampingEar
}

// stampingEar notes what came over one connection, and when.
type stampingEar struct {
	mu struct {
		sync.Mutex
		heard []stamped
	}
}

func (e *stampingEar) hear(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.heard = append(e.mu.heard, stamped{line, time.Now()})
}

func (e *stampingEar) take() []stamped {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := e.mu.heard
	e.mu.heard = nil
	return heard
}

// stamped is a line and when it came.
type stamped struct {
	line string
	at   time.Time
}

func newConflationModel(t testing.TB, p pick) *conflationModel {
	m := &conflationModel{
		pick: p, said: map[string]map[uint64]string{}, over: map[string]map[uint64]int64{}, truth: map[string]map[string]string{}, vague: map[string]bool{}, changed: map[string]time.Time{},
	}
	m.stage = newStage(t, nil, rules)
	m.form.keyed = true
	for _, name := range []string{"deep:x", "newest:x", "state:x"} {
		m.said[name], m.over[name], m.truth[name] = map[uint64]string{}, map[uint64]int64{}, map[string]string{}
	}
	return m
}

// say publishes something new.
func (m *conflationModel) say(name string) {
	m.serial++
	r := &channel.PublishRequest{Channel: name, Data: fmt.Append(nil, m.serial, strings.Repeat("x", m.pick("size", 2)*400))}
	m.vague[name] = false
	if name == "state:x" {
		r.Key, r.Op = []string{"a", "b", "c", "d"}[m.pick("key", 4)], channel.OpPut
		if m.pick("remove", 5) == 0 {
			r.Op, r.Data = channel.OpDelete, nil
		}
	} else if m.vague[name] = m.pick("expires", 6) == 0; m.vague[name] {
		if err := hub.ExpireIn(r, int64(1+m.pick("in", 300))); err != nil {
			m.t.Fatal(err)
		}
	}
	ack, err := m.hub.Publish(context.Background(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	_, shown := entryOf(pubLineOf(&channel.Publication{Op: r.Op, Key: r.Key, Data: r.Data}, true))
	m.said[name][ack.Offset], m.truth[name][r.Key], m.changed[name] = shown, shown, time.Now()
	if r.Expires != 0 {
		m.over[name][ack.Offset] = r.Expires
	}
}

// entryOf returns the key of a publication and what was said of it.
func entryOf(line string) (key, shown string) {
	_, rest, _ := strings.Cut(line, "=")
	key, _, _ = strings.Cut(rest, " ")
	return key, line[strings.Index(line, "=")-len("put"):]
}

// come has a new client subscribe.
func (m *conflationModel) come() {
	if len(m.all) >= 8 {
		return
	}
	names := slices.Sorted(maps.Keys(m.said))
	f := &follower{m: m, name: names[m.pick("channel", len(names))], rate: []float64{0, 0.5, 1, 10, 100}[m.pick("rate", 5)], knows: map[string]string{}}
	m.all = append(m.all, f)
	f.connect()
	f.join(m.pick("last", 2) == 0)
}

func (f *follower) connect() {
	f.c, f.ear = f.m.connect(""), &stampingEar{}
	f.c.listen(f.ear.hear)
}

// join subscribes, from where it was if it was anywhere: what it begins with
// leaves it knowing the newest of all.
func (f *follower) join(last bool) {
	m := f.m
	first := f.at.IsZero()
	sn, err := f.c.Subscribe(context.Background(), hub.SubscribeRequest{
		Channel: f.name, Rate: f.rate, Recover: !first, Since: f.at, Last: first && last,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if !first && !sn.Recovered {
		m.t.Fatalf("it was at %v, and has not recovered", f.at)
	}
	for _, p := range sn.Publications {
		key, shown := entryOf(pubLineOf(p, true))
		if f.knows[key] = shown; m.said[f.name][p.Offset] != shown {
			m.t.Fatalf("%q at %d, and said was %q", shown, p.Offset, m.said[f.name][p.Offset])
		}
	}
	f.at, f.in, f.free, f.slow, f.hole, f.last = sn.Position, true, true, false, false, map[string]time.Time{}
	f.aware = f.aware || f.name == "state:x" || last
	f.knowsAll("begins")
	for range m.pick("meanwhile", 3) {
		m.say(f.name)
	}
	sn.Live(nil)
}

// hear takes what came.
func (f *follower) hear() {
	for _, h := range f.ear.take() {
		switch w := strings.Fields(h.line); w[0] {
		case "pub":
			f.take(h, w)
		case closedLine, "bye", "notice":
			if !f.slow && f.in {
				f.m.t.Fatalf("%q, and it always reads", h.line)
			}
			f.in = f.in && w[0] == "notice"
		default:
			f.m.t.Fatalf("it heard %q", h.line)
		}
	}
	if f.slow && f.free {
		f.slow, f.hole = false, true
	}
}

// take holds one publication to all that is promised of it.
func (f *follower) take(h stamped, w []string) {
	offset, _ := strconv.ParseUint(w[3], 10, 64)
	key, shown := entryOf(h.line)
	gap := false
	for skipped := f.at.Offset + 1; skipped < offset && f.rate == 0 && !f.slow && !f.hole; skipped++ {
		over, ends := f.m.over[f.name][skipped]
		gap = gap || !ends || over > h.at.UnixMilli()
	}
	if !f.in || gap || offset <= f.at.Offset || f.m.said[f.name][offset] != shown {
		f.m.t.Fatalf("%q came at %v, rate %v, in: %v, and said was %q", h.line, f.at, f.rate, f.in, f.m.said[f.name][offset])
	}
	before, known := f.last[key]
	if known && f.rate > 0 && !f.slow && h.at.Sub(before).Seconds() < 1/f.rate {
		f.m.t.Fatalf("%q came %v after the last, at a rate of %v", h.line, h.at.Sub(before), f.rate)
	}
	f.at.Offset, f.knows[key], f.aware, f.hole = offset, shown, true, f.slow
	if f.last[key] = h.at; f.slow {
		delete(f.last, key) // it says when it was read, not when it was sent
	}
}

// knowsAll fails unless it knows the newest of each key.
func (f *follower) knowsAll(when string) {
	if !f.aware || f.m.vague[f.name] {
		return
	}
	for key, shown := range f.m.truth[f.name] {
		// Who came later knows nothing of what was removed before.
		if got, ok := f.knows[key]; got != shown && (ok || !strings.HasPrefix(shown, "del=") || f.name != "state:x") {
			f.m.t.Fatalf("%s: at rate %v it knows %q of %s, when it %s; it is %q", f.name, f.rate, got, key, when, shown)
		}
	}
}

// check holds everybody to what he should know by now.
func (m *conflationModel) check() {
	m.settle()
	for _, f := range m.all {
		f.hear()
		quiet := time.Since(m.changed[f.name]).Seconds()
		if f.in && f.free && (f.rate == 0 || quiet >= 1/f.rate+0.005) {
			f.knowsAll("reads all")
		}
	}
}

func (m *conflationModel) some(what string, fits func(f *follower) bool) *follower {
	list := slices.DeleteFunc(slices.Clone(m.all), func(f *follower) bool { return !fits(f) })
	if len(list) == 0 {
		return nil
	}
	return list[m.pick(what, len(list))]
}

// leave has a client unsubscribe: what waits for it does not come any more, or
// comes before the end.
func (m *conflationModel) leave() {
	if f := m.some("who", func(f *follower) bool { return f.in && f.free && !f.slow }); f != nil {
		if err := f.c.Unsubscribe(f.name); err != nil {
			m.t.Fatal(err)
		}
		m.settle()
		clear(f.last)
		f.hear()
		f.in = false
	}
}

// back has a client come back, on a new connection unless that is good.
func (m *conflationModel) back() {
	f := m.some("who", func(*follower) bool { return true })
	if f == nil {
		return
	}
	m.settle()
	f.hear()
	f.again()
}

func (f *follower) again() {
	m := f.m
	if f.in || f.c.closed() || !f.free {
		f.in = false
		if m.pick("cut", 2) == 0 {
			f.c.cut()
		}
		f.c.Close(hub.DisconnectConnectionClosed)
		for range m.pick("while away", 10) {
			m.say(f.name)
		}
		m.settle()
		f.connect()
	}
	f.join(false)
}

func (m *conflationModel) pause() {
	if f := m.some("who", func(f *follower) bool { return f.in }); f != nil {
		f.c.allow(0)
		f.free, f.slow = false, true
		clear(f.last)
	}
}

func (m *conflationModel) read() {
	if f := m.some("who", func(f *follower) bool { return !f.free }); f != nil {
		room := []int{-1, 10, 400, 3000}[m.pick("room", 4)]
		f.c.allow(room)
		f.free = room < 0
	}
}

// flood has more said than may wait for one who has stopped reading.
func (m *conflationModel) flood() {
	if f := m.some("who", func(f *follower) bool { return !f.free }); f != nil {
		for range 20 + m.pick("more", 20) {
			m.say(f.name)
			m.settle()
		}
	}
}

// end has everybody read, come back and wait: then all know the last value.
func (m *conflationModel) end() {
	for _, f := range m.all {
		f.c.allow(-1)
		f.free = true
	}
	m.settle()
	for _, f := range m.all {
		if f.hear(); !f.in {
			f.again()
		}
	}
	for name := range m.said {
		m.say(name)
		m.vague[name] = false
		if name != "state:x" {
			m.publishPlain(name)
		}
	}
	wait(2100 * time.Millisecond)
	m.check()
	for _, f := range m.all {
		if !f.in || !f.aware {
			m.t.Fatalf("a follower of %s at rate %v has heard nothing; subscribed: %v", f.name, f.rate, f.in)
		}
	}
}

// publishPlain says the last word of a log, which does not expire.
func (m *conflationModel) publishPlain(name string) {
	at := m.publish(name, "last")
	m.said[name][at.Offset], m.truth[name][""], m.changed[name] = "del= last", "del= last", time.Now()
}

// Whoever listens, however often he wants to hear and however slowly he reads,
// hears nothing twice and nothing out of order, no key more often than he asked
// for, and the last value always; and wherever he comes back he knows it.
func TestConflationModel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		channeltest.Walks(t, func(t testing.TB, rt *rapid.T) {
			m := newConflationModel(t, drawn(rt))
			defer m.takeDown()
			names := slices.Sorted(maps.Keys(m.said))
			say := func(rt *rapid.T) {
				name := names[m.pick("channel", len(names))]
				for range 1 + m.pick("n", 8) {
					m.say(name)
				}
			}
			rt.Repeat(map[string]func(*rapid.T){
				"": func(*rapid.T) { m.check() }, "say": say, "say more": say, "say yet more": say,
				"come": func(*rapid.T) { m.come() }, "leave": func(*rapid.T) { m.leave() }, "come back": func(*rapid.T) { m.back() },
				"pause": func(*rapid.T) { m.pause() }, "read": func(*rapid.T) { m.read() }, "flood": func(*rapid.T) { m.flood() },
				"a moment":  func(*rapid.T) { wait(time.Duration(1+m.pick("ms", 120)) * time.Millisecond) },
				"some time": func(*rapid.T) { wait(time.Duration(1+m.pick("s", 4)) * 700 * time.Millisecond) },
			})
			m.end()
		})
	})
}
