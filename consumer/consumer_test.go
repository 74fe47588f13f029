package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/consumer"
	"myelin/filter"
	"myelin/hub"
)

var (
	first = consumer.Start{At: consumer.StartFirst}
	fresh = consumer.Start{At: consumer.StartNew}
)

// What is not acknowledged comes again, what is does not.
func TestRedelivery(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish("jobs:a", 1, 2)
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: 10 * time.Second}, first)
		c := r.sits("ann", "w", "jobs:a")
		got := c.gets("1#1 2#1")
		r.publish("jobs:a", 3, 3)
		third := c.gets("3#1")
		r.acks(got[0])
		wait(9 * time.Second)
		c.gets("")
		if out, err := r.word("in_progress", 0, third...); err != nil || out.Done != 1 {
			t.Errorf("%+v, %v", out, err)
		}
		wait(2 * time.Second)
		c.gets("2#2")
		wait(9 * time.Second)
		again := c.gets("3#2 2#3")
		r.acks(again...)
		wait(time.Minute)
		c.gets("")
		if out, err := r.word("ack", 0, got[1]); err != nil || out.Stale != 1 || out.Done != 0 {
			t.Errorf("an ack of what is settled: %+v, %v", out, err)
		}
		if i := r.info("w", "jobs:a"); i.Pending != 0 || i.Counts.Acked != 3 || i.Counts.Redelivered != 3 {
			t.Errorf("%+v", i)
		}
	})
}

// A nack asks for another delivery, at once or later.
func TestNack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 1)
		got := c.gets("1#1")
		if _, err := r.word("nack", 0, got...); err != nil {
			t.Error(err)
		}
		got = c.gets("1#2")
		if _, err := r.word("nack", 5*time.Second, got...); err != nil {
			t.Error(err)
		}
		wait(4 * time.Second)
		c.gets("")
		wait(2 * time.Second)
		c.gets("1#3")
	})
}

// Whoever goes leaves what he has to the others.
func TestSharedWork(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{MaxUnacked: 6, MaxPerSession: 2}, fresh)
		a, b := r.sits("ann", "w", "jobs:a"), r.sits("bob", "w", "jobs:a")
		r.publish("jobs:a", 1, 9)
		forAnn, forBob := a.take(), b.take()
		if len(forAnn) != 2 || len(forBob) != 2 {
			t.Fatalf("ann has %q, bob has %q", said(forAnn), said(forBob))
		}
		if i := r.info("w", "jobs:a"); i.Pending != 6 || i.Unacked != 4 || i.Seats != 2 || i.Behind != 3 {
			t.Errorf("%+v", i)
		}
		a.Close()
		r.acks(forBob...)
		got := b.take()
		for _, p := range got {
			if n := p.Tags[consumer.TagAttempt]; n != "2" {
				t.Errorf("%s is delivery %s, ann had it before", p.Data, n)
			}
		}
		if len(got) != 2 {
			t.Errorf("bob got %q", said(got))
		}
		for len(got) > 0 {
			r.acks(got...)
			got = b.take()
		}
		if i := r.info("w", "jobs:a"); i.Pending != 0 || i.Counts.Acked != 9 {
			t.Errorf("%+v", i)
		}
	})
}

// One at a time, in order, and one who works while the others stand by.
func TestOrderedAndExclusive(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{Ordered: true, Exclusive: true, AckTimeout: time.Second}, fresh)
		a, b := r.sits("ann", "w", "jobs:a"), r.sits("bob", "w", "jobs:a")
		r.publish("jobs:a", 1, 3)
		a.gets("1#1")
		wait(1500 * time.Millisecond)
		got := a.gets("1#2")
		r.acks(got...)
		a.gets("2#1")
		b.gets("")
		a.Close()
		got = b.gets("2#2")
		r.acks(got...)
		b.gets("3#1")
	})
}

type dead struct {
	Reason, Consumer, Channel, Epoch string
	Offset, To                       uint64
	Attempts                         int
	Data                             json.RawMessage
}

