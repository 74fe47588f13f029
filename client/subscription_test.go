package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"myelin/client"
	"myelin/protocol"
)

func (f *fake) subscribe(c *client.Client, channel string, o client.SubOptions) *client.Subscription {
	f.t.Helper()
	s, err := c.Subscribe(channel, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func TestRecoveryWithSparseOffsets(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{Recover: true, Positioned: true, JoinLeave: true}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		req := p.subscribe(&protocol.SubscribeResult{Recoverable: true, Positioned: true, Epoch: "e", Offset: 100})
		if req.GetRecover() || !req.GetRecoverable() || !req.GetPositioned() || !req.GetJoinLeave() {
			t.Fatalf("first subscribe %v", req)
		}
		p.publish("a", 107, `"x"`)
		p.publish("a", 107, `"twice"`)
		p.publish("other", 1, `"stray"`)
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Join: &protocol.Join{Info: &protocol.ClientInfo{Client: "j"}}}})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Leave: &protocol.Leave{Info: &protocol.ClientInfo{Client: "j"}}}})
		equal(t, j.take(), "subscribed e:100 recovered=false/false", `a 107 "x"`, "join j", "leave j")
		p.cut()

		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		// The server answers with the position that was asked for, and with one
		// publication too many.
		req = p.subscribe(&protocol.SubscribeResult{
			Recoverable: true, WasRecovering: true, Recovered: true, Epoch: "e", Offset: 107,
			Publications: []*protocol.Publication{wirePub(107, `"again"`), wirePub(250, `"missed"`)},
		})
		if !req.GetRecover() || req.GetEpoch() != "e" || req.GetOffset() != 107 {
			t.Fatalf("second subscribe %v, want recovery from e:107", req)
		}
		p.publish("a", 251, `"live"`)
		equal(t, j.take(), "subscribed e:107 recovered=true/true", `a 250 "missed"`, `a 251 "live"`)
		p.cut()

		// The epoch changes: what was missed is gone, and offsets start anew.
		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{Recoverable: true, WasRecovering: true, Epoch: "f", Offset: 3})
		p.publish("a", 4, `"new"`)
		equal(t, j.take(), "subscribed f:3 recovered=false/true", `a 4 "new"`)
		p.cut()

		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		req = p.subscribe(&protocol.SubscribeResult{Recoverable: true, WasRecovering: true, Recovered: true, Epoch: "f", Offset: 4})
		if req.GetEpoch() != "f" || req.GetOffset() != 4 {
			t.Fatalf("last subscribe %v, want recovery from f:4", req)
		}
	})
}

func TestRecoverySince(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{Since: &client.Position{Epoch: "e", Offset: 7}}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		req := p.subscribe(&protocol.SubscribeResult{
			Recoverable: true, WasRecovering: true, Recovered: true, Epoch: "e", Offset: 7,
			Publications: []*protocol.Publication{wirePub(9, "9")},
		})
		if !req.GetRecover() || !req.GetRecoverable() || req.GetOffset() != 7 || req.GetEpoch() != "e" {
			t.Fatalf("subscribe %v", req)
		}
		equal(t, j.take(), "subscribed e:7 recovered=true/true", "a 9 9")
	})
}

// A channel without history has no positions: nothing is taken for a duplicate.
func TestUnorderedSubscription(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{Publications: []*protocol.Publication{wirePub(0, `"initial"`)}})
		p.publish("a", 0, "1")
		p.publish("a", 0, "2")
		equal(t, j.take(), "subscribed :0 recovered=false/false", `a 0 "initial"`, "a 0 1", "a 0 2")
		p.cut()
		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		if req := p.subscribe(&protocol.SubscribeResult{}); req.GetRecover() {
			t.Fatalf("subscribe %v, want no recovery", req)
		}
	})
}

// What comes before the reply to subscribe belongs to an older subscription.
func TestPublicationBeforeTheReply(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		cmd := p.next()
		p.publish("a", 0, "1")
		p.send(&protocol.Reply{Id: cmd.GetId(), Subscribe: &protocol.SubscribeResult{}})
		p.publish("a", 0, "2")
		equal(t, j.take(), "subscribed :0 recovered=false/false", "a 0 2")
	})
}

