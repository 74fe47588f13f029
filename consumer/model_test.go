package consumer_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/consumer"
	"myelin/engine/memory"
	"myelin/hub"
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
	t       testing.TB
	rt      *rapid.T
	set     consumer.Settings
	keeps   *memory.Engine
	out     *outlet
	r       *rig
	engine  *mortal
	clients []*client
	jobs    []*job
	// tokens are those of all deliveries, settled or not.
	tokens []token
	acked  uint64
	// letters is how many dead letters were read.
	letters int
}

// job is one publication on its way to be acknowledged or given up.
type job struct {
	attempt int
	// by has it until free, when it may be delivered again; nil is nobody.
	by   *client
	free time.Time
	// loose: a crash may have lost the number of the attempt.
	loose   bool
	expires time.Time
	acked   bool
	// dead is why and when it was given up.
	dead   string
	deadAt time.Time
}

// token is that of one delivery of a job.
type token struct {
	job *job
	pub *channel.Publication
}

func (j *job) settled() bool { return j.acked || j.dead != "" }

func newModel(t testing.TB, rt *rapid.T) *model {
	m := &model{t: t, rt: rt, keeps: memory.New(memory.Options{}), out: new(outlet)}
	m.set = consumer.Settings{
		MaxUnacked: m.pick("unacked", 8) + 1, Ordered: m.pick("ordered", 3) == 0, Exclusive: m.pick("exclusive", 3) == 0,
		AckTimeout: time.Duration(5+m.pick("timeout", 25)) * time.Second,
	}
	m.set.MaxPerSession = 1 + m.pick("per session", m.set.MaxUnacked)
	if m.pick("letters", 2) == 0 {
		m.set.MaxAttempts, m.set.DeadLetter = 1+m.pick("attempts", 4), "dead:x"
	}
	if err := m.keeps.Start(t.Context(), m.out); err != nil {
		t.Fatal(err)
	}
	m.begin()
	m.r.create("w", "jobs:a", m.set, fresh)
	return m
}

// pick chooses one of n, from 0.
func (m *model) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(m.rt, what) }

// begin starts a node on what the one before left.
func (m *model) begin() {
	m.engine = &mortal{lasting: lasting{m.keeps, m.out}}
	m.r = newRig(m.t, m.engine, nil)
	m.out.mu.Lock()
	m.out.mu.hub = m.r.hub
	m.out.mu.Unlock()
	m.r.m.Start()
	m.clients = nil
}

func (m *model) down() {
	m.r.stop()
	if err := m.keeps.Close(context.Background()); err != nil {
		m.t.Error(err)
	}
}

// publish publishes something, which may be of use for a while only.
func (m *model) publish() {
	if len(m.jobs) >= 60 {
		return
	}
	j := &job{}
	r := &channel.PublishRequest{Channel: "jobs:a", Data: []byte(strconv.Itoa(len(m.jobs)))}
	if m.set.DeadLetter != "" && m.pick("expires", 8) == 0 {
		if err := hub.ExpireIn(r, int64(1+m.pick("in", 60))*1000); err != nil {
			m.t.Fatal(err)
		}
		j.expires = time.UnixMilli(r.Expires)
	}
	m.jobs = append(m.jobs, j)
	if _, err := m.r.hub.Publish(context.Background(), r); err != nil {
		m.t.Fatal(err)
	}
}

// sit has somebody take part, who may be one of a user with other connections.
func (m *model) sit() {
	if len(m.clients) < 4 {
		c := m.r.connect("u" + strconv.Itoa(m.pick("user", 2)))
		if err := c.sit("w", "jobs:a"); err != nil {
			m.t.Fatal(err)
		}
		m.clients = append(m.clients, c)
	}
}