func (r *rig) letters() (out []dead) {
	r.t.Helper()
	for _, text := range r.kept("dead:x") {
		var d dead
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// What has been delivered as often as it may be goes to the dead letters.
func TestDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Second, MaxAttempts: 2, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 7, 8)
		got := c.gets("7#1 8#1")
		r.acks(got[1])
		wait(10 * time.Second)
		c.gets("7#2")
		l := r.letters()
		if len(l) != 1 || l[0].Reason != "attempts" || l[0].Offset != 1 || l[0].Attempts != 2 || string(l[0].Data) != "7" || l[0].Consumer != "w" || l[0].Channel != "jobs:a" {
			t.Errorf("letters %+v", l)
		}
		if i := r.info("w", "jobs:a"); i.Pending != 0 || i.Counts.DeadLettered != 1 {
			t.Errorf("%+v", i)
		}
	})
}

// What expires is not delivered late, and told.
func TestExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{DeadLetter: "dead:x"}, fresh)
		_, err := r.hub.Publish(t.Context(), &channel.PublishRequest{
			Channel: "jobs:a", Data: []byte("1"), Expires: time.Now().Add(5 * time.Second).UnixMilli(),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.publish("jobs:a", 2, 2)
		wait(6 * time.Second)
		r.sits("ann", "w", "jobs:a").gets("2#1")
		if l := r.letters(); len(l) != 1 || l[0].Reason != "expired" || l[0].Attempts != 0 {
			t.Errorf("letters %+v", l)
		}
		if i := r.info("w", "jobs:a"); i.Counts.Expired != 1 {
			t.Errorf("%+v", i)
		}
	})
}

// What the channel did not keep is counted and told, never passed over.
func TestEviction(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "short:a", consumer.Settings{MaxUnacked: 2, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "short:a")
		r.publish("short:a", 1, 2)
		r.publish("short:a", 3, 20)
		r.acks(c.gets("1#1 2#1")...)
		r.acks(c.gets("16#1 17#1")...)
		c.gets("18#1 19#1")
		l := r.letters()
		if len(l) != 1 || l[0].Reason != "evicted" || l[0].Offset != 3 || l[0].To != 15 {
			t.Errorf("letters %+v", l)
		}
		if i := r.info("w", "short:a"); i.Counts.Lost != 13 {
			t.Errorf("%+v", i)
		}
	})
}

// A consumer outlives its node: what was acknowledged stays so.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{MaxUnacked: 4, AckTimeout: time.Hour}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 8)
		got := c.gets(numbers(1, 4))
		r.acks(got[1], got[3])
		c.gets(numbers(5, 6))
		r.stop()

		next := newRig(t, r.engine, nil)
		moved(r.engine, next)
		defer next.stop()
		c = next.sits("ann", "w", "jobs:a")
		again := c.gets("1#2 3#2 5#2 6#2")
		next.acks(again...)
		c.gets("7#1 8#1")
		if i := next.info("w", "jobs:a"); i.Counts.Acked != 6 || i.Node != "here" {
			t.Errorf("%+v", i)
		}
		// Tokens of before are good still.
		if out, err := next.word("ack", 0, got[0]); err != nil || out.Stale != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// moved starts a node on an engine that another had.
func moved(e channel.Engine, r *rig) {
	redirect(e, r.hub)
	r.m.Start()
}

func TestSeek(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish("jobs:a", 1, 5)
		r.create("w", "jobs:a", consumer.Settings{}, first)
		c := r.sits("ann", "w", "jobs:a")
		r.acks(c.gets(numbers(1, 5))...)
		if _, err := r.m.Seek(t.Context(), "w", "jobs:a", consumer.Start{Offset: 3}); err != nil {
			t.Fatal(err)
		}
		c.gets(numbers(4, 5))
		if _, err := r.m.Seek(t.Context(), "w", "jobs:a", fresh); err != nil {
			t.Fatal(err)
		}
		wait(time.Hour)
		c.gets("")
		for _, bad := range []consumer.Start{{Offset: 6}, {Epoch: "other", Offset: 1}, {At: "last"}} {
			if _, err := r.m.Seek(t.Context(), "w", "jobs:a", bad); err == nil {
				t.Errorf("a seek to %+v was done", bad)
			}
		}
	})
}

