package channeltest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
)

func modelChecks() []check {
	return []check{{"model/state", checkModel}}
}

// checkModel does random things to state channels and holds every answer
// against a model of what the contract says. rapid finds a short script that
// fails, if there is one.
func checkModel(x *exam) {
	x.needState()
	serial := 0
	rapid.Check(&rapidTB{x: x}, func(t *rapid.T) {
		serial++
		if err := try(func() { x.play(t, fmt.Sprintf("model:%d", serial)) }); err != nil {
			t.Fatal(err)
		}
	})
}

// model is what a state channel should be.
type model struct {
	x    *exam
	name string
	p    *channel.Policy
	from channel.Position
	// entries, with when each ends, zero for never.
	entries map[string]lived
	// log is all that was published, with when; kept begins at floor.
	log   []logged
	floor int
	ids   map[string]named
	pager *pager
	views []*pager
}

type lived struct {
	data   string
	offset uint64
	ends   time.Time
}

type logged struct {
	pub  *channel.Publication
	when time.Time
}

type named struct {
	ack  channel.Ack
	ends time.Time
}

// pager is somebody who builds the entries from pages and deliveries.
type pager struct {
	at      channel.Position
	next    string
	entries map[string]string
	// stale: the channel was emptied while the pages were read.
	stale bool
}

// The spans of the model, in windows. Time passes in whole windows and no two
// spans end at the same fraction, so that nothing ends when a script looks.
const (
	modelKeyTTL     = 2.5
	modelHistoryTTL = 2.25
	modelIDs        = 3.5
)

func (x *exam) play(t *rapid.T, name string) {
	x.needState()
	p := x.statePolicy(rapid.IntRange(0, 6).Draw(t, "history"))
	timed := !x.f.RealTime
	if timed && rapid.Bool().Draw(t, "with history ttl") {
		p.HistoryTTL = x.windows(modelHistoryTTL)
	}
	if timed && rapid.Bool().Draw(t, "with key ttl") {
		p.KeyTTL = x.windows(modelKeyTTL)
	}
	p.DedupeWindow = x.windows(modelIDs)
	m := &model{x: x, name: name, p: p, entries: make(map[string]lived), ids: make(map[string]named)}
	m.from = x.subscribe(name, p)
	kinds := []string{"put", "put", "put", "delete", "expect", "page", "page", "read", "remove"}
	if timed {
		kinds = append(kinds, "pass", "pass")
	}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.SampledFrom(kinds).Draw(t, "step") {
		case "put":
			m.publish(t, channel.OpPut)
		case "delete":
			m.publish(t, channel.OpDelete)
		case "expect":
			m.expect(t)
		case "page":
			m.page()
		case "read":
			m.read(t)
		case "remove":
			m.remove(t)
		case "pass":
			x.pass(float64(rapid.IntRange(1, 3).Draw(t, "windows")))
		}
		m.settle()
		m.compare()
	}
	m.conclude()
	x.e.Unsubscribe(name)
}

func (m *model) key(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
}

func (m *model) publish(t *rapid.T, op channel.Op) {
	r := &channel.PublishRequest{
		Channel: m.name, Policy: m.p, Op: op, Key: m.key(t),
		Data: fmt.Append(nil, len(m.log)),
		ID:   rapid.SampledFrom([]string{"", "", "i", "j"}).Draw(t, "id"),
	}
	if op == channel.OpPut && !m.x.f.RealTime && rapid.Bool().Draw(t, "with ttl") {
		r.TTL = m.x.windows(float64(rapid.IntRange(0, 3).Draw(t, "ttl")) + 0.5)
	}
	ack := m.x.send(r)
	if known, ok := m.ids[r.ID]; ok && r.ID != "" && time.Now().Before(known.ends) {
		m.x.repeated(known.ack, ack)
		return
	}
	if ack.Duplicate {
		m.x.failf("%q is said to be a duplicate at %v", r.ID, ack.Position)
	}
	m.ids[r.ID] = named{ack, time.Now().Add(m.p.DedupeWindow)}
	m.done(r, ack)
}