// A new epoch may come with a publication.
func TestEpochInPublication(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{Recover: true}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{Recoverable: true})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: &protocol.Publication{Epoch: "e", Offset: 1, Data: protocol.Raw("1")}}})
		p.publish("a", 2, "2")
		j.take()
		p.cut()
		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		if req := p.subscribe(&protocol.SubscribeResult{}); req.GetEpoch() != "e" || req.GetOffset() != 2 {
			t.Fatalf("subscribe %v, want recovery from e:2", req)
		}
	})
}

func TestUnsubscribe(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		s := f.subscribe(c, "a", j.sub(client.SubOptions{}))
		if _, err := c.Subscribe("a", client.SubOptions{}); !errors.Is(err, client.ErrSubscribed) {
			t.Fatalf("second Subscribe = %v", err)
		}
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{})
		j.take()
		s.Unsubscribe()
		s.Unsubscribe()
		cmd := p.next()
		if cmd.GetUnsubscribe().GetChannel() != "a" {
			t.Fatalf("command %v", cmd)
		}
		p.publish("a", 0, `"late"`)
		p.send(&protocol.Reply{Id: cmd.GetId(), Unsubscribe: &protocol.UnsubscribeResult{}})
		equal(t, j.take(), "unsubscribed 0 unsubscribe called")
		p.quiet()
		f.subscribe(c, "a", j.sub(client.SubOptions{}))
		p.subscribe(&protocol.SubscribeResult{})
		equal(t, j.take(), "subscribed :0 recovered=false/false")
	})
}

// The reply to a subscribe that is no longer wanted changes nothing.
func TestUnsubscribeBeforeTheReply(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		s := f.subscribe(c, "a", j.sub(client.SubOptions{}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		first := p.next()
		s.Unsubscribe()
		second := p.next()
		if second.GetUnsubscribe() == nil {
			t.Fatalf("command %v", second)
		}
		p.send(&protocol.Reply{Id: first.GetId(), Subscribe: &protocol.SubscribeResult{}})
		p.send(&protocol.Reply{Id: second.GetId(), Unsubscribe: &protocol.UnsubscribeResult{}})
		equal(t, j.take(), "unsubscribed 0 unsubscribe called")
		p.quiet()
	})
}

func TestUnsubscribeThatFailsDropsTheConnection(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{})
		s := f.subscribe(c, "a", client.SubOptions{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{})
		s.Unsubscribe()
		p.fail(p.next(), 100, "internal server error", true)
		p.gone()
		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		p.quiet()
	})
}

func TestServerUnsubscribes(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{Recover: true}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{Recoverable: true, Epoch: "e", Offset: 5})
		j.take()
		unsubscribe := func(code uint32, reason string) {
			p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Unsubscribe: &protocol.Unsubscribe{Code: code, Reason: reason}}})
		}
		unsubscribe(2500, "insufficient state")
		req := p.subscribe(&protocol.SubscribeResult{Recoverable: true, WasRecovering: true, Recovered: true, Epoch: "e", Offset: 5})
		if !req.GetRecover() || req.GetOffset() != 5 {
			t.Fatalf("subscribe %v, want recovery from 5", req)
		}
		unsubscribe(2502, "state invalidated")
		if req := p.subscribe(&protocol.SubscribeResult{Recoverable: true, Epoch: "g", Offset: 1}); req.GetRecover() {
			t.Fatalf("subscribe %v, want no recovery", req)
		}
		unsubscribe(2000, "server unsubscribe")
		equal(t, j.take(),
			"subscribed e:5 recovered=true/true",
			"subscribed g:1 recovered=false/false",
			"unsubscribed 2000 server unsubscribe")
		time.Sleep(time.Hour)
		p.quiet()
		f.subscribe(c, "a", client.SubOptions{})
		p.subscribe(&protocol.SubscribeResult{})
	})
}