// Whoever may not is refused, and nothing changes.
func TestRights(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		pager := auth.Capability{Channels: []string{"$consumers:pager~closed:*"}, Match: auth.MatchWildcard, Allow: []string{"sub"}}
		all := auth.Capability{Channels: []string{"**"}, Match: auth.MatchWildcard, Allow: []string{"sub", "pub"}}
		part, err := filter.Parse([]byte(`{"key":"site","cmp":"eq","val":"a"}`), filter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		some := auth.Capability{Channels: []string{"jobs:a"}, Allow: []string{"sub"}, Filter: part}
		for _, c := range []struct {
			what         string
			who          *client
			name, source string
			want         *channel.Error
		}{
			{"a namespace that lets in", r.connect(""), "w", "jobs:a", nil},
			{"no right at the channel", r.connect("ann"), "w", "closed:a", channel.ErrPermissionDenied},
			{"a capability", r.connect("ann", pager), "pager", "closed:a", nil},
			{"a capability for another", r.connect("ann", pager), "other", "closed:a", channel.ErrPermissionDenied},
			{"a capability for everything", r.connect("ann", all), "pager", "closed:a", channel.ErrPermissionDenied},
			{"a part of the channel", r.connect("ann", some), "w", "jobs:a", channel.ErrPermissionDenied},
			{"one's own", r.connect("ann"), "ann", "own:a", nil},
			{"one's own device", r.connect("ann"), "ann/phone", "own:a", nil},
			{"another's", r.connect("ann"), "bob", "own:a", channel.ErrPermissionDenied},
			{"one that begins alike", r.connect("ann"), "anna", "own:a", channel.ErrPermissionDenied},
			{"nobody's own", r.connect(""), "", "own:a", channel.ErrBadRequest},
			{"a channel without history", r.connect("ann"), "w", "plain:a", channel.ErrNotAvailable},
			{"a channel of no namespace", r.connect("ann"), "w", "nowhere:a", channel.ErrUnknownChannel},
			{"a consumer of consumers", r.connect("ann"), "w", "$consumers:w~jobs:a", channel.ErrNotAvailable},
			{"a long name", r.connect("ann"), strings.Repeat("x", 101), "jobs:a", channel.ErrBadRequest},
			{"long names", r.connect("ann"), strings.Repeat("x", 100), "jobs:" + strings.Repeat("y", 140), channel.ErrBadRequest},
		} {
			if err := c.who.sit(c.name, c.source); (err == nil) != (c.want == nil) || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("%s: %v", c.what, err)
			}
		}
		list, next, err := r.m.List(t.Context(), "", "", 2)
		if err != nil || len(list) != 2 || next != list[1].Deliveries {
			t.Errorf("%d, %q, %v", len(list), next, err)
		}
		if rest, end, err := r.m.List(t.Context(), "", next, 10); err != nil || len(rest) != 2 || end != "" {
			t.Errorf("%d, %q, %v", len(rest), end, err)
		}
		// The server's wish needs no right.
		if n, err := r.hub.Subscribe(t.Context(), hub.Target{User: "ann"}, hub.SubscribeRequest{Channel: "$consumers:w~closed:b"}); n == 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Words about what somebody has not got are refused, and change nothing.
func TestForeignAcks(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{MaxPerSession: 1}, fresh)
		r.create("v", "jobs:a", consumer.Settings{}, fresh)
		a, b := r.sits("ann", "w", "jobs:a"), r.sits("bob", "w", "jobs:a")
		stranger := r.connect("eve")
		r.publish("jobs:a", 1, 3)
		got := a.gets("1#1")
		b.gets("2#1")
		by := func(c *client, name string, offsets ...uint64) error {
			_, err := r.m.Settle(t.Context(), &consumer.Word{Do: "ack", Session: c.ID(), Consumer: name, Channel: "jobs:a", Offsets: offsets})
			return err
		}
		token := got[0].Tags[consumer.TagAck]
		for _, c := range []struct {
			what string
			err  error
			want *channel.Error
		}{
			{"another's", by(a, "w", 2), channel.ErrPermissionDenied},
			{"one's own and another's", by(a, "w", 1, 2), channel.ErrPermissionDenied},
			{"never delivered", by(a, "w", 3), channel.ErrBadRequest},
			{"yet to come", by(a, "w", 99), channel.ErrBadRequest},
			{"offset 0", by(a, "w", 0), channel.ErrBadRequest},
			{"not subscribed", by(stranger, "w", 1), channel.ErrNotSubscribed},
			{"another consumer", by(a, "v", 1), channel.ErrNotSubscribed},
			{"no token", tokens(r, "xyz"), channel.ErrBadRequest},
			{"a token that was bent", tokens(r, flip(token)), channel.ErrBadRequest},
			{"a long token", tokens(r, strings.Repeat("A", 2000)), channel.ErrBadRequest},
			{"nothing", tokens(r), channel.ErrBadRequest},
			{"too many", tokens(r, make([]string, consumer.MaxAcks+1)...), channel.ErrLimitExceeded},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: %v", c.what, c.err)
			}
		}
		if i := r.info("w", "jobs:a"); i.Counts.Acked != 0 || i.Unacked != 2 {
			t.Errorf("%+v", i)
		}
		if err := by(a, "w", 1); err != nil {
			t.Error(err)
		}
		a.gets("3#1")
		if n := r.metrics.Limit("acks").Value(); n != 1 {
			t.Errorf("%d hits of the limit", n)
		}
	})
}

