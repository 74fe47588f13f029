package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/client"
	"myelin/protocol"
)

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n\t%q\nwant\n\t%q", got, want)
	}
}

// bothFormats runs a test in virtual time, in JSON and in Protobuf.
func bothFormats(t *testing.T, test func(t *testing.T, f *fake)) {
	t.Helper()
	for _, format := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		t.Run(format.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.format = format
				test(t, f)
			})
		})
	}
}

func virtual(t *testing.T, test func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFake(t)) })
}

func TestCommandsAndReplies(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{Token: "secret", Name: "test", Version: "7", Data: []byte(`{"a":1}`), Handlers: j.handlers()})
		p := f.accept()
		req := p.connect(&protocol.ConnectResult{Client: "id1", Version: "v"})
		if req.GetToken() != "secret" || req.GetName() != "test" || req.GetVersion() != "7" || string(req.GetData()) != `{"a":1}` {
			t.Fatalf("connect request %v", req)
		}
		equal(t, j.take(), "connecting 0 connect called", "connected id1")

		go p.answer(
			func(c *protocol.Command) *protocol.Reply { return &protocol.Reply{Publish: &protocol.PublishResult{}} },
			func(c *protocol.Command) *protocol.Reply {
				return &protocol.Reply{Rpc: &protocol.RPCResult{Data: c.GetRpc().GetData()}}
			},
			func(c *protocol.Command) *protocol.Reply {
				return &protocol.Reply{History: &protocol.HistoryResult{
					Epoch: "e", Offset: 9, Publications: []*protocol.Publication{wirePub(4, "4"), wirePub(9, "9")},
				}}
			},
			func(c *protocol.Command) *protocol.Reply {
				return &protocol.Reply{Presence: &protocol.PresenceResult{Presence: map[string]*protocol.ClientInfo{
					"x": {Client: "x", User: "u"},
				}}}
			},
			func(c *protocol.Command) *protocol.Reply {
				return &protocol.Reply{PresenceStats: &protocol.PresenceStatsResult{NumClients: 3, NumUsers: 2}}
			},
			func(c *protocol.Command) *protocol.Reply {
				return &protocol.Reply{Error: &protocol.Error{Code: 103, Message: "permission denied"}}
			},
		)
		ctx := t.Context()
		if err := c.Publish(ctx, "a", []byte(`1`)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.RPC(ctx, "echo", []byte(`{"x":[1]}`)); err != nil || string(got) != `{"x":[1]}` {
			t.Fatalf("RPC = %s, %v", got, err)
		}
		h, err := c.History(ctx, "a", client.HistoryOptions{Limit: -1, Since: &client.Position{Epoch: "e", Offset: 3}})
		if err != nil || h.Position != (client.Position{Epoch: "e", Offset: 9}) || len(h.Publications) != 2 ||
			h.Publications[1].Position != (client.Position{Epoch: "e", Offset: 9}) || string(h.Publications[0].Data) != "4" {
			t.Fatalf("History = %+v, %v", h, err)
		}
		if got, err := c.Presence(ctx, "a"); err != nil || got["x"].User != "u" {
			t.Fatalf("Presence = %v, %v", got, err)
		}
		if got, err := c.PresenceStats(ctx, "a"); err != nil || got != (client.PresenceStats{Clients: 3, Users: 2}) {
			t.Fatalf("PresenceStats = %v, %v", got, err)
		}
		err = c.Publish(ctx, "b", []byte(`1`))
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 103 || e.Message != "permission denied" || e.Temporary {
			t.Fatalf("Publish = %v, want error 103", err)
		}
		if err := c.Send(ctx, []byte(`"hi"`)); err != nil {
			t.Fatal(err)
		}
		if cmd := p.next(); cmd.GetId() != 0 || string(cmd.GetSend().GetData()) != `"hi"` {
			t.Fatalf("send command %v", cmd)
		}
		p.send(&protocol.Reply{Push: &protocol.Push{Message: &protocol.Message{Data: protocol.Raw(`"yo"`)}}})
		equal(t, j.take(), `message "yo"`)
	})
}

// answer answers the next commands one after another.
func (p *peer) answer(with ...func(*protocol.Command) *protocol.Reply) {
	for _, f := range with {
		cmd := p.next()
		r := f(cmd)
		r.Id = cmd.GetId()
		p.send(r)
	}
}

