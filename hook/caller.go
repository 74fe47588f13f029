package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

const (
	// MaxAnswer is how many bytes an answer may have.
	MaxAnswer = 1 << 20
	// MaxCalls is how many clients may wait for all hooks together: fewer than
	// the doors have workers.
	MaxCalls = 2048
	// prolong is how long something goes on that could not be renewed.
	prolong = time.Minute
	// idleFor is how long a connection may be idle to be used again. Servers close
	// those that are idle for longer, many after 5 s, and a request that meets the
	// end of its connection has failed: nobody knows whether it was read.
	idleFor = 2 * time.Second
	// maxReason is how long the reason of a disconnect may be, see RFC 6455
	// section 5.5.
	maxReason = 123
)

// The hooks.
const (
	Connect    = "connect"
	Refresh    = "refresh"
	Subscribe  = "subscribe"
	SubRefresh = "sub_refresh"
	Publish    = "publish"
	RPC        = "rpc"
)

// Call is where and how one hook asks.
type Call struct {
	URL     string
	Timeout time.Duration
	// Allow: where there is no useful answer the client may.
	Allow bool
}

// Options is what a Caller is made of.
type Options struct {
	// Calls by the name of the hook. One without a URL is not asked.
	Calls map[string]Call
	// Secret signs the requests; empty for none.
	Secret string
	// Headers are those of the client's request that are handed on.
	Headers []string
	// Concurrency is how many requests of each hook may be under way, 256.
	Concurrency int
	// Failures is after how many failures in a row a breaker opens, 10, and
	// Cooldown for how long, 5 s.
	Failures int
	Cooldown time.Duration
	// Transport is http.DefaultTransport's settings where it is nil.
	Transport *http.Transport
	Metrics   *observe.Metrics
	Logger    *slog.Logger
}

// Caller asks the user's backend.
type Caller struct {
	o       Options
	client  *http.Client
	hooks   map[string]*hook
	calls   atomic.Int64
	limit   *observe.Counter
	headers []string
}

// hook is one of them.
type hook struct {
	Call
	name    string
	slots   chan struct{}
	breaker breaker
	metrics *observe.Hook
	// said is when the log last heard of a failure.
	said struct {
		sync.Mutex
		at time.Time
	}
}

// NewCaller returns a Caller.
func NewCaller(o Options) *Caller {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Concurrency, 256)
	def(&o.Failures, 10)
	if o.Cooldown <= 0 {
		o.Cooldown = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Caller{
		o: o, hooks: make(map[string]*hook), limit: o.Metrics.Limit(observe.LimitHookCalls),
		client: newClient(o.Transport, o.Concurrency),
	}
	for _, name := range o.Headers {
		c.headers = append(c.headers, textproto.CanonicalMIMEHeaderKey(name))
	}
	for name, call := range o.Calls {
		if call.URL == "" {
			continue
		}
		if call.Timeout <= 0 {
			call.Timeout = 3 * time.Second
		}
		h := &hook{Call: call, name: name, slots: make(chan struct{}, o.Concurrency), metrics: o.Metrics.Hook(name)}
		h.breaker = breaker{most: o.Failures, cooldown: o.Cooldown, open: h.metrics.Open}
		c.hooks[name] = h
	}
	return c
}

// newClient returns a client that follows no redirect: a backend that was moved
// is a mistake to be told of, and a body must not go where nobody meant it to.
func newClient(t *http.Transport, conns int) *http.Client {
	if t == nil {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second}
	}
	t.MaxIdleConnsPerHost, t.IdleConnTimeout, t.MaxResponseHeaderBytes = conns, idleFor, 64<<10
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close lets go of the connections.
func (c *Caller) Close() { c.client.CloseIdleConnections() }

// Asks is conversation.Hooks'.
func (c *Caller) Asks(name string) bool { return c.hooks[name] != nil }

// Headers is conversation.Hooks'.
func (c *Caller) Headers(h http.Header) map[string][]string {
	var out map[string][]string
	for _, name := range c.headers {
		if v := h[name]; len(v) > 0 {
			if out == nil {
				out = make(map[string][]string)
			}
			out[name] = v
		}
	}
	return out
}

// errNoUse says that the backend gave no useful answer: the hook's rule decides.
var errNoUse = errors.New("no useful answer")

// answer is what a backend says.
type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code      uint32 `json:"code"`
		Message   string `json:"message"`
		Temporary bool   `json:"temporary"`
	} `json:"error"`
	Disconnect *struct {
		Code   uint32 `json:"code"`
		Reason string `json:"reason"`
	} `json:"disconnect"`
}

