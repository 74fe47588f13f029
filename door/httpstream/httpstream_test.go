package httpstream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/door/emulation"
	"myelin/door/httpstream"
	"myelin/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a world behind the doors of this package and the way back.
type stage struct {
	*conversationtest.World
	*conversationtest.Web
	format protocol.Format
}

// each runs a test over every version of HTTP in both formats, in virtual time.
func each(t *testing.T, o conversationtest.Options, test func(t *testing.T, s *stage)) {
	t.Helper()
	for _, p := range conversationtest.Protos() {
		for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
			t.Run(string(p)+", "+f.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { test(t, newStage(t, o, p, f)) })
			})
		}
	}
}

func newStage(t *testing.T, o conversationtest.Options, p conversationtest.Proto, f protocol.Format) *stage {
	t.Helper()
	w := conversationtest.New(t, o)
	mux := http.NewServeMux()
	mux.Handle("/two", httpstream.New(httpstream.Options{Host: w.Host, Metrics: w.Metrics}))
	mux.Handle("/uni", httpstream.New(httpstream.Options{Host: w.Host, Metrics: w.Metrics, OneWay: true}))
	mux.Handle("/emulation", emulation.New(emulation.Options{Host: w.Host, Node: conversationtest.Node, Metrics: w.Metrics}))
	return &stage{w, conversationtest.Serve(t, mux, p, 0), f}
}

// stream is a response that is being read.
type stream struct {
	t        *testing.T
	format   protocol.Format
	response *http.Response
	in       *bufio.Reader
}

func (s *stage) open(t *testing.T, method, path string, body []byte) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType(s.format))
	response, err := s.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return &stream{t, s.format, response, bufio.NewReader(response.Body)}
}

func contentType(f protocol.Format) string {
	if f == protocol.Protobuf {
		return "application/octet-stream"
	}
	return "application/json"
}

// next waits for one message, whole. At the end it returns nil.
func (s *stream) next() []byte {
	s.t.Helper()
	if s.format == protocol.JSON {
		line, err := s.in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil || !json.Valid(line) {
			s.t.Fatalf("a line of the stream is %q: %v", line, err)
		}
		return line
	}
	size, err := binary.ReadUvarint(s.in)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	b := binary.AppendUvarint(nil, size)
	at := len(b)
	b = append(b, make([]byte, size)...)
	if _, err := io.ReadFull(s.in, b[at:]); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *stream) reply() *protocol.Reply {
	s.t.Helper()
	var out *protocol.Reply
	err := protocol.DecodeReplies(s.format, s.next(), func(r *protocol.Reply) error {
		out = r
		return nil
	})
	if err != nil || out == nil {
		s.t.Fatalf("want a reply: %v", err)
	}
	return out
}

func (s *stream) push() *protocol.Push {
	s.t.Helper()
	var out *protocol.Push
	err := protocol.DecodePushes(s.format, s.next(), func(p *protocol.Push) error {
		out = p
		return nil
	})
	if err != nil || out == nil {
		s.t.Fatalf("want a push: %v", err)
	}
	return out
}

func (s *stream) ended() {
	s.t.Helper()
	if b := s.next(); b != nil {
		s.t.Errorf("the stream goes on with %q", b)
	}
}

func (s *stage) frame(commands ...*protocol.Command) []byte {
	var b []byte
	for _, c := range commands {
		b = protocol.AppendDelimiter(protocol.AppendCommand(b, s.format, c), s.format)
	}
	return b
}

func connect() *protocol.Command {
	return &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}}
}

func (s *stage) request(t *testing.T, r *protocol.ConnectRequest) []byte {
	t.Helper()
	if s.format == protocol.JSON {
		return r.AppendJSON(nil)
	}
	b, err := r.MarshalCF()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *stage) emulate(t *testing.T, c *protocol.ConnectResult, frame []byte) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"node": c.Node, "session": c.Session, "data": string(frame)})
	if s.format == protocol.Protobuf {
		body, err = (&protocol.EmulationRequest{Node: c.Node, Session: c.Session, Data: frame}).MarshalCF()
	}
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client.Post(s.URL+"/emulation", contentType(s.format), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("emulation: %s", response.Status)
	}
}

func TestTwoWay(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		out := s.open(t, http.MethodPost, "/two", s.frame(connect()))
		if got := out.response.Header.Get("Content-Type"); got != contentType(s.format) || out.response.StatusCode != http.StatusOK {
			t.Fatalf("%s, %s", out.response.Status, got)
		}
		c := out.reply().Connect
		if c == nil || c.Session == "" || c.Node != conversationtest.Node {
			t.Fatalf("connect: %v", c)
		}
		s.emulate(t, c, s.frame(
			&protocol.Command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:a"}},
			&protocol.Command{Id: 3, Rpc: &protocol.RPCRequest{Method: "myelin.time"}}))
		if a, b := out.reply(), out.reply(); a.Id != 2 || a.Subscribe == nil || b.Id != 3 || b.Rpc == nil {
			t.Errorf("%v, %v", a, b)
		}
		for _, data := range []string{"{\n\"a\": \"\\n\u2028\"\r\n}\n", `"` + strings.Repeat("x", 60_000) + `"`} {
			if _, err := s.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
			want := data
			if s.format == protocol.JSON {
				want = strings.ReplaceAll(data, "\n", "")
			}
			if got := out.reply().GetPush().GetPub(); got == nil || string(got.Data) != want {
				t.Errorf("%.60q arrived as %.60q", data, got.GetData())
			}
		}
		s.emulate(t, c, s.frame(&protocol.Command{Id: 4}))
		if r := out.reply(); r.GetPush().GetDisconnect().GetCode() != 3501 {
			t.Errorf("at the end: %v", r)
		}
		out.ended()
	})
}

