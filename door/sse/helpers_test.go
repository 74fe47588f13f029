package sse_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"myelin/conversation/conversationtest"
	"myelin/door/emulation"
	"myelin/door/sse"
)

// stage is a world behind the doors of this package and the way back.
type stage struct {
	*conversationtest.World
	*conversationtest.Web
}

// each runs a test over every version of HTTP, in virtual time.
func each(t *testing.T, o conversationtest.Options, test func(t *testing.T, s *stage)) {
	t.Helper()
	for _, p := range conversationtest.Protos() {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newStage(t, o, p, 0)) })
		})
	}
}

func newStage(t *testing.T, o conversationtest.Options, p conversationtest.Proto, buffer int) *stage {
	t.Helper()
	w := conversationtest.New(t, o)
	mux := http.NewServeMux()
	mux.Handle("/sse", sse.New(sse.Options{Host: w.Host, Metrics: w.Metrics}))
	mux.Handle("/uni", sse.New(sse.Options{Host: w.Host, Metrics: w.Metrics, OneWay: true}))
	mux.Handle("/emulation", emulation.New(emulation.Options{Host: w.Host, Node: conversationtest.Node, Metrics: w.Metrics}))
	return &stage{w, conversationtest.Serve(t, mux, p, buffer)}
}

// event is what EventSource hands to a page.
type event struct {
	data, id string
}

// source is an EventSource: it reads a stream as the specification has it,
// every kind of line end included.
type source struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Scanner
	lastID   string
	retry    string
}

// get opens a stream; lastID may be empty.
func (s *stage) get(t *testing.T, path, lastID string) *source {
	t.Helper()
	return s.open(t, http.MethodGet, path, "", lastID)
}

func (s *stage) open(t *testing.T, method, path, body, lastID string) *source {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := s.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	e := &source{t: t, response: response, lines: bufio.NewScanner(response.Body), lastID: lastID}
	e.lines.Buffer(nil, 1<<20)
	e.lines.Split(splitLine)
	return e
}

// splitLine ends lines at \n, \r and \r\n.
func splitLine(data []byte, atEOF bool) (int, []byte, error) {
	for i, c := range data {
		switch {
		case c == '\n':
			return i + 1, data[:i], nil
		case c == '\r' && i+1 < len(data):
			if data[i+1] == '\n' {
				return i + 2, data[:i], nil
			}
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// next waits for an event. At the end of the stream it says no.
func (e *source) next() (event, bool) {
	e.t.Helper()
	var data []string
	id := e.lastID
	for e.lines.Scan() {
		line := e.lines.Text()
		if line == "" {
			e.lastID = id
			if data == nil {
				continue
			}
			return event{strings.Join(data, "\n"), id}, true
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "id":
			id = value
		case "retry":
			e.retry = value
		default:
			e.t.Errorf("a line that is no field: %q", line)
		}
	}
	return event{}, false
}

// reply is what a test looks at in a reply or push.
type reply struct {
	ID      uint32 `json:"id"`
	Error   *problem
	Connect *connect
	Push    *reply
	Channel string
	Pub     *struct {
		Data   json.RawMessage
		Offset uint64
	}
	Subscribe  *sub
	Publish    *struct{}
	Disconnect *problem
}

type problem struct {
	Code    uint32
	Message string
	Reason  string
}

type connect struct {
	Client, Session, Node string
	Subs                  map[string]*sub
	Ping                  int
	Pong                  bool
}

type sub struct {
	Epoch          string
	Offset         uint64
	Recovered      bool
	WasRecovering  bool `json:"was_recovering"`
	Recoverable    bool
	Publications   []struct{ Offset uint64 }
	RecoverableNow bool `json:"-"`
}

// message waits for an event and reads it.
func (e *source) message() *reply {
	e.t.Helper()
	ev, ok := e.next()
	if !ok {
		e.t.Fatal("the stream has ended")
	}
	var r reply
	if err := json.Unmarshal([]byte(ev.data), &r); err != nil {
		e.t.Fatalf("%q: %v", ev.data, err)
	}
	return &r
}

// ended wants the end of the stream.
func (e *source) ended() {
	e.t.Helper()
	if ev, ok := e.next(); ok {
		e.t.Errorf("the stream goes on with %q", ev.data)
	}
}

// emulate posts commands.
func (s *stage) emulate(t *testing.T, c *connect, commands string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"node": c.Node, "session": c.Session, "data": commands})
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client.Post(s.URL+"/emulation", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("emulation: %s", response.Status)
	}
}

// refused reads an error response.
func (e *source) refused(status int) *problem {
	e.t.Helper()
	b, err := io.ReadAll(e.response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	var body struct{ Error problem }
	if err := json.Unmarshal(b, &body); err != nil || e.response.Header.Get("Content-Type") != "application/json" {
		e.t.Errorf("the body is %q (%s): %v", b, e.response.Header.Get("Content-Type"), err)
	}
	if e.response.StatusCode != status {
		e.t.Errorf("status %d (%s), want %d", e.response.StatusCode, b, status)
	}
	return &body.Error
}

func query(key, value string) string { return key + "=" + url.QueryEscape(value) }