// leave has somebody go, or leave his seat; what he has others may get.
func (m *model) leave(i int) {
	m.collect()
	c := m.clients[i]
	m.clients = slices.Delete(slices.Clone(m.clients), i, i+1)
	for _, j := range m.jobs {
		if j.by == c {
			j.by, j.free = nil, time.Now()
		}
	}
	if m.pick("unsubscribe", 2) == 0 {
		full, err := consumer.Channel("w", "jobs:a")
		if err = errors.Join(err, c.Unsubscribe(full)); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	c.Close()
}

// some has some go in one moment.
func (m *model) some() {
	for range m.pick("how many", len(m.clients)+1) {
		m.leave(m.pick("which", len(m.clients)))
	}
}

// collect takes in what was given up and what was delivered.
func (m *model) collect() {
	synctest.Wait()
	m.bury()
	type arrival struct {
		pub *channel.Publication
		at  time.Time
		by  *client
	}
	var all []arrival
	for _, c := range m.clients {
		pubs, at := c.takeStamped()
		for i, p := range pubs {
			all = append(all, arrival{p, at[i], c})
		}
	}
	slices.SortStableFunc(all, func(a, b arrival) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.pub.Tags[consumer.TagAttempt], b.pub.Tags[consumer.TagAttempt]))
	})
	for _, a := range all {
		n, err := strconv.Atoi(string(a.pub.Data))
		if err != nil {
			m.t.Fatal(err)
		}
		m.delivered(n, a.pub, a.by, a.at)
	}
}

// delivered holds one delivery to all that is promised of it.
func (m *model) delivered(n int, p *channel.Publication, by *client, at time.Time) {
	j := m.jobs[n]
	attempt, _ := strconv.Atoi(p.Tags[consumer.TagAttempt])
	switch {
	case j.acked:
		m.t.Fatalf("%d came again after its ack was answered", n)
	case j.dead != "" && at.After(j.deadAt):
		m.t.Fatalf("%d came after it was given up: %s", n, j.dead)
	case !j.expires.IsZero() && !at.Before(j.expires):
		m.t.Fatalf("%d came %v after it expired", n, at.Sub(j.expires))
	case attempt != j.attempt+1 && (!j.loose || attempt > j.attempt+1):
		m.t.Fatalf("%d came with attempt %d after %d", n, attempt, j.attempt)
	case m.set.MaxAttempts > 0 && attempt > m.set.MaxAttempts:
		m.t.Fatalf("%d came with attempt %d of %d", n, attempt, m.set.MaxAttempts)
	case j.attempt > 0 && at.Before(j.free):
		m.t.Fatalf("%d came again %v before its time", n, j.free.Sub(at))
	case m.set.Exclusive && by != m.clients[0]:
		m.t.Fatalf("%d came to one who stands by", n)
	}
	for i, before := range m.jobs[:n] {
		if m.set.Ordered && !before.settled() {
			m.t.Fatalf("%d came before %d was settled", n, i)
		}
	}
	j.attempt, j.by, j.free, j.loose = attempt, by, at.Add(m.set.AckTimeout), false
	m.tokens = append(m.tokens, token{j, p})
}

// bury reads the dead letters: each is right, and there is one of each.
func (m *model) bury() {
	texts := m.r.kept("dead:x")
	for _, text := range texts[m.letters:] {
		var d struct {
			Reason   string
			Attempts int
			Data     int
		}
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			m.t.Fatal(err)
		}
		j := m.jobs[d.Data]
		switch {
		case j.settled():
			m.t.Fatalf("%s, and %d was settled: acked %v, %s", text, d.Data, j.acked, j.dead)
		case d.Reason == "expired" && !j.expires.IsZero() && !time.Now().Before(j.expires):
		case d.Reason == "attempts" && d.Attempts == m.set.MaxAttempts:
		default:
			m.t.Fatalf("%s, and it expires at %v", text, j.expires)
		}
		j.dead, j.deadAt = d.Reason, time.Now()
	}
	m.letters = len(texts)
}

// say says something about a delivery: of now, or of long ago, or once more.
func (m *model) say(do string) {
	m.collect()
	if len(m.tokens) == 0 {
		return
	}
	i := m.pick("which", len(m.tokens))
	if m.pick("late", 3) > 0 { // mostly one of the last
		i = len(m.tokens) - 1 - i%min(len(m.tokens), 6)
	}
	m.word(do, m.tokens[i], time.Duration(m.pick("delay", 3))*5*time.Second)
}

