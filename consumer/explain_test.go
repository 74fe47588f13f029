package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/consumer"
	"myelin/filter"
	"myelin/hub"
)

// ask asks what became of a publication at the consumers of a channel.
func (r *rig) ask(q consumer.ExplainRequest) []*consumer.Finding {
	r.t.Helper()
	at := q.At
	e, err := r.hub.Explain(context.Background(), &hub.ExplainRequest{Channel: q.Channel, At: at, Bare: true})
	if err != nil {
		r.t.Fatal(err)
	}
	q.At, q.Top, q.Kept = e.At, e.Top, e.Pub != nil
	list, more, err := r.m.Explain(context.Background(), &q)
	if err != nil || more != 0 {
		r.t.Fatalf("%v, %d more", err, more)
	}
	return list
}

// why is ask about consumer w of jobs:a.
func (r *rig) why(offset uint64) *consumer.Finding {
	r.t.Helper()
	list := r.ask(consumer.ExplainRequest{Channel: "jobs:a", Consumer: "w", At: channel.Position{Offset: offset}})
	if len(list) != 1 {
		r.t.Fatalf("%d findings, want 1", len(list))
	}
	return list[0]
}

// is fails unless a finding is what it should be and its reason says words.
func (r *rig) is(f *consumer.Finding, want consumer.Verdict, attempts int, words string) {
	r.t.Helper()
	if f.Verdict != want || f.Attempts != attempts || !strings.Contains(f.Reason, words) {
		r.t.Errorf("%s after %d: %q, want %s after %d and %q", f.Verdict, f.Attempts, f.Reason, want, attempts, words)
	}
}

// From nobody there to the acknowledgement.
func TestExplainTheWayOfADelivery(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish("jobs:a", 1, 1)
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: 10 * time.Second, MaxUnacked: 2, MaxPerSession: 1}, fresh)
		r.publish("jobs:a", 2, 5)
		r.is(r.why(1), consumer.VerdictBefore, 0, "behind offset 1")
		r.is(r.why(2), consumer.VerdictUnsent, 0, "nobody is subscribed")
		r.is(r.why(4), consumer.VerdictUnsent, 0, "until some of its 2 are settled; the oldest is offset 2, and nobody")
		r.is(r.why(6), consumer.VerdictUnpublished, 0, "at offset 5")
		ann := r.sits("ann", "w", "jobs:a")
		got := ann.gets("2#1")
		f := r.why(2)
		r.is(f, consumer.VerdictDelivered, 1, "not acknowledged yet")
		if f.Client != ann.ID() || f.User != "ann" || f.DeliveredAt == 0 || f.Due != f.DeliveredAt+10_000 || f.Node != "here" {
			t.Errorf("%+v", f)
		}
		r.is(r.why(3), consumer.VerdictUnsent, 0, "the 1 who take part have no room")
		if _, err := r.word("nack", 3*time.Second, got...); err != nil {
			t.Fatal(err)
		}
		three := ann.gets("3#1")
		f = r.why(2)
		r.is(f, consumer.VerdictRedelivery, 1, "delivered once and not acknowledged, and comes again: not before")
		if f.Due == 0 || f.Client != ann.ID() {
			t.Errorf("%+v", f)
		}
		wait(4 * time.Second)
		r.is(r.why(2), consumer.VerdictRedelivery, 1, "no room")
		r.acks(three...)
		two := ann.gets("2#2")
		r.acks(two...)
		f = r.why(2)
		r.is(f, consumer.VerdictAcknowledged, 2, "delivered 2 times")
		if f.Client != ann.ID() || f.SettledAt == 0 || f.Due != 0 {
			t.Errorf("%+v", f)
		}
		ann.gets("4#1")
		ann.Close()
		f = r.why(4)
		r.is(f, consumer.VerdictRedelivery, 1, "nobody is subscribed")
		if f.User != "ann" {
			t.Errorf("%+v", f)
		}
		if _, err := r.m.Settle(t.Context(), &consumer.Word{Do: "ack", Consumer: "w", Channel: "jobs:a", Offsets: []uint64{5}, Operator: true}); err != nil {
			t.Fatal(err)
		}
		r.is(r.why(5), consumer.VerdictAcknowledged, 0, "by an operator")
	})
}

