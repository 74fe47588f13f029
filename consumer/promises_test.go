package consumer_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/consumer"
	"myelin/engine/memory"
)

// moody is an engine that does some things otherwise.
type moody struct {
	lasting
	// publish stands in for Publish where it is set.
	publish atomic.Pointer[func(r *channel.PublishRequest, do func() (channel.Ack, error)) (channel.Ack, error)]
	// slow is how long a read of jobs:a takes, in ns.
	slow atomic.Int64
	// epoch is the one of jobs:a from now on; begun where that begins.
	epoch atomic.Pointer[string]
}

func (m *moody) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	do := func() (channel.Ack, error) { return m.Engine.Publish(ctx, r) }
	if f := m.publish.Load(); f != nil {
		return (*f)(r, do)
	}
	return do()
}

func (m *moody) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if r.Channel == "jobs:a" {
		<-time.After(time.Duration(m.slow.Load()))
	}
	epoch := m.epoch.Load()
	if epoch == nil || r.Channel != "jobs:a" {
		return m.Engine.Read(ctx, r)
	}
	q := *r
	same := q.Since.Epoch == *epoch
	if q.Since.Epoch = ""; q.Since.Offset == 0 || !same {
		q.Since.Offset = 0
	}
	top, err := m.Engine.Read(ctx, &channel.ReadRequest{Channel: r.Channel, Policy: r.Policy})
	if err != nil {
		return top, err
	}
	q.Since.Epoch = top.Top.Epoch
	out, err := m.Engine.Read(ctx, &q)
	out.Top.Epoch, out.Complete = *epoch, out.Complete && same
	for i, p := range out.Pubs {
		again := *p
		again.Epoch = *epoch
		out.Pubs[i] = &again
	}
	return out, err
}

// moods sets how publishes to a channel go, nil for as usual.
func (m *moody) moods(name string, how func(do func() (channel.Ack, error)) (channel.Ack, error)) {
	if how == nil {
		m.publish.Store(nil)
		return
	}
	f := func(r *channel.PublishRequest, do func() (channel.Ack, error)) (channel.Ack, error) {
		if r.Channel == name {
			return how(do)
		}
		return do()
	}
	m.publish.Store(&f)
}

// refuses and forgets are two ways in which an engine fails: nothing was done,
// and nobody knows that it was.
func refuses(func() (channel.Ack, error)) (channel.Ack, error) {
	return channel.Ack{}, channel.ErrUnavailable
}

func forgets(do func() (channel.Ack, error)) (channel.Ack, error) {
	if _, err := do(); err != nil {
		return channel.Ack{}, err
	}
	return channel.Ack{}, channel.ErrUnavailable
}

// onMoody runs a test on a node with such an engine.
func onMoody(t *testing.T, test func(t *testing.T, r *rig, m *moody)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &moody{lasting: lasting{memory.New(memory.Options{}), new(outlet)}}
		r := newRig(t, m, nil).start()
		t.Cleanup(func() {
			r.stop()
			if err := m.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		test(t, r, m)
	})
}

// Nothing is given up before its dead letter is kept, and there is one of each,
// however often that had to be tried.
func TestLettersAreKept(t *testing.T) {
	onMoody(t, func(t *testing.T, r *rig, m *moody) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Second, MaxAttempts: 1, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		m.moods("dead:x", refuses)
		r.publish("jobs:a", 1, 1)
		c.gets("1#1")
		wait(10 * time.Second)
		if i := r.info("w", "jobs:a"); i.Pending != 1 || i.Counts.DeadLettered != 0 {
			t.Errorf("without a letter: %+v", i)
		}
		m.moods("dead:x", forgets)
		wait(5 * time.Second)
		if i := r.info("w", "jobs:a"); i.Pending != 1 {
			t.Errorf("with a letter that nobody knows of: %+v", i)
		}
		m.moods("dead:x", nil)
		wait(5 * time.Second)
		if i := r.info("w", "jobs:a"); i.Pending != 0 || i.Counts.DeadLettered != 1 {
			t.Errorf("with a letter: %+v", i)
		}
		if l := r.letters(); len(l) != 1 {
			t.Errorf("letters %+v", l)
		}
	})
}

// A dead letter that would be too large goes without its data.
func TestLargeLetter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Second, MaxAttempts: 1, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		data := `"` + strings.Repeat("x", r.hub.Limits().MessageBytes-2) + `"`
		if _, err := r.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "jobs:a", Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		if got := c.take(); len(got) != 1 {
			t.Fatalf("%d deliveries", len(got))
		}
		wait(10 * time.Second)
		if l := r.letters(); len(l) != 1 || l[0].Offset != 1 || l[0].Data != nil {
			t.Errorf("%d letters", len(l))
		}
	})
}

// A record whose write may have been done or not costs no delivery: the
// consumer stays where it is, and what has been handed out stays so.
func TestUncertainRecord(t *testing.T) {
	onMoody(t, func(t *testing.T, r *rig, m *moody) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Hour}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 3)
		got := c.gets(numbers(1, 3))
		wait(5 * time.Second)
		m.moods(consumer.StateNamespace+":w~jobs:a", forgets)
		if out, err := r.word("ack", 0, got[0]); err == nil {
			t.Errorf("an ack that nobody knows to be kept is answered with %+v", out)
		}
		m.moods("", nil)
		wait(5 * time.Second)
		if out, err := r.word("ack", 0, got[:2]...); err != nil || out.Done != 1 || out.Stale != 1 {
			t.Errorf("%+v, %v", out, err)
		}
		wait(time.Minute)
		c.gets("")
		if i := r.info("w", "jobs:a"); i.Pending != 1 || i.Unacked != 1 || i.Counts.Redelivered != 0 {
			t.Errorf("%+v", i)
		}
	})
}

