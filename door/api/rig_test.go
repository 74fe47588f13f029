package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"myelin/auth"
	"myelin/channel"
	"myelin/consumer"
	"myelin/door/api"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/internal/rate"
	"myelin/observe"
)

const key = "a key of the application"

// rig is a door on a hub of its own.
type rig struct {
	hub *hub.Hub
	// consumers are those of the door.
	consumers *consumer.Manager
	door      *api.Door
	metrics   *observe.Metrics
}

// namespaces of the rig: default keeps history and presence, plain keeps
// nothing.
func namespaces() map[string]*hub.Namespace {
	return map[string]*hub.Namespace{
		"default": {
			Policy:   &channel.Policy{Namespace: "default", HistorySize: 5},
			Presence: true, JoinLeave: true, Recover: true,
		},
		"plain": {Policy: &channel.Policy{Namespace: "plain"}},
		"paced": {Policy: &channel.Policy{Namespace: "paced"}, Rates: hub.Rates{Channel: rate.PerSecond(1)}},
		"state": {Policy: &channel.Policy{Namespace: "state", Kind: channel.KindState, HistorySize: 5}, Recover: true},
		hub.RevokedNamespace: {
			Policy: &channel.Policy{Namespace: hub.RevokedNamespace, Kind: channel.KindState, HistorySize: 10}, Recover: true, System: true,
		},
	}
}

func newRig(tb testing.TB, limits hub.Limits) *rig { return newRigOn(tb, limits, nil) }

// newRigOn returns a rig on a bus, which its owner starts; nil is none.
func newRigOn(tb testing.TB, limits hub.Limits, bus channel.Bus) *rig {
	tb.Helper()
	metrics := observe.New()
	engine := memory.New(memory.Options{})
	bans, err := auth.NewBans(nil)
	if err != nil {
		tb.Fatal(err)
	}
	consumers := consumer.New(consumer.Options{
		Policy:  &channel.Policy{Namespace: consumer.StateNamespace, Kind: channel.KindState, HistorySize: 1},
		Metrics: metrics,
	})
	spaces := namespaces()
	spaces[consumer.Namespace] = &hub.Namespace{Policy: &channel.Policy{Namespace: consumer.Namespace}, Gate: consumers}
	h := hub.New(hub.Options{
		Bans: bans,
		Node: "node-1", Engine: engine, Namespaces: spaces, Limits: limits, Metrics: metrics, Shards: 2, Bus: bus,
	})
	if err := engine.Start(context.Background(), h); err != nil {
		tb.Fatal(err)
	}
	if err := h.LearnBans(context.Background()); err != nil {
		tb.Fatal(err)
	}
	consumers.Attach(h)
	consumers.Start()
	tb.Cleanup(func() {
		consumers.Close()
		h.Close()
		if err := engine.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return &rig{
		hub: h, metrics: metrics, consumers: consumers,
		door: api.New(api.Options{Hub: h, Consumers: consumers, Key: key, Version: "1.2.3", Metrics: metrics}),
	}
}

// bubble runs a test on a rig in virtual time.
func bubble(t *testing.T, fn func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newRig(t, hub.Limits{})) })
}

// request is a POST with the key.
func request(method, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, api.Prefix+method, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// send returns the status and the body of the answer.
func (r *rig) send(req *http.Request) (int, string) {
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// call returns the result of a call that has to succeed.
func (r *rig) call(t *testing.T, method, body string) string {
	t.Helper()
	status, out := r.send(request(method, body))
	var a struct {
		Result json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || status != http.StatusOK || a.Result == nil {
		t.Fatalf("%s %s: status %d, %s", method, body, status, out)
	}
	return string(a.Result)
}

// fails makes a call that has to fail with a status, a code and words.
func (r *rig) fails(t *testing.T, status int, code channel.Code, words, method, body string) {
	t.Helper()
	got, out := r.send(request(method, body))
	wantFailure(t, got, out, status, code, words)
}

func wantFailure(t *testing.T, gotStatus int, out string, status int, code channel.Code, words string) {
	t.Helper()
	var a struct {
		Result json.RawMessage
		Error  *struct {
			Code    channel.Code
			Message string
		}
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if a.Result != nil || a.Error == nil {
		t.Fatalf("want error %d, got %s", code, out)
	}
	if gotStatus != status || a.Error.Code != code || !strings.Contains(a.Error.Message, words) {
		t.Errorf("want status %d, code %d and %q, got %d, %s", status, code, words, gotStatus, out)
	}
}

// publish publishes n numbers to a channel.
func (r *rig) publish(t *testing.T, name string, n int) {
	t.Helper()
	for i := range n {
		r.call(t, "publish", fmt.Sprintf(`{"channel":%q,"data":%d}`, name, i+1))
	}
}

// client is a session that writes down what it is told.
type client struct {
	*hub.Session
	mu struct {
		sync.Mutex
		told bytes.Buffer
	}
}

// connect opens a session of a user.
func (r *rig) connect(t *testing.T, user string) *client {
	t.Helper()
	c := new(client)
	s, err := r.hub.Open(hub.SessionOptions{Conn: c, Form: lines{}})
	if err != nil {
		t.Fatal(err)
	}
	c.Session = s
	if err := s.Connect(&auth.Identity{User: user, Info: []byte(`{"name":"` + user + `"}`)}); err != nil {
		t.Fatal(err)
	}
	return c
}

// heard returns what the client was told since it was last asked.
func (c *client) heard() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := strings.Split(c.mu.told.String(), "\n")
	c.mu.told.Reset()
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

func (c *client) wantHeard(t *testing.T, want ...string) {
	t.Helper()
	if got := c.heard(); !slices.Equal(got, want) {
		t.Errorf("the client heard\n%q, want\n%q", got, want)
	}
}

func (c *client) WriteNow(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.told.Write(p)
}

func (c *client) NotifyWritable(func()) {}

// Close is the transport's; Session.Close is what ends the session.
func (c *client) Close() {}

// lines is a wire format for people.
type lines struct{}

func (lines) AppendEvent(dst []byte, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventPublication:
		return fmt.Appendf(dst, "pub %s %d %s\n", e.Channel, e.Pub.Offset, e.Pub.Data)
	case hub.EventSubscribed:
		return fmt.Appendf(dst, "sub %s at %d recoverable %t data %s\n", e.Channel, e.Position.Offset, e.Recoverable, e.Data)
	case hub.EventUnsubscribed:
		return fmt.Appendf(dst, "unsub %s %d\n", e.Channel, e.Code)
	case hub.EventRefreshed:
		return fmt.Appendf(dst, "refresh %d\n", e.ExpiresAt)
	case hub.EventDisconnected:
		return fmt.Appendf(dst, "bye %d %s\n", e.Code, e.Reason)
	case hub.EventJoin:
		return fmt.Appendf(dst, "join %s %s\n", e.Channel, e.Info.User)
	case hub.EventLeave:
		return fmt.Appendf(dst, "leave %s %s\n", e.Channel, e.Info.User)
	default:
		return dst
	}
}