// A server that unsubscribes again and again is not hammered.
func TestResubscribeBacksOff(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		n := 0
		c := f.start(client.Options{MinBackoff: time.Second, MaxBackoff: 20 * time.Second})
		f.subscribe(c, "a", client.SubOptions{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); n++ {
			p.subscribe(&protocol.SubscribeResult{})
			p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Unsubscribe: &protocol.Unsubscribe{Code: 2500}}})
		}
		if n > 150 {
			t.Fatalf("%d subscribes in ten minutes, want about 60", n)
		}
	})
}

func TestSubscribeRefused(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{Handlers: j.handlers()})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		j.take()
		f.subscribe(c, "a", j.sub(client.SubOptions{}))
		p.fail(p.next(), 111, "too many requests", true)
		p.fail(p.next(), 103, "permission denied", false)
		equal(t, j.take(), "error server error 111: too many requests", "unsubscribed 103 permission denied")
	})
}

func TestSubscribeIsNotAnswered(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{Timeout: 5 * time.Second, Handlers: j.handlers()})
		f.subscribe(c, "a", client.SubOptions{})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.next()
		p.gone()
		equal(t, j.take()[2:], "connecting 3 the server did not answer in time")
		f.accept()
	})
}

func TestSubscriptionTokens(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		n := 0
		c := f.start(client.Options{})
		f.subscribe(c, "a", j.sub(client.SubOptions{GetToken: func(_ context.Context, channel string) (string, error) {
			n++
			if n == 2 {
				return "", errors.New("no backend")
			}
			return fmt.Sprintf("%s%d", channel, n), nil
		}}))
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		if req := p.subscribe(&protocol.SubscribeResult{Expires: true, Ttl: 60}); req.GetToken() != "a1" {
			t.Fatalf("token %q", req.GetToken())
		}
		start := time.Now()
		cmd := p.next()
		if cmd.GetSubRefresh().GetToken() != "a3" || cmd.GetSubRefresh().GetChannel() != "a" || time.Since(start) >= time.Minute {
			t.Fatalf("%v after %v", cmd, time.Since(start))
		}
		p.send(&protocol.Reply{Id: cmd.GetId(), SubRefresh: &protocol.SubRefreshResult{Expires: true, Ttl: 600}})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "a", Unsubscribe: &protocol.Unsubscribe{Code: 2501, Reason: "expired"}}})
		cmd = p.next()
		if cmd.GetSubscribe().GetToken() != "a3" {
			t.Fatalf("%v", cmd)
		}
		p.fail(cmd, 109, "token expired", false)
		if req := p.subscribe(&protocol.SubscribeResult{Expires: true, Ttl: 60}); req.GetToken() != "a4" {
			t.Fatalf("token %q", req.GetToken())
		}
		cmd = p.next()
		p.fail(cmd, 103, "permission denied", false)
		equal(t, j.take(),
			"subscribed :0 recovered=false/false", "subscribed :0 recovered=false/false",
			"unsubscribed 103 permission denied")
	})
}

func TestConnectionLostWhileGettingSubscriptionToken(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		n := 0
		c := f.start(client.Options{})
		f.subscribe(c, "a", client.SubOptions{GetToken: func(ctx context.Context, _ string) (string, error) {
			n++
			if n == 1 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "second", nil
		}})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.quiet()
		p.cut()
		p = f.accept()
		p.connect(&protocol.ConnectResult{})
		if req := p.subscribe(&protocol.SubscribeResult{}); req.GetToken() != "second" {
			t.Fatalf("subscribe %v", req)
		}
	})
}

func TestSubscriptionLimit(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{MaxSubscriptions: 2})
		f.subscribe(c, "a", client.SubOptions{})
		b := f.subscribe(c, "b", client.SubOptions{})
		if _, err := c.Subscribe("c", client.SubOptions{}); !errors.Is(err, client.ErrTooManySubscriptions) {
			t.Fatalf("Subscribe = %v", err)
		}
		b.Unsubscribe()
		f.subscribe(c, "c", client.SubOptions{})
	})
}

