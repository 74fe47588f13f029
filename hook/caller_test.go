package hook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hook"
	"myelin/hub"
	"myelin/internal/memnet"
	"myelin/protocol"
)

// What is asked has the names of the public proxy protocol, is signed, and
// carries the headers that were chosen.
func TestRequests(t *testing.T) {
	b := newBackend(t)
	r := newRig(t, hook.Options{Calls: calls(b, nil), Secret: "s3cret", Headers: []string{"cookie", "x-forwarded-for"}})
	s := r.connect(t)
	common := map[string]any{"client": s.ID(), "transport": "websocket", "protocol": "json", "encoding": "json", "user": "ann", "meta": map[string]any{"plan": "gold"}}
	with := func(more map[string]any) map[string]any {
		out := make(map[string]any)
		for _, m := range []map[string]any{common, more} {
			for k, v := range m {
				if out[k] = v; v == nil {
					delete(out, k)
				}
			}
		}
		return out
	}
	ctx := t.Context()
	for name, c := range map[string]struct {
		do   func() error
		want map[string]any
	}{
		hook.Subscribe: {func() error {
			_, err := s.Subscribe(ctx, hub.SubscribeRequest{Channel: "ask:x", Data: []byte(`{"k":1}`)})
			return err
		}, with(map[string]any{"channel": "ask:x", "data": map[string]any{"k": 1.0}})},
		hook.Publish: {func() error {
			_, err := s.Publish(ctx, &channel.PublishRequest{Channel: "ask:x", Data: []byte{0xff}})
			return err
		}, with(map[string]any{"channel": "ask:x", "encoding": "binary", "b64data": "/w=="})},
		hook.RPC: {func() error {
			_, err := r.caller.AskRPC(ctx, s, "sum", []byte(`[1,2]`))
			return err
		}, with(map[string]any{"method": "sum", "data": []any{1.0, 2.0}})},
		hook.Refresh: {func() error { _, err := r.caller.AskRefresh(ctx, s); return err }, with(nil)},
		hook.SubRefresh: {func() error {
			_, err := r.caller.AskSubRefresh(ctx, s, "ask:x")
			return err
		}, with(map[string]any{"channel": "ask:x"})},
		hook.Connect: {func() error {
			_, err := r.caller.AskConnect(ctx, r.open(t), &protocol.ConnectRequest{
				Data: []byte(`"hi"`), Name: "js", Version: "5", Headers: map[string]string{"x-forwarded-for": "1.2.3.4", "Host": "evil", "cookie": "c=d"},
			})
			return err
		}, with(map[string]any{"client": nil, "user": nil, "meta": nil, "name": "js", "version": "5", "data": "hi"})},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a := b.last(t)
		got := a.json(t)
		if name == hook.Connect {
			delete(got, "client")
			if a.header.Get("X-Forwarded-For") != "1.2.3.4" {
				t.Errorf("the emulated header is missing: %v", a.header)
			}
		}
		if a.path != "/"+name || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s asked %s %v\nwant %v", name, a.path, got, c.want)
		}
		if a.header.Get("Cookie") != "a=b" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", name, a.header)
		}
		checkSignature(t, &a, "s3cret")
	}
}

// checkSignature checks one as a receiver that follows the documentation does.
func checkSignature(t *testing.T, a *asked, secret string) {
	t.Helper()
	at, sum, _ := strings.Cut(a.header.Get(hook.HeaderSignature), ",v1=")
	at = strings.TrimPrefix(at, "t=")
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, at+"."+string(a.body))
	if hex.EncodeToString(mac.Sum(nil)) != sum {
		t.Errorf("signature %q", a.header.Get(hook.HeaderSignature))
	}
}

