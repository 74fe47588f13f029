package hub_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// Filters of the client's own, of its token, and of the right to subscribe.
func TestExplainFilters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		own, granted := s.connect("ann"), s.connect("bob")
		own.choosy(hub.SubscribeRequest{Channel: "log:x", Filter: is(t, "c", "red")})
		granted.choosy(hub.SubscribeRequest{Channel: "log:x", Grant: &auth.Grant{Channel: "log:x", SubOptions: auth.SubOptions{Filter: is(t, "c", "red")}}})
		bound := s.connectAs(&auth.Identity{User: "cid", Caps: []auth.Capability{{
			Channels: []string{"log:x"}, Allow: []string{"sub"}, Filter: is(t, "c", "red"),
		}}}, nil)
		bound.subscribe("log:x")
		for _, c := range []string{"blue", "red"} {
			if _, err := s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:x", Data: []byte("1"), Tags: map[string]string{"c": c}}); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		for _, c := range []*client{own, granted, bound} {
			s.is(s.why(c, "log:x", 1), hub.VerdictSkipped, "filter")
			s.is(s.why(c, "log:x", 2), hub.VerdictWritten, "")
		}
	})
}

// What expired on the way was not written: in the inbox, which is of all, in
// the queue of a connection, and while its turn had not come. It is told of those
// that left, too.
func TestExplainWhatExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Shards = 1; patterned(o) })
		c, slow, paced, all := s.connect("ann"), s.connect("bob"), s.connect("cid"), s.connect("dan")
		c.subscribe("log:x")
		slow.subscribe("log:x")
		paced.paced("log:x", 1)
		all.subscribe("log:*")
		release := s.hold()
		s.publish("log:x", "1")
		s.expiring("log:x", "2", 10)
		time.Sleep(20 * time.Millisecond)
		release()
		s.settle()
		for _, c := range []*client{c, slow, paced, all} {
			s.is(s.why(c, "log:x", 1), hub.VerdictWritten, "")
			s.is(s.why(c, "log:x", 2), hub.VerdictSkipped, `"expired"`)
		}
		slow.allow(0)
		s.publish("log:x", "3")
		s.settle() // cut short, and not to be taken back
		s.expiring("log:x", "4", 500)
		s.settle()
		s.is(s.why(slow, "log:x", 4), hub.VerdictQueued, "")
		s.is(s.why(paced, "log:x", 4), hub.VerdictPending, "by the rate")
		s.is(s.why(paced, "log:x", 3), hub.VerdictSkipped, `"conflate"`)
		wait(2 * time.Second)
		slow.allow(-1)
		s.settle()
		s.is(s.why(slow, "log:x", 4), hub.VerdictSkipped, `"expired"`)
		s.is(s.why(paced, "log:x", 4), hub.VerdictSkipped, `"expired"`)
		s.is(s.why(c, "log:x", 4), hub.VerdictWritten, "")
		late := s.connect("eve")
		late.subscribe("log:x")
		s.is(s.why(late, "log:x", 2), hub.VerdictEarlier, "")
		c.Close(hub.DisconnectForceNoReconnect)
		s.settle()
		s.is(s.why(c, "log:x", 2), hub.VerdictSkipped, `"expired"`)
		s.is(s.why(c, "log:x", 4), hub.VerdictWritten, "before the subscription ended")
	})
}

// What waited for a connection that ended was not written, neither while its
// goodbye waits behind it nor after.
func TestExplainWhatWaitedAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		s.publish("log:x", "1")
		s.settle()
		wait(time.Second)
		c.allow(0)
		s.publish("log:x", "2", "3")
		s.settle()
		c.Close(hub.DisconnectSlow)
		for _, pause := range []time.Duration{0, time.Minute} {
			wait(pause)
			s.settle()
			s.is(s.why(c, "log:x", 1), hub.VerdictWritten, "before the subscription ended")
			s.is(s.why(c, "log:x", 3), hub.VerdictEnded, "while")
		}
	})
}

// A rule for the slow says what it left out.
func TestExplainSlowRules(t *testing.T) {
	for _, rule := range []hub.Slow{hub.SlowDropOldest, hub.SlowConflate} {
		t.Run(rule.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["log"].Slow = rule; o.Limits.QueueBytes = 4096 })
				c := s.connect("ann")
				c.subscribe("log:x")
				c.allow(0)
				for range 61 {
					s.publish("log:x", strings.Repeat("m", 200))
					s.settle()
				}
				s.is(s.why(c, "log:x", 5), hub.VerdictSkipped, "slow: "+rule.String())
				s.is(s.why(c, "log:x", 61), hub.VerdictQueued, "")
			})
		})
	}
}

// A subscription whose recovery is being read gets what comes meanwhile.
func TestExplainWhatIsPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		s.publish("log:x", "1")
		c := s.connect("ann")
		sn, err := c.Subscribe(context.Background(), hub.SubscribeRequest{Channel: "log:x"})
		if err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "2")
		s.settle()
		s.is(s.why(c, "log:x", 2), hub.VerdictPending, "then gets it")
		sn.Live([]byte("ok\n"))
		s.settle()
		s.is(s.why(c, "log:x", 2), hub.VerdictWritten, "")
	})
}

// Where a node does not answer, nobody is said not to be there.
func TestExplainASilentNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newLake(1, time.Millisecond, 0)
		w := newTown(t, nil, func(string) channel.Engine { return shared.port() }, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		c := b.connect("ann")
		c.subscribe("log:x")
		at := a.publish("log:x", "1")
		wait(time.Second)
		w.net.Cut("a", "b")
		a.is(a.why(c, "log:x", at.Offset), hub.VerdictUnknownClient, "node b did not answer")
	})
}
