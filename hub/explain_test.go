package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// why asks what became of a publication for a client.
func (s *stage) why(c *client, name string, offset uint64) hub.Finding {
	s.t.Helper()
	e, err := s.hub.Explain(context.Background(), &hub.ExplainRequest{Channel: name, At: channel.Position{Offset: offset}, Client: c.ID()})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(e.Clients) != 1 {
		s.t.Fatalf("%d findings, want 1", len(e.Clients))
	}
	return e.Clients[0]
}

// is fails unless a finding is what it should be and its reason says words.
func (s *stage) is(f hub.Finding, want hub.Verdict, words string) {
	s.t.Helper()
	if f.Verdict != want || !strings.Contains(f.Reason, words) {
		s.t.Errorf("%s: %q, want %s and %q", f.Verdict, f.Reason, want, words)
	}
}

func TestExplainWhatWasHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.PingInterval = 10 * time.Second })
		s.publish("log:x", "1", "2")
		c, other := s.connect("ann"), s.connect("bob")
		c.subscribe("log:x")
		s.publish("log:x", "3")
		s.settle()
		s.is(s.why(c, "log:x", 2), hub.VerdictEarlier, "at offset 2")
		s.is(s.why(c, "log:x", 3), hub.VerdictWritten, "no ping")
		s.is(s.why(c, "log:x", 4), hub.VerdictNotPublished, "at offset 3")
		s.is(s.why(other, "log:x", 3), hub.VerdictNotSubscribed, "no subscription")
		wait(15 * time.Second) // pinged within ten
		if !c.Pong() {
			t.Fatal("no ping came")
		}
		s.is(s.why(c, "log:x", 3), hub.VerdictReceived, "answered a ping")
		s.publish("log:x", "4")
		s.settle()
		s.is(s.why(c, "log:x", 4), hub.VerdictWritten, "")
	})
}

func TestExplainWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		s.publish("log:x", "1")
		s.settle()
		wait(time.Second)
		c.allow(3)
		s.publish("log:x", "2", "3")
		s.settle()
		s.is(s.why(c, "log:x", 1), hub.VerdictWritten, "")
		s.is(s.why(c, "log:x", 3), hub.VerdictQueued, "bytes wait")
		c.allow(1 << 20)
		s.settle()
		s.is(s.why(c, "log:x", 3), hub.VerdictWritten, "")
	})
}

func TestExplainEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		s.publish("log:x", "1")
		if err := c.Unsubscribe("log:x"); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "2")
		s.settle()
		s.is(s.why(c, "log:x", 1), hub.VerdictWritten, "before the subscription ended")
		s.is(s.why(c, "log:x", 2), hub.VerdictEnded, "the client unsubscribed")
		c.subscribe("log:x")
		s.publish("log:x", "3")
		s.settle()
		s.is(s.why(c, "log:x", 3), hub.VerdictWritten, "")
		c.Close(hub.DisconnectForceNoReconnect)
		s.publish("log:x", "4")
		s.settle()
		s.is(s.why(c, "log:x", 4), hub.VerdictEnded, "the connection ended")
		f := s.why(c, "log:x", 3)
		s.is(f, hub.VerdictWritten, "")
		if f.Account == nil || f.Account.Code != 3503 || f.Account.User != "ann" {
			t.Errorf("the account of who left is %+v", f.Account)
		}
		s.is(s.why(&client{Session: s.connect("").Session}, "log:x", 3), hub.VerdictNotSubscribed, "")
	})
}

// A connection's trail is of the last that happened to it.
func TestExplainForgetsWhatIsLongAgo(t *testing.T) {
	const kept = 16
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		for i := range kept + 1 {
			name := fmt.Sprint("log:", i)
			c.subscribe(name)
			if err := c.Unsubscribe(name); err != nil {
				t.Fatal(err)
			}
			s.publish(name, "1")
		}
		s.settle()
		s.is(s.why(c, "log:0", 1), hub.VerdictNotSubscribed, "")
		for i := 1; i <= kept; i++ {
			s.is(s.why(c, fmt.Sprint("log:", i), 1), hub.VerdictEnded, "the client unsubscribed")
		}
	})
}

// A node remembers the last that left, and no more.
func TestExplainForgetsInTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		s.publish("log:x", "1")
		first := s.connect("first")
		first.subscribe("log:x")
		first.Close(hub.DisconnectConnectionClosed)
		s.settle()
		for i := range hub.MaxDeparted {
			s.is(s.why(first, "log:x", 1), hub.VerdictEnded, "")
			if i == 1 {
				break
			}
		}
		for range hub.MaxDeparted {
			c := s.connect("x")
			c.subscribe("log:x")
			c.Close(hub.DisconnectConnectionClosed)
		}
		s.settle()
		s.is(s.why(first, "log:x", 1), hub.VerdictUnknownClient, "no node")
	})
}

func TestExplainOnOtherNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := newLake(1, time.Millisecond, 0)
		w := newTown(t, nil, func(string) channel.Engine { return shared.port() }, "a", "b", "c")
		a, b := w.nodes["a"], w.nodes["b"]
		c := b.connect("ann")
		c.subscribe("log:x")
		at := a.publish("log:x", "1")
		wait(time.Second)
		f := a.why(c, "log:x", at.Offset)
		a.is(f, hub.VerdictWritten, "")
		if f.Account.Node != "b" {
			t.Errorf("the client is said to be on %s", f.Account.Node)
		}
		e, err := a.hub.Explain(context.Background(), &hub.ExplainRequest{Channel: "log:x", At: at})
		want := "[{a 0 0 false} {b 1 1 false} {c 0 0 false}]"
		if got := fmt.Sprint(e.Nodes); err != nil || got != want || e.Pub == nil {
			t.Errorf("it came to %s, %v, want %s", got, err, want)
		}
		e, err = a.hub.Explain(context.Background(), &hub.ExplainRequest{Channel: "log:x", At: at, User: "ann"})
		if err != nil || len(e.Clients) != 1 || e.Clients[0].Account.Client != c.ID() {
			t.Errorf("of the user's sessions %+v, %v", e, err)
		}
	})
}

func TestExplainWhatWasLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		if err := c.join(hub.SubscribeRequest{Channel: "log:x", Rate: 1}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "1", "2", "3")
		s.settle()
		wait(2 * time.Second)
		s.is(s.why(c, "log:x", 2), hub.VerdictSkipped, `"conflate"`)
		s.is(s.why(c, "log:x", 3), hub.VerdictWritten, "")
	})
}

func TestExplainRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		for what, r := range map[string]*hub.ExplainRequest{
			"no offset":      {Channel: "log:x"},
			"a huge offset":  {Channel: "log:x", At: channel.Position{Offset: channel.MaxOffset + 1}},
			"no channel":     {At: channel.Position{Offset: 1}},
			"no such family": {Channel: "nobody:x", At: channel.Position{Offset: 1}},
		} {
			if _, err := s.hub.Explain(context.Background(), r); !errors.Is(err, channel.ErrBadRequest) && !errors.Is(err, channel.ErrUnknownChannel) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A trace of what was left out knows the newest offsets, and of older ones
// only that they may have been among them.
func TestTraceOfSkips(t *testing.T) {
	got := hub.SkipTrace(200, func(o uint64) bool { return o%2 == 0 }, 1, 2, 3, 150, 151, 200, 201)
	want := []string{"1 ", "2 probably", "3 probably", "150 surely", "151 ", "200 surely", "201 "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
