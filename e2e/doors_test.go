package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"myelin/client"
)

// apiKey is the key of the servers here.
const apiKey = "an-api-key-for-these-tests-0123456789"

// openConfig lets everybody do everything, but for the API.
const openConfig = `
auth: {anonymous: true}
api: {key: ` + apiKey + `}
drain: {grace: 0}
namespaces:
  default:
    history: {size: 100}
    presence: true
    subscribe: [anonymous]
    publish: [anonymous]
    read_presence: [anonymous]
    read_history: [anonymous]
`

// way is a way to speak HTTP with a server.
type way struct {
	t      *testing.T
	base   string
	client *http.Client
	major  int
}

// newWay returns a way in one version of HTTP. Without a trust it goes in clear.
func newWay(t *testing.T, addr string, trust *tls.Config, major int) *way {
	protocols := new(http.Protocols)
	scheme := "https://"
	switch {
	case major == 1:
		protocols.SetHTTP1(true)
	case trust == nil:
		protocols.SetUnencryptedHTTP2(true)
	default:
		protocols.SetHTTP2(true)
	}
	if trust == nil {
		scheme = "http://"
	}
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: trust}
	t.Cleanup(transport.CloseIdleConnections)
	return &way{t: t, base: scheme + addr, client: &http.Client{Transport: transport}, major: major}
}

// do sends a request, which is answered within patience, and as a stream lives
// as long.
func (w *way) do(method, path, body string, header ...string) *http.Response {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.ProtoMajor != w.major {
		w.t.Fatalf("%s is answered in %s, want HTTP/%d", path, resp.Proto, w.major)
	}
	return resp
}

// api calls a method, which must succeed, and returns its result.
func (w *way) api(method, body string) string {
	w.t.Helper()
	resp := w.do(http.MethodPost, "/api/"+method, body, "X-API-Key", apiKey)
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(answer), `"error"`) {
		w.t.Fatalf("%s is answered with %s %s (%v)", method, resp.Status, answer, err)
	}
	return string(answer)
}

// stream is a response that goes on.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (w *way) stream(method, path, body string, header ...string) *stream {
	w.t.Helper()
	resp := w.do(method, path, body, header...)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("%s is answered with %s %s", path, resp.Status, text)
	}
	return &stream{w.t, resp, bufio.NewScanner(resp.Body)}
}

// until returns the next line that holds the text.
func (s *stream) until(text string) string {
	s.t.Helper()
	for s.lines.Scan() {
		if line := s.lines.Text(); strings.Contains(line, text) {
			return line
		}
	}
	s.t.Fatalf("the stream ended before %q: %v", text, s.lines.Err())
	return ""
}

func (s *stream) close() { _ = s.resp.Body.Close() }

// TestDoorsOverEveryHTTP goes through each HTTP door in HTTP/1.1 and HTTP/2, in
// clear and over TLS.
func TestDoorsOverEveryHTTP(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	for name, server := range map[string]*process{
		"clear": serve(t, openConfig), "TLS": serve(t, openConfig, cert.flags()...),
	} {
		var trust *tls.Config
		if name == "TLS" {
			trust = cert.trust()
		}
		for _, major := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s HTTP %d", name, major), func(t *testing.T) {
				w := newWay(t, server.main, trust, major)
				channel := fmt.Sprintf("room%d", major)
				w.throughAPI(channel)
				w.throughSSE(channel)
				w.throughStream(channel)
				w.throughEmulation(channel)
			})
		}
	}
}

func (w *way) publish(channel, text string) {
	w.t.Helper()
	w.api("publish", fmt.Sprintf(`{"channel":%q,"data":{"text":%q}}`, channel, text))
}