func TestPipelinedCommandsKeepTheirReplies(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		const n = 100
		go func() {
			// Replies come back in reverse, many in a frame.
			var replies []*protocol.Reply
			for range n {
				cmd := p.next()
				replies = append(replies, &protocol.Reply{Id: cmd.GetId(), Rpc: &protocol.RPCResult{Data: cmd.GetRpc().GetData()}})
			}
			slices.Reverse(replies)
			p.send(replies...)
		}()
		errs := make(chan error, n)
		for i := range n {
			go func() {
				want := fmt.Sprint(i)
				got, err := c.RPC(t.Context(), "m", []byte(want))
				if err == nil && string(got) != want {
					err = fmt.Errorf("got %s, want %s", got, want)
				}
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCommandWaitsForConnection(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.setDown(true)
		c := f.start(client.Options{})
		done := make(chan error, 1)
		go func() { done <- c.Publish(t.Context(), "a", []byte(`1`)) }()
		time.Sleep(time.Minute)
		f.setDown(false)
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		cmd := p.next()
		if cmd.GetPublish().GetChannel() != "a" {
			t.Fatalf("command %v, want the publish that waited", cmd)
		}
		p.send(&protocol.Reply{Id: cmd.GetId(), Publish: &protocol.PublishResult{}})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCommandEndsWithItsContext(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{MaxPending: 1})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.RPC(ctx, "slow", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("RPC = %v, want deadline exceeded", err)
		}
		if n := c.Pending(); n != 0 {
			t.Fatalf("%d calls pending after the only one has ended", n)
		}
		slow := p.next()
		// Its place is free again, and its late reply harms nobody.
		p.send(&protocol.Reply{Id: slow.GetId(), Rpc: &protocol.RPCResult{}})
		go p.answer(func(*protocol.Command) *protocol.Reply { return &protocol.Reply{Publish: &protocol.PublishResult{}} })
		if err := c.Publish(t.Context(), "a", []byte(`1`)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCommandLostWithItsConnection(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		go func() { p.next(); p.cut() }()
		if err := c.Publish(t.Context(), "a", []byte(`1`)); !errors.Is(err, client.ErrConnectionLost) {
			t.Fatalf("Publish = %v, want ErrConnectionLost", err)
		}
		q := f.accept()
		q.connect(&protocol.ConnectResult{})
		q.quiet()
	})
}

func TestPendingLimit(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{MaxPending: 2})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		for range 3 {
			go func() { _, _ = c.RPC(t.Context(), "m", nil) }()
		}
		first := p.next()
		p.next()
		p.quiet()
		p.send(&protocol.Reply{Id: first.GetId(), Rpc: &protocol.RPCResult{}})
		p.next()
	})
}

func TestQueueLimit(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{MaxQueue: 1000})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		big := fmt.Appendf(nil, "%q", strings.Repeat("x", 1000))
		if err := c.Publish(t.Context(), "a", big); !errors.Is(err, client.ErrQueueFull) {
			t.Fatalf("Publish = %v, want ErrQueueFull", err)
		}
	})
}

func TestPayloadMustBeJSON(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{})
		f.accept().connect(&protocol.ConnectResult{})
		if err := c.Publish(t.Context(), "a", []byte(`{"x":`)); !errors.Is(err, client.ErrNotJSON) {
			t.Fatalf("Publish = %v, want ErrNotJSON", err)
		}
		if _, err := c.Subscribe("a", client.SubOptions{Data: []byte(`}`)}); !errors.Is(err, client.ErrNotJSON) {
			t.Fatalf("Subscribe = %v, want ErrNotJSON", err)
		}
	})
}

func TestConnectReportsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, err := client.New(testURL, client.Options{Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			p := f.accept()
			p.fail(p.next(), 101, "unauthorized", false)
			p.gone()
		}()
		err = c.Connect(t.Context())
		if d, ok := errors.AsType[*client.Disconnected](err); !ok || d.Code != 101 {
			t.Fatalf("Connect = %v, want disconnected 101", err)
		}
		if err := c.Publish(t.Context(), "a", nil); !errors.Is(err, c.Err()) {
			t.Fatalf("Publish after the end = %v", err)
		}
		if _, err := c.Subscribe("a", client.SubOptions{}); err == nil {
			t.Fatal("Subscribe after the end succeeded")
		}
	})
}

func TestConnectEndsWithItsContext(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.setDown(true)
		c := f.start(client.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Connect = %v, want deadline exceeded", err)
		}
		f.setDown(false)
		f.accept().connect(&protocol.ConnectResult{})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseBeforeConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		c, err := client.New(testURL, client.Options{Handlers: j.handlers()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		equal(t, j.take(), "disconnected 0 close called")
		if err := c.Connect(t.Context()); err == nil {
			t.Fatal("Connect after Close succeeded")
		}
	})
}

func TestCloseSaysGoodbyeAndFlushes(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		// More than the peer takes at once: some are still in the queue.
		const n = 1000
		for i := range n {
			if err := c.Send(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			if i%(n/4) == 0 {
				synctest.Wait()
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		for i := range n {
			if got := string(p.next().GetSend().GetData()); got != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, got)
			}
		}
		if code := p.gone(); code != 1000 {
			t.Fatalf("close code %d, want 1000", code)
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		equal(t, j.take(), "connecting 0 connect called", "connected c1", "disconnected 0 close called")
		if err := c.Err(); err == nil {
			t.Fatal("Err = nil after Close")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, url string
		opts      client.Options
	}{
		{"scheme", "http://x/", client.Options{}},
		{"host", "ws:///x", client.Options{}},
		{"syntax", "ws://%zz", client.Options{}},
		{"duration", testURL, client.Options{MinBackoff: -1}},
		{"limit", testURL, client.Options{MaxFrame: -1}},
		{"data", testURL, client.Options{Data: []byte("{")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := client.New(c.url, c.opts); err == nil {
				t.Fatal("New succeeded")
			}
		})
	}
}