func (m *model) word(do string, t token, delay time.Duration) {
	m.collect() // what is under way came before
	j := t.job
	want := 1
	if j.settled() {
		want = 0
	}
	if do != "nack" {
		delay = 0
	}
	out, err := m.r.word(do, delay, t.pub)
	if j.loose && errors.Is(err, channel.ErrBadRequest) {
		return // a crash has lost that it was delivered
	}
	if err != nil || out.Done != want || out.Stale != 1-want {
		m.t.Fatalf("%s of %s, settled: %v: %+v, %v", do, t.pub.Data, j.settled(), out, err)
	}
	switch {
	case want == 0:
	case do == "ack":
		j.acked, j.by = true, nil
		m.acked++
	case do == "nack":
		j.by, j.free = nil, time.Now().Add(delay)
	case j.by != nil && time.Now().Before(j.free):
		j.free = time.Now().Add(m.set.AckTimeout)
	}
}

// restart starts the node anew; a crash loses what was not written.
func (m *model) restart(crash bool) {
	m.collect()
	m.engine.dead.Store(crash)
	m.r.stop()
	m.begin()
	for _, j := range m.jobs {
		j.by, j.free, j.loose = nil, time.Time{}, j.loose || crash
	}
}

// check holds what the consumer says of itself to what was seen of it.
func (m *model) check() {
	m.collect()
	i, err := m.r.m.Info(context.Background(), "w", "jobs:a")
	if err != nil {
		m.t.Fatal(err)
	}
	m.collect()
	count := map[string]uint64{}
	for _, j := range m.jobs {
		count[j.dead]++
	}
	c := i.Counts
	if c.Acked != m.acked || c.DeadLettered != count["attempts"] || c.Expired != count["expired"] || c.Lost != 0 || i.Pending > m.set.MaxUnacked {
		m.t.Fatalf("%+v, and seen were %d acks, and given up %v", i, m.acked, count)
	}
	for _, c := range m.clients {
		has := 0
		for _, j := range m.jobs {
			if j.by == c && !j.settled() && time.Now().Before(j.free) {
				has++
			}
		}
		if has > m.set.MaxPerSession {
			m.t.Fatalf("one has %d, and may have %d", has, m.set.MaxPerSession)
		}
	}
}

// end acknowledges all that comes until nothing does, and counts.
func (m *model) end() {
	m.sit()
	for quiet := 0; quiet < 3; {
		m.collect()
		n := len(m.tokens)
		for _, t := range slices.Clone(m.tokens) {
			if !t.job.settled() {
				m.word("ack", t, 0)
			}
		}
		wait(m.set.AckTimeout + time.Second)
		if m.collect(); len(m.tokens) == n {
			quiet++
		} else {
			quiet = 0
		}
	}
	m.check()
	for n, j := range m.jobs {
		if !j.settled() {
			m.t.Fatalf("%d was delivered %d times, and is neither acknowledged nor given up", n, j.attempt)
		}
	}
	if i := m.r.info("w", "jobs:a"); i.Pending != 0 || i.Behind != 0 {
		m.t.Fatalf("in the end %+v", i)
	}
}

// Whatever happens, all comes until it is acknowledged or given up with one
// dead letter: never again after an ack that was answered, never before its
// time, never more often than it may, and to nobody but who it is for.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channeltest.Walks(t, func(t testing.TB, rt *rapid.T) {
			m := newModel(t, rt)
			defer m.down()
			say := func(do string) func(*rapid.T) { return func(*rapid.T) { m.say(do) } }
			publish := func(*rapid.T) {
				for range 1 + m.pick("n", 4) {
					m.publish()
				}
			}
			rt.Repeat(map[string]func(*rapid.T){
				"": func(*rapid.T) { m.check() }, "publish": publish, "publish more": publish,
				"sit": func(*rapid.T) { m.sit() }, "sit down": func(*rapid.T) { m.sit() }, "leave": func(*rapid.T) { m.some() },
				"ack": say("ack"), "ack one": say("ack"), "ack another": say("ack"), "nack": say("nack"), "in progress": say("in_progress"),
				"wait":    func(*rapid.T) { wait(time.Duration(m.pick("s", 40)) * time.Second) },
				"pause":   func(*rapid.T) { wait(time.Duration(m.pick("ms", 3000)) * time.Millisecond) },
				"restart": func(*rapid.T) { m.restart(false) }, "crash": func(*rapid.T) { m.restart(true) },
			})
			m.end()
		})
	})
}
