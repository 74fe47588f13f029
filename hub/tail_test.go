package hub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// exchanged returns what a page shows, with > for what was sent.
func exchanged(p *hub.TailPage) string {
	var out []string
	for _, e := range p.Entries {
		sign := "<"
		if e.Sent {
			sign = ">"
		}
		out = append(out, sign+strings.TrimSpace(e.Text))
	}
	return strings.Join(out, "|")
}

// tail asks for what was exchanged with a client.
func (s *stage) tail(client string, after uint64) *hub.TailPage {
	s.t.Helper()
	page, err := s.hub.Tail(context.Background(), client, after)
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

func TestTail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("ann")
		c.subscribe("log:x")
		if c.Tailed() {
			t.Error("somebody listens already")
		}
		began := time.Now()
		if page := s.tail(c.ID(), 0); len(page.Entries) != 0 || page.Over || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("a quiet client: %+v after %v", page, time.Since(began))
		}
		c.Heard("7 publish log:x", 40)
		s.publish("log:x", "hello")
		s.settle()
		page := s.tail(c.ID(), 0)
		if got := exchanged(page); !strings.HasPrefix(got, "<7 publish log:x|>") || !strings.Contains(got, "hello") || page.Entries[0].Bytes != 40 {
			t.Errorf("%q", got)
		}
		last := page.Entries[len(page.Entries)-1].Seq
		s.publish("log:x", strings.Repeat("é", 2000))
		s.settle()
		page = s.tail(c.ID(), last)
		if len(page.Entries) != 1 || page.Entries[0].Bytes < 4000 || len(page.Entries[0].Text) > 1024 || !strings.HasSuffix(page.Entries[0].Text, "é") {
			t.Errorf("a long message is shown as %d bytes", len(page.Entries[0].Text))
		}
		for range 300 {
			c.Heard("x", 1)
		}
		if page := s.tail(c.ID(), last+1); len(page.Entries) != 256 || page.Missed != 45 {
			t.Errorf("of 300 entries there are %d, %d missed", len(page.Entries), page.Missed)
		}
		wait(16 * time.Second)
		c.Heard("late", 1)
		if c.Tailed() {
			t.Error("a tail that nobody asks for goes on")
		}
	})
}

func TestTailEndsWithItsClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		a, b := w.nodes["a"], w.nodes["b"]
		c := b.connect("ann")
		waiting := make(chan *hub.TailPage, 1)
		a.tail(c.ID(), 0)
		go func() { waiting <- a.tail(c.ID(), 0) }()
		a.settle()
		c.Close(hub.DisconnectForceNoReconnect)
		if page := <-waiting; page.Node != "b" || !strings.Contains(exchanged(page), "3503") {
			t.Errorf("the end of a client is %+v", page)
		}
		if page := a.tail(c.ID(), 0); !page.Over {
			t.Errorf("a client that has left: %+v", page)
		}
	})
}

func TestTailsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		var clients []*client
		for range hub.MaxTails + 1 {
			clients = append(clients, s.connect(""))
		}
		for i, c := range clients {
			_, err := s.hub.Tail(context.Background(), c.ID(), 0)
			if over := i == hub.MaxTails; errors.Is(err, channel.ErrLimitExceeded) != over {
				t.Errorf("tail %d: %v", i+1, err)
			}
		}
		clients[0].Close(hub.DisconnectConnectionClosed)
		s.settle()
		s.tail(clients[hub.MaxTails].ID(), 0)
		if _, err := s.hub.Tail(context.Background(), "", 0); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("nobody in particular: %v", err)
		}
	})
}