func (w *way) throughAPI(channel string) {
	w.publish(channel, "first")
	if answer := w.api("history", fmt.Sprintf(`{"channel":%q,"limit":1}`, channel)); !strings.Contains(answer, `"first"`) {
		w.t.Errorf("history is %s", answer)
	}
	for key, want := range map[string]int{"": http.StatusUnauthorized, apiKey + "x": http.StatusUnauthorized} {
		if resp := w.do(http.MethodPost, "/api/info", "{}", "X-API-Key", key); resp.StatusCode != want {
			w.t.Errorf("with the key %q: %s, want %d", key, resp.Status, want)
		}
	}
}

func (w *way) throughSSE(channel string) {
	s := w.stream(http.MethodGet, "/connection/uni_sse?channel="+channel, "")
	if kind := s.resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		w.t.Errorf("the content type is %q", kind)
	}
	id := strings.TrimPrefix(s.until("id: "), "id: ")
	s.until(`"connect":`)
	w.publish(channel, "live")
	s.until(`"live"`)
	s.close()
	w.publish(channel, "while away")
	s = w.stream(http.MethodGet, "/connection/uni_sse?channel="+channel, "", "Last-Event-ID", id)
	line := s.until(`"connect":`)
	live, away := strings.Index(line, `"live"`), strings.Index(line, `"while away"`)
	if live < 0 || away < live || !strings.Contains(line, `"recovered":true`) {
		w.t.Errorf("resumed with %s", line)
	}
	s.close()
}

func (w *way) throughStream(channel string) {
	s := w.stream(http.MethodPost, "/connection/uni_http_stream", fmt.Sprintf(`{"subs":{%q:{}}}`, channel))
	s.until(`"connect":`)
	w.publish(channel, "streamed")
	s.until(`"streamed"`)
	s.close()
}

func (w *way) throughEmulation(channel string) {
	s := w.stream(http.MethodPost, "/connection/http_stream", `{"id":1,"connect":{}}`)
	var reply struct {
		Connect struct {
			Session string `json:"session"`
			Node    string `json:"node"`
		} `json:"connect"`
	}
	if err := json.Unmarshal([]byte(s.until(`"connect":`)), &reply); err != nil || reply.Connect.Session == "" {
		w.t.Fatalf("connected with %+v (%v)", reply, err)
	}
	for _, c := range []struct{ command, answer string }{
		{fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, channel), `"id":2`},
		{fmt.Sprintf(`{"id":3,"publish":{"channel":%q,"data":"emulated"}}`, channel), `"emulated"`},
	} {
		body, err := json.Marshal(map[string]string{
			"session": reply.Connect.Session, "node": reply.Connect.Node, "data": c.command,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		if resp := w.do(http.MethodPost, "/emulation", string(body)); resp.StatusCode != http.StatusNoContent {
			w.t.Fatalf("%s is answered with %s", c.command, resp.Status)
		}
		s.until(c.answer)
	}
	s.close()
}

// TestWebSocketOverTLS uses the Go client, in both encodings.
func TestWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	cert := newCertificate(t)
	server := serve(t, openConfig, cert.flags()...)
	for name, protobuf := range map[string]bool{"JSON": false, "Protobuf": true} {
		t.Run(name, func(t *testing.T) {
			c, err := client.New("wss://"+server.main+"/connection/websocket", client.Options{TLS: cert.trust(), Protobuf: protobuf})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			defer func() { _ = c.Close() }()
			got := make(chan client.Publication, 1)
			subscribed := make(chan struct{})
			_, err = c.Subscribe("secure"+name, client.SubOptions{
				OnSubscribed:  func(client.SubscribedInfo) { close(subscribed) },
				OnPublication: func(p client.Publication) { got <- p },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Connect(ctx); err != nil {
				t.Fatal(err)
			}
			wait(t, subscribed, "subscribed")
			if err := c.Publish(ctx, "secure"+name, []byte(`"sealed"`)); err != nil {
				t.Fatal(err)
			}
			if p := wait(t, got, "publication"); string(p.Data) != `"sealed"` || p.Position.Offset != 1 {
				t.Errorf("got %+v", p)
			}
		})
	}
}