// done notes a publication that was acknowledged.
func (m *model) done(r *channel.PublishRequest, ack channel.Ack) {
	got := m.x.await(m.name, ack.Position)
	pub := got[len(got)-1]
	if pub.Op != r.Op || pub.Key != r.Key || string(pub.Data) != string(r.Data) {
		m.x.failf("published %d %q %q, delivered %+v", r.Op, r.Key, r.Data, *pub)
	}
	m.log = append(m.log, logged{pub, time.Now()})
	if r.Op == channel.OpDelete {
		delete(m.entries, r.Key)
		return
	}
	e := lived{data: string(r.Data), offset: ack.Offset}
	ttl := r.TTL
	if ttl == 0 {
		ttl = m.p.KeyTTL
	}
	if ttl > 0 {
		e.ends = time.Now().Add(ttl)
	}
	m.entries[r.Key] = e
}

func (m *model) expect(t *rapid.T) {
	key := m.key(t)
	now := m.entries[key].offset
	expect := rapid.SampledFrom([]uint64{now, 0, now + 1}).Draw(t, "expect")
	r := &channel.PublishRequest{
		Channel: m.name, Policy: m.p, Op: channel.OpPut, Key: key, Data: []byte("expected"), Expect: &expect,
	}
	ack, err := m.x.e.Publish(m.x.ctx, r)
	if expect != now {
		m.x.conflicts(fmt.Sprintf("key %q at %d, expected at %d", key, now, expect), err, now)
		return
	}
	m.x.ok(err, "a put that expects what is")
	m.done(r, ack)
}

// settle notes the entries that have ended.
func (m *model) settle() {
	ended := make(map[string]time.Time)
	for k, e := range m.entries {
		if !e.ends.IsZero() && e.ends.Before(time.Now()) {
			ended[k] = e.ends
			delete(m.entries, k)
		}
	}
	want := len(m.log) + len(ended)
	m.x.eventually(func() string {
		if _, n := m.x.sink.last(m.name); n < want {
			return fmt.Sprintf("%d publications, want %d with the ends of %v", n, want, slices.Collect(maps.Keys(ended)))
		}
		return ""
	})
	for _, pub := range m.x.sink.got(m.name)[len(m.log):] {
		when, ok := ended[pub.Key]
		if !ok || pub.Op != channel.OpExpire {
			m.x.failf("delivered %+v, want the ends of %v", *pub, ended)
		}
		delete(ended, pub.Key)
		m.log = append(m.log, logged{pub, when})
	}
}

// kept returns the index in the log of the first publication that is kept.
func (m *model) kept() int {
	first := max(m.floor, len(m.log)-m.p.HistorySize)
	for m.p.HistoryTTL > 0 && first < len(m.log) && m.log[first].when.Add(m.p.HistoryTTL).Before(time.Now()) {
		first++
	}
	return first
}

// position returns that of the publication before index i.
func (m *model) position(i int) channel.Position {
	if i == 0 {
		return m.from
	}
	return m.log[i-1].pub.Position
}

func (m *model) read(t *rapid.T) {
	i := rapid.IntRange(0, len(m.log)).Draw(t, "since")
	m.answers(i, rapid.SampledFrom([]int{-1, 0, 1, 3}).Draw(t, "limit"), rapid.IntRange(0, 6).Draw(t, "bytes"))
}

// answers holds what Read says after publication i against the model.
func (m *model) answers(i, limit, most int) {
	first := m.kept()
	var want []*channel.Publication
	bytes := 0
	for _, l := range m.log[max(i, first):] {
		bytes += len(l.pub.Data)
		if limit >= 0 && len(want) == limit || most > 0 && bytes > most && len(want) > 0 {
			break
		}
		want = append(want, l.pub)
	}
	got := m.x.read(&channel.ReadRequest{Channel: m.name, Policy: m.p, Since: m.position(i), Limit: limit, MaxBytes: most})
	what := fmt.Sprintf("read after publication %d of %d, of which %d are gone", i, len(m.log), first)
	m.x.same(what, got.Pubs, want)
	if got.Complete != (i >= first) || got.Top != m.position(len(m.log)) {
		m.x.failf("%s: complete %v, top %v, want %v, %v", what, got.Complete, got.Top, i >= first, m.position(len(m.log)))
	}
}

func (m *model) remove(t *rapid.T) {
	m.x.ok(m.x.e.Remove(m.x.ctx, m.name, m.p), "Remove")
	clear(m.entries)
	m.floor = len(m.log)
	m.views = nil
	if m.pager != nil {
		m.pager.stale = true
		if rapid.Bool().Draw(t, "page at once") {
			m.page()
		}
	}
}