func TestExplainOrderAndExclusion(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{Ordered: true}, fresh)
		r.create("x", "jobs:a", consumer.Settings{Exclusive: true, MaxPerSession: 1}, fresh)
		r.sits("ann", "w", "jobs:a")
		r.sits("ann", "x", "jobs:a")
		r.sits("bob", "x", "jobs:a")
		r.publish("jobs:a", 1, 2)
		r.is(r.why(2), consumer.VerdictUnsent, 0, "ordered, and offset 1 before it is not settled")
		x := r.ask(consumer.ExplainRequest{Channel: "jobs:a", Consumer: "x", At: channel.Position{Offset: 2}})[0]
		r.is(x, consumer.VerdictUnsent, 0, "exclusive, and the one who works has 1")
	})
}

// What was given up says why, and a worker that takes over knows it still.
func TestExplainWhatWasGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Second, MaxAttempts: 2, DeadLetter: "dead:x"}, fresh)
		ann := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 1)
		wait(3 * time.Second)
		ann.gets("1#1 1#2")
		told := func(f *consumer.Finding) {
			t.Helper()
			r.is(f, consumer.VerdictGivenUp, 2, "delivered 2 times, as often as it may be")
			if f.Why != "attempts" || f.DeadLetter != "dead:x" || f.SettledAt == 0 {
				t.Errorf("%+v", f)
			}
		}
		told(r.why(1))
		if _, err := r.hub.Publish(t.Context(), &channel.PublishRequest{
			Channel: "jobs:a", Data: []byte("2"), Expires: time.Now().Add(500 * time.Millisecond).UnixMilli(),
		}); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
		f := r.why(2)
		r.is(f, consumer.VerdictGivenUp, 1, "its deadline passed")
		if f.Why != "expired" {
			t.Errorf("%+v", f)
		}
		r.publish("jobs:a", 3, 3)
		got := ann.take()
		r.acks(got[len(got)-1])
		r.is(r.why(3), consumer.VerdictAcknowledged, 1, "delivered once")
		r.stop()
		next := newRig(t, r.engine, nil)
		redirect(r.engine, next.hub)
		next.m.Start()
		r.m, r.hub, r.down = next.m, next.hub, false
		defer next.stop()
		told(r.why(1))
		r.is(r.why(3), consumer.VerdictAcknowledged, 0, "is not remembered")
		if _, err := r.m.Seek(t.Context(), "w", "jobs:a", consumer.Start{Offset: 0}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		r.is(r.why(1), consumer.VerdictUnsent, 0, "nobody is subscribed")
	})
}

// What the channel did not keep, and what was of an epoch before.
func TestExplainWhatWasLost(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "short:a", consumer.Settings{MaxUnacked: 1}, fresh)
		r.sits("ann", "w", "short:a")
		r.publish("short:a", 1, 1)
		r.publish("short:a", 2, 12)
		why := func(at channel.Position) *consumer.Finding {
			t.Helper()
			return r.ask(consumer.ExplainRequest{Channel: "short:a", Consumer: "w", At: at})[0]
		}
		r.is(why(channel.Position{Offset: 1}), consumer.VerdictDelivered, 1, "")
		if _, err := r.m.Settle(t.Context(), &consumer.Word{Do: "ack", Consumer: "w", Channel: "short:a", Offsets: []uint64{1}, Operator: true}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		lost := why(channel.Position{Offset: 3})
		r.is(lost, consumer.VerdictGivenUp, 0, "did not keep it")
		if lost.Why != "evicted" || lost.DeadLetter != "" {
			t.Errorf("%+v", lost)
		}
		old := why(channel.Position{Epoch: "older", Offset: 3})
		r.is(old, consumer.VerdictUnknown, 0, "begun anew")
	})
}