// What the backend says is done.
func TestAnswers(t *testing.T) {
	b := newBackend(t)
	r := newRig(t, hook.Options{Calls: calls(b, nil)})
	s := r.connect(t)
	subscribe := func() (*hub.Subscription, error) {
		sn, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "ask:x"})
		if err == nil {
			sn.Live(nil)
		}
		return sn, err
	}
	b.says(`{"error":{"code":1000,"message":"not today","temporary":true}}`)
	if _, err := subscribe(); !isError(err, 1000, "not today", true) {
		t.Errorf("got %v", err)
	}
	b.says(`{"result":{"info":{"name":"Ann"},"data":{"welcome":1},"expire_at":32503680000}}`)
	sn, err := subscribe()
	if err != nil || string(sn.Data) != `{"welcome":1}` || sn.ExpiresAt != 32503680000 || !sn.Asked {
		t.Errorf("%+v, %v", sn, err)
	}
	b.says(`{"result":{"data":{"changed":true}}}`)
	if _, err := s.Publish(t.Context(), &channel.PublishRequest{Channel: "ask:x", Data: []byte(`1`)}); err != nil {
		t.Error(err)
	}
	got, err := r.History(t.Context(), hub.HistoryRequest{Channel: "ask:x", Limit: 9})
	if err != nil || len(got.Pubs) != 1 || string(got.Pubs[0].Data) != `{"changed":true}` {
		t.Errorf("%+v, %v", got, err)
	}
	b.says(`{"result":{"user":"bob","expire_at":32503680000,"channels":["ask:y"],"data":{"a":1},"caps":[{"channels":["q"],"allow":["sub"]}]}}`)
	a, err := r.caller.AskConnect(t.Context(), r.open(t), &protocol.ConnectRequest{})
	if err != nil || a.User != "bob" || a.ExpiresAt != 32503680000 || len(a.Channels) != 1 || string(a.Data) != `{"a":1}` || len(a.Caps) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	b.says(`{"result":{}}`)
	if a, err := r.caller.AskConnect(t.Context(), r.open(t), &protocol.ConnectRequest{}); err != nil || !a.Anonymous {
		t.Errorf("%+v, %v", a, err)
	}
	b.says(`{"disconnect":{"code":4501,"reason":"banned"}}`)
	if _, err := r.caller.AskConnect(t.Context(), r.open(t), &protocol.ConnectRequest{}); !errors.Is(err, hub.Disconnect{Code: 4501, Reason: "banned"}) {
		t.Errorf("got %v", err)
	}
	b.says(`{"result":{"expired":true}}`)
	if again, err := r.caller.AskRefresh(t.Context(), s); err != nil || !again.Expired {
		t.Errorf("%+v, %v", again, err)
	}
	b.says(`{"result":{"data":[3]}}`)
	if out, err := r.caller.AskRPC(t.Context(), s, "sum", nil); err != nil || string(out) != "[3]" {
		t.Errorf("%s, %v", out, err)
	}
}

func isError(err error, code channel.Code, message string, temporary bool) bool {
	e, ok := errors.AsType[*channel.Error](err)
	return ok && e.Code == code && e.Message == message && e.Temporary == temporary
}