func TestOneWay(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		want := &protocol.ConnectRequest{Subs: map[string]*protocol.SubscribeRequest{"log:a": {Recoverable: true}}}
		out := s.open(t, http.MethodPost, "/uni?channel=log:b", s.request(t, want))
		c := out.push().Connect
		if c == nil || len(c.Subs) != 2 || c.Session != "" || c.Pong {
			t.Fatalf("connect: %v", c)
		}
		s.Publish(t, "log:b", 1)
		s.Publish(t, "log:a", 2)
		for _, want := range []string{"log:b 1", "log:a 2"} {
			p := out.push()
			if got := p.Channel + " " + string(p.GetPub().GetData()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		_ = out.response.Body.Close()
		// A one-way client resumes by naming its positions.
		s.Publish(t, "log:a", 3)
		s.Publish(t, "log:a", 4)
		want.Subs["log:a"] = &protocol.SubscribeRequest{Recover: true, Epoch: c.Subs["log:a"].Epoch, Offset: 1}
		sub := s.open(t, http.MethodPost, "/uni", s.request(t, want)).push().GetConnect().GetSubs()["log:a"]
		if sub == nil || !sub.Recovered || len(sub.Publications) != 2 || sub.Offset != 3 {
			t.Errorf("recovered %v", sub)
		}
	})
}

func TestRefused(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.MessageBytes, o.Limits.Connections = 1000, 2
	each(t, o, func(t *testing.T, s *stage) {
		nobody := &protocol.ConnectRequest{Subs: map[string]*protocol.SubscribeRequest{"nobody:a": {}}}
		for name, c := range map[string]struct {
			method, path string
			body         []byte
			status       int
		}{
			"nothing":           {"POST", "/two", nil, 400},
			"nothing by GET":    {"GET", "/two", nil, 400},
			"another method":    {"PUT", "/uni", nil, 405},
			"too much":          {"POST", "/two", make([]byte, 40_000), 413},
			"not a request":     {"POST", "/uni", []byte("\xff\xff\xff"), 400},
			"not a query":       {"POST", "/uni?token=%zz", nil, 400},
			"a bad token":       {"POST", "/uni", s.request(t, &protocol.ConnectRequest{Token: "x"}), 401},
			"where nobody may":  {"POST", "/uni", s.request(t, nobody), 403},
			"unknown namespace": {"POST", "/uni?channel=who:a", nil, 404},
		} {
			out := s.open(t, c.method, c.path, c.body)
			b, err := io.ReadAll(out.in)
			if err != nil || out.response.StatusCode != c.status || !json.Valid(b) || out.response.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %s, %q, %v; want %d", name, out.response.Status, b, err, c.status)
			}
			_ = out.response.Body.Close()
		}
		for range 2 {
			s.open(t, http.MethodPost, "/uni", nil).push()
		}
		if out := s.open(t, http.MethodPost, "/two", s.frame(connect())); out.response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("over the limit: %s", out.response.Status)
		}
	})
}

func TestShutdown(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		two := s.open(t, http.MethodPost, "/two", s.frame(connect()))
		two.reply()
		uni := s.open(t, http.MethodGet, "/uni", nil)
		uni.push()
		if err := s.Hub.Drain(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if r := two.reply(); r.GetPush().GetDisconnect().GetCode() != 3001 {
			t.Errorf("two way: %v", r)
		}
		if p := uni.push(); p.GetDisconnect().GetCode() != 3001 {
			t.Errorf("one way: %v", p)
		}
		two.ended()
		uni.ended()
	})
}

// Whatever a request brings, the answer is a stream of whole messages or an
// error in JSON, and no session stays behind.
func FuzzRequest(f *testing.F) {
	w := conversationtest.New(f, conversationtest.Options{Quiet: true})
	doors := []*httpstream.Door{
		httpstream.New(httpstream.Options{Host: w.Host}), httpstream.New(httpstream.Options{Host: w.Host, OneWay: true}),
	}
	for _, format := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		s := stage{format: format}
		f.Add(contentType(format), "", s.frame(connect(), &protocol.Command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:a"}}))
		f.Add(contentType(format), "channel=log:a", []byte{})
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, kind, query string, body []byte) {
		for i, d := range doors {
			r := &http.Request{
				Method: http.MethodPost, URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{"Content-Type": {kind}},
				Body: io.NopCloser(bytes.NewReader(body)),
			}
			a := httptest.NewRecorder()
			d.ServeHTTP(a, r.WithContext(gone))
			got := a.Body.Bytes()
			format := protocol.JSON
			if a.Header().Get("Content-Type") == "application/octet-stream" {
				format = protocol.Protobuf
			}
			var err error
			switch {
			case a.Code != http.StatusOK:
				if !json.Valid(got) {
					t.Errorf("%d: %q", a.Code, got)
				}
			case i == 0:
				err = protocol.DecodeReplies(format, got, func(*protocol.Reply) error { return nil })
			default:
				err = protocol.DecodePushes(format, got, func(*protocol.Push) error { return nil })
			}
			if err != nil {
				t.Errorf("%q: %v", got, err)
			}
		}
		if n := w.Hub.Connections(); n != 0 {
			t.Errorf("%d sessions stayed behind", n)
		}
	})
}