func TestServerSideSubscriptions(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{Handlers: client.Handlers{Server: client.ServerHandlers{
			OnSubscribed: func(ch string, i client.SubscribedInfo) {
				j.add("%s subscribed %s:%d %v", ch, i.Position.Epoch, i.Position.Offset, i.Recovered)
			},
			OnPublication:  func(ch string, p client.Publication) { j.add("%s %d %s", ch, p.Position.Offset, p.Data) },
			OnJoin:         func(ch string, i client.ClientInfo) { j.add("%s join %s", ch, i.Client) },
			OnLeave:        func(ch string, i client.ClientInfo) { j.add("%s leave %s", ch, i.Client) },
			OnUnsubscribed: func(ch string, code uint32, _ string) { j.add("%s unsubscribed %d", ch, code) },
		}}})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Subs: map[string]*protocol.SubscribeResult{
			"s": {Recoverable: true, Epoch: "e", Offset: 2},
		}})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "plain", Subscribe: &protocol.Subscribe{}}})
		p.publish("s", 5, "5")
		p.publish("s", 5, "5")
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "u", Subscribe: &protocol.Subscribe{}}})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "u", Join: &protocol.Join{Info: &protocol.ClientInfo{Client: "x"}}}})
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "u", Leave: &protocol.Leave{Info: &protocol.ClientInfo{Client: "x"}}}})
		p.publish("u", 0, "1")
		p.send(&protocol.Reply{Push: &protocol.Push{Channel: "u", Unsubscribe: &protocol.Unsubscribe{Code: 2000}}})
		p.publish("u", 0, "2")
		equal(t, j.take(), "s subscribed e:2 false", "plain subscribed :0 false", "s 5 5", "u subscribed :0 false", "u join x", "u leave x", "u 0 1", "u unsubscribed 2000")
		p.cut()

		p = f.accept()
		req := p.connect(&protocol.ConnectResult{Subs: map[string]*protocol.SubscribeResult{
			"s": {
				Recoverable: true, WasRecovering: true, Recovered: true, Epoch: "e", Offset: 5,
				Publications: []*protocol.Publication{wirePub(5, "5"), wirePub(8, "8")},
			},
		}})
		if s := req.GetSubs()["s"]; len(req.GetSubs()) != 1 || !s.GetRecover() || s.GetOffset() != 5 || s.GetEpoch() != "e" {
			t.Fatalf("connect %v, want recovery of s from e:5", req)
		}
		equal(t, j.take(), "plain unsubscribed 0", "s subscribed e:5 true", "s 8 8")
		p.cut()

		f.accept().connect(&protocol.ConnectResult{})
		equal(t, j.take(), "s unsubscribed 0")
	})
}

func TestServerSideSubscriptionLimit(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		f.start(client.Options{MaxSubscriptions: 2})
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		for _, ch := range []string{"a", "b", "c"} {
			p.send(&protocol.Reply{Push: &protocol.Push{Channel: ch, Subscribe: &protocol.Subscribe{}}})
		}
		if code := p.gone(); code != 1002 {
			t.Fatalf("goodbye %d", code)
		}
	})
}

// Callbacks may call the client, even one that waits for a reply.
func TestCallbackCallsClient(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		got := make(chan string, 1)
		var c *client.Client
		ready := make(chan struct{})
		h := client.Handlers{OnMessage: func(data []byte) {
			<-ready
			answer, err := c.RPC(t.Context(), "m", data)
			got <- fmt.Sprint(string(answer), err)
		}}
		c = f.start(client.Options{Handlers: h})
		close(ready)
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.send(&protocol.Reply{Push: &protocol.Push{Message: &protocol.Message{Data: protocol.Raw("1")}}})
		p.answer(func(c *protocol.Command) *protocol.Reply {
			return &protocol.Reply{Rpc: &protocol.RPCResult{Data: protocol.Raw("2")}}
		})
		if s := <-got; s != "2<nil>" {
			t.Fatal(s)
		}
	})
}