// Whatever a backend does that is no answer, the rule decides, and the client
// is not told what it was.
func TestNoUsefulAnswer(t *testing.T) {
	elsewhere := newBackend(t)
	for name, answer := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "secret stack", http.StatusInternalServerError)
		},
		"404": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"result":{}}`)
		},
		"garbage":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"empty":      func(w http.ResponseWriter, _ *http.Request) {},
		"neither":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":true}`) },
		"wrong type": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"result":[1]}`) },
		"bad claim": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":{"info":{},"expire_at":"soon"}}`)
		},
		"bad code": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"error":{"code":7,"message":"x"}}`)
		},
		"bad goodbye": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"disconnect":{"code":1,"reason":"x"}}`)
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":{"data":"`+strings.Repeat("x", hook.MaxAnswer)+`"}}`)
		},
		"hanging": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, `{"res`)
		},
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"moved": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"drip": func(w http.ResponseWriter, r *http.Request) { drip(w, r.Context().Done()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			b.does(func(w http.ResponseWriter, r *http.Request, _ []byte) { answer(w, r) })
			deny := newRig(t, hook.Options{Calls: calls(b, func(c *hook.Call) { c.Timeout = 100 * time.Millisecond })})
			s := deny.connect(t)
			_, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "ask:x"})
			if !errors.Is(err, channel.ErrUnavailable) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "http") {
				t.Errorf("got %v", err)
			}
			if n := deny.metrics.Hook(hook.Subscribe).Failures.Value(); n != 1 {
				t.Errorf("%d failures are counted", n)
			}
			allow := newRig(t, hook.Options{Calls: calls(b, func(c *hook.Call) { c.Timeout, c.Allow = 100*time.Millisecond, true })})
			s = allow.connect(t)
			if _, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "ask:x"}); err != nil {
				t.Errorf("got %v", err)
			}
			again, err := allow.caller.AskRefresh(t.Context(), s)
			if left := again.ExpiresAt - time.Now().Unix(); name != "bad claim" && name != "wrong type" && (err != nil || left < 50 || left > 70) {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
	if n := len(elsewhere.requests()); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// A renewal until a time that is over is a mistake of the backend's.
func TestRenewalUntilThePast(t *testing.T) {
	b := newBackend(t)
	b.says(`{"result":{"expire_at":1}}`)
	for _, allow := range []bool{false, true} {
		r := newRig(t, hook.Options{Calls: calls(b, func(c *hook.Call) { c.Allow = allow })})
		again, err := r.caller.AskRefresh(t.Context(), r.connect(t))
		if (err == nil) != allow || allow && again.ExpiresAt <= time.Now().Unix() {
			t.Errorf("%v: %+v, %v", allow, again, err)
		}
	}
}

// drip answers a byte at a time.
func drip(w http.ResponseWriter, end <-chan struct{}) {
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(20 * time.Millisecond):
		case <-end:
			return
		}
	}
}

// inVirtualTime returns a caller whose one hook is served at a network of the
// bubble.
func inVirtualTime(t *testing.T, o hook.Options, answer http.HandlerFunc) *rig {
	t.Helper()
	ln := memnet.Listen(memnet.Options{})
	srv := &http.Server{Handler: answer}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	o.Calls = map[string]hook.Call{hook.RPC: {URL: "http://app/rpc?key=s3cret", Timeout: time.Minute}}
	o.Transport = &http.Transport{DialContext: ln.DialContext}
	return newRig(t, o)
}

// A connection that has been idle for so long that the backend may be closing it
// is not used again.
func TestIdleConnectionsAreNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inVirtualTime(t, hook.Options{}, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":{}}`)
		})
		s := r.connect(t)
		for _, c := range []struct {
			after time.Duration
			again bool
		}{{0, false}, {time.Second, true}, {3 * time.Second, false}, {time.Second, true}} {
			<-time.After(c.after)
			var got httptrace.GotConnInfo
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { got = i }})
			if _, err := r.caller.AskRPC(ctx, s, "x", nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the connection is idle again
			if got.Reused != c.again {
				t.Errorf("after %v: the connection was used before: %v, want %v", c.after, got.Reused, c.again)
			}
		}
	})
}