// In a new epoch all begins anew: what was open is lost and told, and the tokens
// of before settle nothing of what has the same offset now.
func TestNewEpoch(t *testing.T) {
	onMoody(t, func(t *testing.T, r *rig, m *moody) {
		r.create("w", "jobs:a", consumer.Settings{DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 3)
		before := c.gets(numbers(1, 3))
		r.acks(before[0])
		epoch := "another"
		m.epoch.Store(&epoch)
		r.publish("jobs:a", 4, 4)
		c.gets(numbers(1, 4))
		var told []uint64
		for _, l := range r.letters() {
			if l.Reason != "epoch" {
				t.Errorf("a letter of %q", l.Reason)
			}
			told = append(told, l.Offset)
		}
		// The last says that nobody knows what came after.
		if len(told) != 3 || told[0] != 2 || told[1] != 3 || told[2] != 4 {
			t.Errorf("told of %v", told)
		}
		if out, err := r.word("ack", 0, before...); err != nil || out.Done != 0 || out.Stale != 3 {
			t.Errorf("tokens of before: %+v, %v", out, err)
		}
		if i := r.info("w", "jobs:a"); i.Epoch != epoch || i.Pending != 4 || i.Counts.Lost != 2 || i.Counts.Acked != 1 {
			t.Errorf("%+v", i)
		}
	})
}

// Whoever was handed something that expires may still say that it is done.
func TestAckOfTheExpired(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: 10 * time.Second, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		for _, data := range []string{"1", "2"} {
			if _, err := r.hub.Publish(t.Context(), &channel.PublishRequest{
				Channel: "jobs:a", Data: []byte(data), Expires: time.Now().Add(5 * time.Second).UnixMilli(),
			}); err != nil {
				t.Fatal(err)
			}
		}
		got := c.gets("1#1 2#1")
		wait(7 * time.Second)
		r.acks(got[0])
		wait(10 * time.Second)
		c.gets("")
		if l := r.letters(); len(l) != 1 || l[0].Reason != "expired" || string(l[0].Data) != "2" {
			t.Errorf("letters %+v", l)
		}
	})
}

// How often something was delivered is recorded within a second, so that a crash
// later does not forget it.
func TestAttemptsOutliveACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dying := &mortal{lasting: lasting{memory.New(memory.Options{}), new(outlet)}}
		r := newRig(t, dying, nil).start()
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Hour}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 1)
		c.gets("1#1")
		wait(1500 * time.Millisecond)
		dying.dead.Store(true)
		r.stop()

		next := newRig(t, &mortal{lasting: dying.lasting}, nil)
		moved(next.engine, next)
		next.sits("ann", "w", "jobs:a").gets("1#2")
		next.stop()
		if err := dying.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What one connection, and all together, have at a time is bounded in bytes.
func TestBytesAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const size = 20 << 10
		r.create("w", "jobs:a", consumer.Settings{MaxUnacked: 200}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		for range 100 {
			if _, err := r.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "jobs:a", Data: []byte(strings.Repeat("x", size))}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if i := r.info("w", "jobs:a"); i.Unacked != 1 || i.Pending < 50 || i.Pending > 1<<20/size+1 || i.Pending+int(i.Behind) != 100 {
			t.Errorf("%+v", i)
		}
		n := 0
		for got := c.take(); len(got) > 0; got = c.take() {
			n += len(got)
			r.acks(got...)
		}
		if n != 100 {
			t.Errorf("%d came", n)
		}
	})
}

// An engine that takes its time, as after the kill of a leader, takes none of
// the time for an acknowledgement.
func TestAckTimeoutOnASlowEngine(t *testing.T) {
	onMoody(t, func(t *testing.T, r *rig, m *moody) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: 3 * time.Second}, first)
		c := r.sits("ann", "w", "jobs:a")
		m.slow.Store(int64(2900 * time.Millisecond))
		r.publish("jobs:a", 1, 1)
		wait(3 * time.Second)
		m.slow.Store(0)
		got := c.gets("1#1")
		wait(time.Second)
		c.gets("")
		r.acks(got...)
		wait(time.Minute)
		c.gets("")
	})
}

// What is acknowledged in time is not delivered again, although the worker waits
// for the engine while it is.
func TestAckWhileTheEngineIsSlow(t *testing.T) {
	onMoody(t, func(t *testing.T, r *rig, m *moody) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: 3 * time.Second}, first)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 1)
		got := c.gets("1#1")
		wait(2 * time.Second)
		m.slow.Store(int64(2 * time.Second))
		r.publish("jobs:a", 2, 2) // the worker reads until 4 s
		said := make(chan error, 1)
		go func() {
			_, err := r.m.Settle(context.Background(), &consumer.Word{Do: "ack", Tokens: []string{got[0].Tags[consumer.TagAck]}})
			said <- err
		}()
		wait(10 * time.Second)
		if err := <-said; err != nil {
			t.Error(err)
		}
		for _, p := range c.take() {
			if string(p.Data) == "1" {
				t.Errorf("%s came again", p.Data)
			}
		}
	})
}
