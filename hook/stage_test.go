package hook_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/memory"
	"myelin/hook"
	"myelin/hub"
	"myelin/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is an application that answers as a test says.
type backend struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		answer func(w http.ResponseWriter, r *http.Request, body []byte)
		asked  []asked
	}
}

// asked is one request that it got.
type asked struct {
	path   string
	header http.Header
	body   []byte
}

func (a *asked) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("the request is not JSON: %v: %s", err, a.body)
	}
	return out
}

func newBackend(t *testing.T) *backend {
	b := new(backend)
	b.says(`{"result":{}}`)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.mu.asked = append(b.mu.asked, asked{r.URL.Path, r.Header.Clone(), body})
		answer := b.mu.answer
		b.mu.Unlock()
		answer(w, r, body)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) does(answer func(w http.ResponseWriter, r *http.Request, body []byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.answer = answer
}

func (b *backend) says(text string) {
	b.does(func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, text) })
}

func (b *backend) requests() []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]asked(nil), b.mu.asked...)
}

func (b *backend) last(t *testing.T) asked {
	t.Helper()
	all := b.requests()
	if len(all) == 0 {
		t.Fatal("nobody was asked")
	}
	return all[len(all)-1]
}

// rig is a hub whose namespace "ask" asks.
type rig struct {
	*hub.Hub
	caller  *hook.Caller
	metrics *observe.Metrics
}

func newRig(t *testing.T, o hook.Options) *rig {
	t.Helper()
	r := &rig{metrics: observe.New()}
	o.Metrics = r.metrics
	r.caller = hook.NewCaller(o)
	e := memory.New(memory.Options{})
	r.Hub = hub.New(hub.Options{
		Node: "n", Engine: e, Hooks: r.caller, Metrics: r.metrics, PingInterval: -1,
		Namespaces: map[string]*hub.Namespace{
			"ask": {Policy: &channel.Policy{Namespace: "ask", HistorySize: 10}, AskSubscribe: true, AskPublish: true},
		},
	})
	if err := e.Start(t.Context(), r.Hub); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Hub.Close()
		_ = e.Close(context.Background())
		r.caller.Close()
	})
	return r
}

// calls returns all hooks at one backend.
func calls(b *backend, change func(c *hook.Call)) map[string]hook.Call {
	out := make(map[string]hook.Call)
	for _, name := range []string{hook.Connect, hook.Refresh, hook.Subscribe, hook.SubRefresh, hook.Publish, hook.RPC} {
		c := hook.Call{URL: b.URL + "/" + name}
		if change != nil {
			change(&c)
		}
		out[name] = c
	}
	return out
}

// silence is a connection that takes everything.
type silence struct{}

func (silence) WriteNow(p []byte) (int, error) { return len(p), nil }
func (silence) NotifyWritable(ready func())    { go ready() }
func (silence) Close()                         {}

// nothing is a form without words.
type nothing struct{}

func (nothing) AppendEvent(dst []byte, _ *hub.Event) []byte { return dst }

func (r *rig) open(t *testing.T) *hub.Session {
	t.Helper()
	s, err := r.Open(hub.SessionOptions{Conn: silence{}, Form: nothing{}, About: &hub.About{
		Transport: "websocket", Protocol: "json", Headers: map[string][]string{"Cookie": {"a=b"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) connect(t *testing.T) *hub.Session {
	t.Helper()
	s := r.open(t)
	if err := s.Connect(&auth.Identity{User: "ann", Meta: []byte(`{"plan":"gold"}`)}); err != nil {
		t.Fatal(err)
	}
	return s
}