// A slow backend holds up no more than may wait, and the rest is decided at
// once.
func TestASlowBackendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const concurrency = 4
		var under atomic.Int64
		release := make(chan struct{})
		r := inVirtualTime(t, hook.Options{Concurrency: concurrency}, func(w http.ResponseWriter, _ *http.Request) {
			under.Add(1)
			<-release
			_, _ = io.WriteString(w, `{"result":{}}`)
		})
		s := r.connect(t)
		var all sync.WaitGroup
		var refused atomic.Int64
		for range hook.MaxCalls + 100 {
			all.Go(func() {
				if _, err := r.caller.AskRPC(t.Context(), s, "x", nil); err != nil {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if refused.Load() != 100 || under.Load() != concurrency {
			t.Errorf("%d were refused, %d are under way", refused.Load(), under.Load())
		}
		if n := r.metrics.Limit("hook_calls").Value(); n != 100 {
			t.Errorf("%d are counted", n)
		}
		close(release)
		all.Wait()
		if refused.Load() != 100 || under.Load() != hook.MaxCalls {
			t.Errorf("%d were refused, %d asked", refused.Load(), under.Load())
		}
	})
}

// After some failures in a row the backend is left alone; then one request
// tries, and all may again once it does well.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, good atomic.Int64
		r := inVirtualTime(t, hook.Options{Failures: 3, Cooldown: 10 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			time.Sleep(time.Second)
			if good.Load() == 0 {
				http.Error(w, "no", http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, `{"result":{}}`)
		})
		s := r.connect(t)
		ask := func(n int) (ok int) {
			var all sync.WaitGroup
			var fine atomic.Int64
			for range n {
				all.Go(func() {
					if _, err := r.caller.AskRPC(t.Context(), s, "x", nil); err == nil {
						fine.Add(1)
					}
				})
			}
			all.Wait()
			return int(fine.Load())
		}
		expect := func(when string, ok, want int, requests int64, open int64) {
			t.Helper()
			m := r.metrics.Hook(hook.RPC)
			if ok != want || asked.Swap(0) != requests || m.Open.Value() != open {
				t.Errorf("%s: %d were answered, open: %d", when, ok, m.Open.Value())
			}
		}
		expect("at first", ask(2), 0, 2, 0)
		good.Store(1)
		expect("well again", ask(1), 1, 1, 0)
		good.Store(0)
		expect("the last straw", ask(3), 0, 3, 1)
		expect("open", ask(50), 0, 0, 1)
		time.Sleep(10 * time.Second)
		expect("half open, failing", ask(50), 0, 1, 1)
		time.Sleep(5 * time.Second)
		expect("open again", ask(50), 0, 0, 1)
		time.Sleep(5 * time.Second)
		good.Store(1)
		expect("half open, doing well", ask(50), 1, 1, 0)
		expect("closed", ask(50), 50, 50, 0)
		if n := r.metrics.Hook(hook.RPC).Refused.Value(); n != 50+49+50+49 {
			t.Errorf("%d were refused", n)
		}
	})
}

// A request that is given up says nothing of the backend: the next one tries.
func TestGivenUpWhileHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Bool
		r := inVirtualTime(t, hook.Options{Failures: 1, Cooldown: 10 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			if good.Load() {
				_, _ = io.WriteString(w, `{"result":{}}`)
			}
		})
		s := r.connect(t)
		ask := func(ctx context.Context) error {
			_, err := r.caller.AskRPC(ctx, s, "x", nil)
			return err
		}
		if ask(t.Context()) == nil {
			t.Error("no answer is an answer")
		}
		time.Sleep(11 * time.Second)
		good.Store(true)
		brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if ask(brief) == nil {
			t.Error("who gave up has an answer")
		}
		if err := ask(t.Context()); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

// What is in the URL of a backend may be a secret, and is not logged.
func TestURLsStayOutOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := inVirtualTime(t, hook.Options{Failures: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		})
		s := r.connect(t)
		for range 2 {
			_, err := r.caller.AskRPC(t.Context(), s, "x", nil)
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v", err)
			}
		}
		if text := log.String(); strings.Count(text, "level=") != 2 || strings.Contains(text, "s3cret") {
			t.Errorf("logged:\n%s", text)
		}
	})
}

// A way that asks nobody is refused where a hook decides.
func TestNoWayAroundAHook(t *testing.T) {
	b := newBackend(t)
	r := newRig(t, hook.Options{Calls: calls(b, nil)})
	s := r.open(t)
	if _, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "ask:x"}); !errors.Is(err, channel.ErrUnauthorized) {
		t.Errorf("who has not connected: %v", err)
	}
	if _, err := s.Publish(t.Context(), &channel.PublishRequest{Channel: "ask:x", Data: []byte("1")}); !errors.Is(err, channel.ErrUnauthorized) {
		t.Errorf("who has not connected: %v", err)
	}
	s.Close(hub.DisconnectConnectionClosed)
	if _, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "ask:x"}); err == nil {
		t.Error("who has gone")
	}
	if n := len(b.requests()); n > 0 {
		t.Errorf("%d requests for nobody", n)
	}
}

func ExampleSignature() {
	fmt.Println(hook.Signature("secret", time.Unix(1700000000, 0), []byte(`{"events":[]}`)))
	// Output: t=1700000000,v1=3947de27ec923573170fccda604ddfb25583ff98dc51e96cca2e11c59545026a
}