// A client is told of the consumers that it takes part in, or that it had it from.
func TestExplainForAClient(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"v", "w", "x"} {
			r.create(name, "jobs:a", consumer.Settings{}, fresh)
		}
		r.create("other", "jobs:b", consumer.Settings{}, fresh)
		ann := r.sits("ann", "w", "jobs:a")
		bob := r.sits("bob", "x", "jobs:a")
		r.publish("jobs:a", 1, 1)
		show := func(client, user string) string {
			t.Helper()
			var out []string
			for _, f := range r.ask(consumer.ExplainRequest{Channel: "jobs:a", Client: client, User: user, At: channel.Position{Offset: 1}}) {
				out = append(out, fmt.Sprintf("%s %s %s", f.Consumer, f.Verdict, f.User))
			}
			return strings.Join(out, ", ")
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		want(show("", ""), "v unsent , w delivered ann, x delivered bob")
		want(show(ann.ID(), ""), "w delivered ann")
		want(show("", "bob"), "x delivered bob")
		want(show("nobody", ""), "")
		bob.Close()
		want(show(bob.ID(), ""), "x redelivery bob")
		r.acks(ann.take()...)
		ann.Close()
		want(show(ann.ID(), ""), "w acknowledged ann")
	})
}

// A filter on deliveries is refused, wherever it comes from: what it kept back
// would come again and again, and nobody would acknowledge it.
func TestNoFilterOnDeliveries(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		full, err := consumer.Channel("w", "jobs:a")
		if err != nil {
			t.Fatal(err)
		}
		f, err := filter.Parse([]byte(`{"key":"site","cmp":"eq","val":"a"}`), filter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		bound := r.connect("cid", auth.Capability{Channels: []string{full}, Allow: []string{"sub"}, Filter: f})
		for name, c := range map[string]struct {
			who *client
			req hub.SubscribeRequest
		}{
			"of the client":           {r.connect("ann"), hub.SubscribeRequest{Filter: f}},
			"of a subscription token": {r.connect("bob"), hub.SubscribeRequest{Grant: &auth.Grant{Channel: full, SubOptions: auth.SubOptions{Filter: f}}}},
			"of a capability":         {bound, hub.SubscribeRequest{}},
			"of the server":           {r.connect("dan"), hub.SubscribeRequest{Granted: true, Options: auth.SubOptions{Filter: f}}},
		} {
			c.req.Channel = full
			if _, err := c.who.Subscribe(t.Context(), c.req); !errors.Is(err, channel.ErrPermissionDenied) || !strings.Contains(err.Error(), "not filtered") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := r.connect("eve").Subscribe(t.Context(), hub.SubscribeRequest{Channel: full, Grant: &auth.Grant{Channel: full}}); err != nil {
			t.Errorf("without one: %v", err)
		}
	})
}

func TestExplainOfNoConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if list := r.ask(consumer.ExplainRequest{Channel: "plain:a", At: channel.Position{Offset: 1}}); len(list) != 0 {
			t.Errorf("%+v", list)
		}
		for _, name := range []string{"w", "a~b"} {
			_, _, err := r.m.Explain(t.Context(), &consumer.ExplainRequest{Channel: "jobs:a", Consumer: name, At: channel.Position{Epoch: "e", Offset: 1}})
			if !errors.Is(err, channel.ErrUnknownChannel) && !errors.Is(err, channel.ErrBadRequest) {
				t.Errorf("consumer %q: %v", name, err)
			}
		}
	})
}

// Any node explains what another one has, and names who is elsewhere.
func TestExplainOnOtherNodes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a"), c.join("b")
		a.create("w", "jobs:a", consumer.Settings{AckTimeout: time.Hour}, fresh)
		bob := b.sits("bob", "w", "jobs:a")
		wait(time.Second)
		a.publish("jobs:a", 1, 1)
		wait(time.Second)
		for _, r := range []*rig{a, b} {
			f := r.why(1)
			r.is(f, consumer.VerdictDelivered, 1, "")
			if f.Node != "a" || f.Client != bob.ID() || f.User != "bob" {
				t.Errorf("%+v", f)
			}
		}
		c.kill("a")
		f := b.why(1)
		if f.Verdict != consumer.VerdictUnknown && f.Verdict != consumer.VerdictDelivered && f.Verdict != consumer.VerdictRedelivery {
			t.Errorf("%+v", f)
		}
		wait(10 * time.Second)
		b.acks(bob.gets("1#1 1#2")[1])
		b.is(b.why(1), consumer.VerdictAcknowledged, 2, "2 times")
	})
}