// ask asks a hook and returns the result. An answer that refuses is an error for
// the client, none at all errNoUse. read takes the result apart: what it cannot
// read is no answer.
func (c *Caller) ask(ctx context.Context, name string, headers map[string][]string, request any, read func(json.RawMessage) error) error {
	h := c.hooks[name]
	if h == nil {
		return fmt.Errorf("%w: there is no hook %q", errNoUse, name)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return channel.ErrBadRequest.With("what the client sent cannot be handed on: " + err.Error())
	}
	if c.calls.Add(1) > MaxCalls {
		c.calls.Add(-1)
		c.limit.Inc()
		return fmt.Errorf("%w: too many wait", errNoUse)
	}
	defer c.calls.Add(-1)
	if !h.breaker.allow() {
		h.metrics.Refused.Inc()
		return fmt.Errorf("%w: the breaker is open", errNoUse)
	}
	within, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	began := time.Now()
	said, err := c.request(within, h, headers, body, read)
	if ctx.Err() != nil {
		h.breaker.cancelled()
		return channel.ErrUnavailable.With("the server is shutting down")
	}
	h.metrics.Observe(time.Since(began).Seconds())
	if err != nil {
		h.metrics.Failures.Inc()
		c.complain(h, err, h.breaker.done(false))
		return fmt.Errorf("%w: %w", errNoUse, err)
	}
	h.breaker.done(true)
	return said
}

// request sends one request. err is what is wrong with the answer, said what
// the backend says to the client.
func (c *Caller) request(ctx context.Context, h *hook, headers map[string][]string, body []byte, read func(json.RawMessage) error) (said, err error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		c.limit.Inc()
		return nil, errors.New("too many requests are under way")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, headers)
	r.Header.Set("Content-Type", "application/json")
	if c.o.Secret != "" {
		r.Header.Set(HeaderSignature, Signature(c.o.Secret, time.Now(), body))
	}
	b, err := exchange(c.client, r)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON it should be: %w", err)
	}
	switch {
	case a.Disconnect != nil:
		return a.disconnect()
	case a.Error != nil:
		return a.refusal()
	case len(a.Result) == 0 || string(a.Result) == "null":
		return nil, errors.New(`the answer has neither "result" nor "error" nor "disconnect"`)
	}
	return nil, read(a.Result)
}

// send sends a request. Its error is without the URL, which may hold a secret.
func send(client *http.Client, r *http.Request) (*http.Response, error) {
	res, err := client.Do(r)
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return res, err
}

// exchange sends a request and returns the body of a good answer.
func exchange(client *http.Client, r *http.Request) ([]byte, error) {
	res, err := send(client, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d, want 200", res.StatusCode)
	case len(b) > MaxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", MaxAnswer)
	}
	return b, nil
}

// disconnect reads a disconnect. Codes are those that tell a client what to do.
func (a *answer) disconnect() (said, err error) {
	d := hub.Disconnect{Code: a.Disconnect.Code, Reason: a.Disconnect.Reason}
	switch {
	case d.Code < 3000 || d.Code > 4999:
		return nil, fmt.Errorf("disconnect code %d, want 4000 to 4999", d.Code)
	case len(d.Reason) > maxReason:
		return nil, fmt.Errorf("the disconnect reason has %d bytes, at most %d can be sent", len(d.Reason), maxReason)
	}
	return d, nil
}

// refusal reads an error.
func (a *answer) refusal() (said, err error) {
	if a.Error.Code < 100 || a.Error.Code > 1999 {
		return nil, fmt.Errorf("error code %d, want 400 to 1999", a.Error.Code)
	}
	return &channel.Error{Code: channel.Code(a.Error.Code), Message: a.Error.Message, Temporary: a.Error.Temporary}, nil
}

// complain has the log hear of a failure, at most once a second for each hook.
func (c *Caller) complain(h *hook, err error, opened bool) {
	if opened {
		c.o.Logger.Error("a hook's backend fails; it is not asked for a while, and what cannot be asked is decided by on_failure",
			observe.KeyMethod, h.name, observe.KeyDuration, c.o.Cooldown, observe.KeyErr, err)
		return
	}
	h.said.Lock()
	quiet := time.Since(h.said.at) < time.Second
	if !quiet {
		h.said.at = time.Now()
	}
	h.said.Unlock()
	if !quiet {
		c.o.Logger.Warn("a hook got no useful answer", observe.KeyMethod, h.name, observe.KeyErr, err)
	}
}

// settle returns what becomes of a hook's error: what the backend said stays,
// and where it said nothing the hook's rule decides.
func (c *Caller) settle(name string, err error) (allowed bool, _ error) {
	if !errors.Is(err, errNoUse) {
		return false, err
	}
	if h := c.hooks[name]; h != nil && h.Allow {
		h.metrics.Allowed.Inc()
		return true, nil
	}
	return false, &channel.Error{
		Code: channel.CodeUnavailable, Temporary: true, Message: "the application behind this server does not answer: try again",
	}
}
