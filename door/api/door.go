package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"myelin/channel"
	"myelin/consumer"
	"myelin/hub"
	"myelin/observe"
)

// Prefix is where the methods are.
const Prefix = "/api/"

// Options is what a Door is made of. Hub and Consumers are required.
type Options struct {
	Hub *hub.Hub
	// Key is what callers send. Without it the API is off.
	Key string
	// Insecure answers callers without a key. It is for servers that only this
	// machine reaches, and that refuse web pages of other origins before they
	// come here: a page can make its visitor's browser call.
	Insecure bool
	// Consumers are what is delivered until it is acknowledged.
	Consumers *consumer.Manager
	// Version is that of the binary, for info.
	Version string
	Metrics *observe.Metrics
	Logger  *slog.Logger
}

// Door answers requests of the HTTP API.
type Door struct {
	opts    Options
	metrics *observe.Door
	methods map[string]method
	slots   chan struct{}
}

// New returns a door.
func New(o Options) *Door {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{
		opts: o, metrics: o.Metrics.Door("api"), methods: newMethods(),
		slots: make(chan struct{}, MaxInFlight),
	}
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	// Where the body is not read as a whole the deadline stays: the server
	// reads what is left before it sends the answer.
	_ = http.NewResponseController(w).SetReadDeadline(began.Add(bodyTimeout))
	name := strings.TrimPrefix(r.URL.Path, Prefix)
	counted := d.opts.Metrics.API(name)
	counted.Requests.Inc()
	a := d.answer(w, r, name)
	if a.failed {
		counted.Errors.Inc()
	}
	if a.status != http.StatusOK {
		d.metrics.Refused.Inc()
	}
	counted.Observe(time.Since(began).Seconds())
	d.write(w, a)
}

// answer is what a request comes to.
type answer struct {
	status int
	body   any
	failed bool
}

// refusal returns the answer to a request that was not done.
func refusal(status int, err error) answer {
	return answer{status: status, body: &envelope{Error: failureOf(err)}, failed: true}
}

// answer admits, reads and does one request.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, name string) answer {
	m, status, err := d.admit(w, r, name)
	if err != nil {
		return refusal(status, err)
	}
	leave, err := d.enter(r.Context())
	if err != nil {
		return refusal(http.StatusServiceUnavailable, err)
	}
	defer leave()
	var body []byte
	if isRead(name, r) {
		body, err = fromQuery(&m, r)
		status = http.StatusBadRequest
	} else {
		body, status, err = d.read(w, r)
	}
	if err != nil {
		return refusal(status, err)
	}
	do, err := m.prepare("", body)
	if err != nil {
		return refusal(unreadable(err), err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), workTimeout)
	defer cancel()
	c := &call{door: d}
	c.left.Store(int64(MaxAnswerBytes + d.opts.Hub.Limits().MessageBytes))
	result, err := c.do(ctx, name, do)
	switch {
	case err != nil && r.Header.Get(errorMode) == errorModeTransport:
		return answer{status: statusOf(err), body: failureOf(err), failed: true}
	case err != nil:
		return refusal(http.StatusOK, err)
	case m.bare:
		return answer{status: http.StatusOK, body: result}
	}
	return answer{status: http.StatusOK, body: &envelope{Result: result}}
}

// enter waits for one of MaxInFlight places and returns what gives it back.
func (d *Door) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-d.slots }
	select {
	case d.slots <- struct{}{}:
		return leave, nil
	default:
	}
	patience := time.NewTimer(slotTimeout)
	defer patience.Stop()
	select {
	case d.slots <- struct{}{}:
		return leave, nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil, channel.ErrTooManyRequests.With(strconv.Itoa(MaxInFlight) + " requests are being handled, try again")
}

// write sends an answer. A caller that does not take it is left.
func (d *Door) write(w http.ResponseWriter, a answer) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a.body); err != nil {
		d.opts.Logger.Error("an answer of the API could not be encoded", observe.KeyErr, err)
		buf.Reset()
		a = refusal(http.StatusInternalServerError, channel.ErrInternal)
		_ = enc.Encode(a.body) // a number and a text
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// A recorder has neither deadlines nor a flush; a connection has both.
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout))
	w.WriteHeader(a.status)
	n, _ := w.Write(buf.Bytes())
	d.metrics.BytesOut.Add(int64(n))
	_ = rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{})
}

// failed logs what a caller only hears of as an internal error.
func (d *Door) failed(method string, err error) {
	d.opts.Logger.Error("a request of the API failed", observe.KeyMethod, method, observe.KeyErr, err)
}