// page reads one page, of a new snapshot where none is under way.
func (m *model) page() {
	r := &channel.SnapshotRequest{Channel: m.name, Policy: m.p, Limit: 1}
	if m.pager == nil {
		first := m.x.page(r)
		m.pager = &pager{at: first.At, next: first.Next, entries: make(map[string]string)}
		replay(m.pager.entries, first.Items)
		if first.At != m.position(len(m.log)) {
			m.x.failf("a snapshot is at %v, the top is %v", first.At, m.position(len(m.log)))
		}
	} else {
		r.Cursor = m.pager.next
		next, err := m.x.e.Snapshot(m.x.ctx, r)
		if m.pager.stale && err != nil && errors.Is(err, channel.ErrUnrecoverable) {
			m.pager = nil
			return
		}
		m.x.ok(err, "Snapshot")
		if m.pager.stale || next.At != m.pager.at {
			m.x.failf("a snapshot begun at %v went on at %v, emptied since: %v", m.pager.at, next.At, m.pager.stale)
		}
		replay(m.pager.entries, next.Items)
		m.pager.next = next.Next
	}
	if m.pager.next == "" {
		m.views = append(m.views, m.pager)
		m.pager = nil
	}
}

// compare holds the entries and the edge of the history against the model's.
func (m *model) compare() {
	items, at := m.x.snapshot(m.name, m.p)
	if at != m.position(len(m.log)) {
		m.x.failf("a snapshot is at %v, the top is %v", at, m.position(len(m.log)))
	}
	keys := slices.Sorted(maps.Keys(m.entries))
	if len(items) != len(keys) {
		m.x.failf("entries %s, want those of %q", offsets(items), keys)
	}
	for i, k := range keys {
		if e := m.entries[k]; items[i].Key != k || items[i].Offset != e.offset || string(items[i].Data) != e.data {
			m.x.failf("entry %q is %+v, want %q at %d", k, *items[i], e.data, e.offset)
		}
	}
	first := m.kept()
	m.answers(first, -1, 0)
	if first > 0 {
		m.answers(first-1, -1, 0)
	}
}

// conclude holds the feed and all that was built from it against the model.
func (m *model) conclude() {
	got := m.x.sink.got(m.name)
	m.x.chain("delivered", got, m.from)
	if len(got) != len(m.log) {
		m.x.failf("%d publications delivered, want %d", len(got), len(m.log))
	}
	want := make(map[string]string)
	for k, e := range m.entries {
		want[k] = e.data
	}
	for _, v := range m.views {
		replay(v.entries, after(got, v.at))
		if !maps.Equal(v.entries, want) {
			m.x.failf("a snapshot at %d and what came after give %q, want %q", v.at.Offset, v.entries, want)
		}
	}
}

// rapidTB stands between rapid and an exam: what rapid finds ends the check
// like any failure.
type rapidTB struct {
	x *exam
	// words is what was said so far, with which the check fails.
	words string
}

func (r *rapidTB) Helper()                      {}
func (r *rapidTB) Name() string                 { return r.x.tb.Name() }
func (r *rapidTB) Logf(f string, args ...any)   { r.say(fmt.Sprintf(f, args...)) }
func (r *rapidTB) Log(args ...any)              { r.say(fmt.Sprint(args...)) }
func (r *rapidTB) Skipf(f string, args ...any)  { r.x.leaveOut(fmt.Sprintf(f, args...)) }
func (r *rapidTB) Skip(args ...any)             { r.x.leaveOut(fmt.Sprint(args...)) }
func (r *rapidTB) SkipNow()                     { r.x.leaveOut("skipped") }
func (r *rapidTB) Errorf(f string, args ...any) { r.say(fmt.Sprintf(f, args...)); r.FailNow() }
func (r *rapidTB) Error(args ...any)            { r.say(fmt.Sprint(args...)); r.FailNow() }
func (r *rapidTB) Fatalf(f string, args ...any) { r.Errorf(f, args...) }
func (r *rapidTB) Fatal(args ...any)            { r.Error(args...) }
func (r *rapidTB) FailNow()                     { r.x.failf("%s", r.words) }
func (r *rapidTB) Fail()                        { r.FailNow() }
func (r *rapidTB) Failed() bool                 { return false }

func (r *rapidTB) say(words string) { r.words += words + "\n" }