func tokens(r *rig, tokens ...string) error {
	_, err := r.m.Settle(context.Background(), &consumer.Word{Do: "ack", Tokens: tokens})
	return err
}

// flip changes one letter in the middle.
func flip(token string) string {
	b := []byte(token)
	if i := len(b) / 2; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func TestSettingsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, set := range []consumer.Settings{
			{AckTimeout: time.Millisecond},
			{AckTimeout: 25 * time.Hour},
			{MaxUnacked: consumer.MaxUnacked + 1},
			{MaxUnacked: 2, MaxPerSession: 3},
			{MaxAttempts: 3},
			{MaxAttempts: -1},
			{DeadLetter: "nowhere:x"},
			{DeadLetter: "jobs:a"},
			{DeadLetter: "$consumers:w~jobs:a"},
		} {
			if _, err := r.m.Create(t.Context(), "w", "jobs:a", set, fresh); err == nil {
				t.Errorf("%+v was taken", set)
			}
		}
		if list, _, err := r.m.List(t.Context(), "", "", 10); err != nil || len(list) != 0 {
			t.Errorf("%d consumers, %v", len(list), err)
		}
	})
}

// Limits on how many there are hold, and are counted.
func TestTooManyConsumers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		small := newRig(t, r.engine, func(o *consumer.Options) { o.Limits = consumer.Limits{Consumers: 3, PerChannel: 2} })
		moved(r.engine, small)
		defer small.stop()
		create := func(name, source string) error {
			_, err := small.m.Create(t.Context(), name, source, consumer.Settings{}, fresh)
			return err
		}
		if err := errors.Join(create("a", "jobs:a"), create("b", "jobs:a"), create("a", "jobs:a")); err != nil {
			t.Error(err)
		}
		if err := create("c", "jobs:a"); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a third of a channel: %v", err)
		}
		if err := create("a", "jobs:b"); err != nil {
			t.Error(err)
		}
		if err := create("a", "jobs:c"); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a fourth: %v", err)
		}
		if n := small.metrics.Limit("consumers").Value(); n != 2 {
			t.Errorf("%d hits of the limit", n)
		}
	})
}

// A consumer that is deleted tells its clients, and begins anew when made again.
func TestDelete(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 1)
		got := c.gets("1#1")
		if err := r.m.Delete(t.Context(), "w", "jobs:a"); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
		if len(c.mu.ended) != 1 || len(c.Subscriptions()) != 0 {
			t.Errorf("ended %v, subscribed to %v", c.mu.ended, c.Subscriptions())
		}
		if _, err := r.word("ack", 0, got...); !errors.Is(err, channel.ErrUnknownChannel) {
			t.Errorf("an ack: %v", err)
		}
		if err := r.m.Delete(t.Context(), "w", "jobs:a"); !errors.Is(err, channel.ErrUnknownChannel) {
			t.Errorf("again: %v", err)
		}
		r.create("w", "jobs:a", consumer.Settings{}, fresh)
		if err := c.sit("w", "jobs:a"); err != nil {
			t.Error(err)
		}
		r.publish("jobs:a", 2, 2)
		c.gets("2#1")
	})
}
