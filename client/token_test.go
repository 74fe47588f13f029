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

// tokens returns a GetToken that counts.
func tokens(j *journal) func(context.Context) (string, error) {
	n := 0
	return func(context.Context) (string, error) {
		n++
		j.add("get token %d", n)
		return fmt.Sprintf("t%d", n), nil
	}
}

func TestTokenIsRefreshedBeforeItExpires(t *testing.T) {
	bothFormats(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{GetToken: tokens(&j)})
		p := f.accept()
		if req := p.connect(&protocol.ConnectResult{Expires: true, Ttl: 60}); req.GetToken() != "t1" {
			t.Fatalf("token %q", req.GetToken())
		}
		connected := time.Now()
		for i := 2; i < 5; i++ {
			cmd := p.next()
			if cmd.GetRefresh().GetToken() != fmt.Sprintf("t%d", i) {
				t.Fatalf("command %v, want refresh with t%d", cmd, i)
			}
			if d := time.Since(connected); d >= 60*time.Second || d < 30*time.Second {
				t.Fatalf("refreshed after %v of 60s", d)
			}
			connected = time.Now()
			p.send(&protocol.Reply{Id: cmd.GetId(), Refresh: &protocol.RefreshResult{Expires: true, Ttl: 60}})
		}
		// A server that moves the end by itself moves the refresh too.
		p.send(&protocol.Reply{Push: &protocol.Push{Refresh: &protocol.Refresh{}}})
		time.Sleep(time.Hour)
		p.quiet()
		p.cut()
		if req := f.accept().connect(&protocol.ConnectResult{}); req.GetToken() != "t4" {
			t.Fatalf("token %q after the reconnect, want the last one", req.GetToken())
		}
	})
}

func TestRefreshIsRetried(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		fails := 2
		f.start(client.Options{
			Token: "t0", Handlers: j.handlers(),
			GetToken: func(context.Context) (string, error) {
				if fails--; fails >= 0 {
					return "", errors.New("no backend")
				}
				return "fresh", nil
			},
		})
		p := f.accept()
		p.connect(&protocol.ConnectResult{Expires: true, Ttl: 60})
		start := time.Now()
		cmd := p.next()
		p.fail(cmd, 111, "too many requests", true)
		cmd = p.next()
		if cmd.GetRefresh().GetToken() != "fresh" || time.Since(start) > 90*time.Second {
			t.Fatalf("%v after %v", cmd, time.Since(start))
		}
		p.fail(cmd, 101, "unauthorized", false)
		p.gone()
		equal(t, j.take(),
			"connecting 0 connect called", "connected c1",
			"error get token: no backend", "error get token: no backend",
			"error server error 111: too many requests",
			"disconnected 101 unauthorized")
	})
}

func TestExpiredTokenIsReplaced(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		f.start(client.Options{Token: "old", GetToken: tokens(&j)})
		p := f.accept()
		p.fail(p.next(), 109, "token expired", false)
		p.gone()
		if req := f.accept().connect(&protocol.ConnectResult{}); req.GetToken() != "t1" {
			t.Fatalf("token %q", req.GetToken())
		}
	})
}

func TestExpiredTokenWithoutAnother(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{Token: "old"})
		p := f.accept()
		p.fail(p.next(), 109, "token expired", false)
		p.gone()
		<-c.Done()
		if d, ok := errors.AsType[*client.Disconnected](c.Err()); !ok || d.Code != client.CodeUnauthorized {
			t.Fatalf("Err = %v", c.Err())
		}
	})
}

func TestNoTokenEver(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{GetToken: func(context.Context) (string, error) {
			return "", fmt.Errorf("the user is unknown: %w", client.ErrUnauthorized)
		}})
		<-c.Done()
		if d, ok := errors.AsType[*client.Disconnected](c.Err()); !ok || d.Code != client.CodeUnauthorized {
			t.Fatalf("Err = %v", c.Err())
		}
	})
}

// Close must not wait for a GetToken that honours its context.
func TestCloseDuringGetToken(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		c := f.start(client.Options{GetToken: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}})
		time.Sleep(time.Second)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestInvalidatedStateIsDropped(t *testing.T) {
	virtual(t, func(t *testing.T, f *fake) {
		var j journal
		c := f.start(client.Options{GetToken: tokens(&j)})
		if _, err := c.Subscribe("a", client.SubOptions{Recover: true}); err != nil {
			t.Fatal(err)
		}
		p := f.accept()
		p.connect(&protocol.ConnectResult{})
		p.subscribe(&protocol.SubscribeResult{Recoverable: true, Epoch: "e", Offset: 5})
		p.closeWith(3014, "state invalidated")
		p = f.accept()
		if req := p.connect(&protocol.ConnectResult{}); req.GetToken() != "t2" {
			t.Fatalf("token %q, want a new one", req.GetToken())
		}
		if req := p.subscribe(&protocol.SubscribeResult{}); req.GetRecover() {
			t.Fatalf("subscribe %v, want no recovery", req)
		}
	})
}
