package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ask connects by HTTP streaming, sends one command behind connect, and returns
// the line that answers it, or that ends the session.
func ask(w *way, command string) string {
	w.t.Helper()
	s := w.stream(http.MethodPost, "/connection/http_stream", `{"id":1,"connect":{}}`+"\n"+command)
	defer s.close()
	for s.lines.Scan() {
		line := s.lines.Text()
		if strings.Contains(line, `"id":2`) || strings.Contains(line, `"disconnect"`) {
			return line
		}
	}
	w.t.Fatalf("the stream ended before an answer: %v", s.lines.Err())
	return ""
}

// TestLimitsFromOutside goes beyond what docs/limits.md says a client may do.
func TestLimitsFromOutside(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev", "--set", "limits.channels_per_connection=2", "--set", "limits.history_read=3",
		"--set", "limits.command_burst=50", "--set", "limits.commands_per_second=1")
	w := newWay(t, server.main, nil, 1)
	for range 5 {
		_ = w.do(http.MethodPost, "/api/publish", `{"channel":"many","data":1}`)
	}
	big := strings.Repeat("x", 65<<10)
	for _, c := range []struct{ name, command, says string }{
		{"message id", `{"id":2,"rpc":{"method":"myelin.publish","data":{"channel":"a","data":1,"id":"` + strings.Repeat("i", 129) + `"}}}`, `"code":1004`},
		{"channel name", `{"id":2,"subscribe":{"channel":"` + strings.Repeat("n", 256) + `"}}`, `"code":107`},
		{"publication", `{"id":2,"publish":{"channel":"a","data":"` + big + `"}}`, `"code":106`},
		{"nesting", `{"id":2,"publish":{"channel":"a","data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`, `"code":3501`},
		{"token", `{"id":2,"subscribe":{"channel":"a","token":"` + strings.Repeat("t", 17<<10) + `"}}`, `"code":103`},
		{"history", `{"id":2,"history":{"channel":"many","limit":-1}}`, `"offset":3}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWay(t, server.main, nil, 1)
			if line := ask(w, c.command); !strings.Contains(line, c.says) {
				t.Errorf("answered with %s, want %s", tail(line), c.says)
			}
		})
	}
	for _, r := range []struct {
		name, path, body string
		status           int
		header           []string
	}{
		{"channels", "/connection/uni_http_stream", `{"subs":{"a":{},"b":{},"c":{}}}`, http.StatusServiceUnavailable, nil},
		{"opening", "/connection/uni_http_stream", `{"data":"` + big + big + `"}`, http.StatusRequestEntityTooLarge, nil},
		{"command", "/emulation", `{"data":"` + big + big + big + `"}`, http.StatusRequestEntityTooLarge, nil},
		{"token", "/connection/uni_http_stream", `{"token":"` + strings.Repeat("t", 17<<10) + `"}`, http.StatusUnauthorized, nil},
		{"header", "/api/info", "{}", http.StatusRequestHeaderFieldsTooLarge, []string{"X-Long", big + big}},
	} {
		t.Run("HTTP "+r.name, func(t *testing.T) {
			w := newWay(t, server.main, nil, 1)
			resp := w.do(http.MethodPost, r.path, r.body, r.header...)
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != r.status {
				t.Errorf("answered with %s %s, want %d", resp.Status, tail(string(body)), r.status)
			}
		})
	}
	t.Run("rate", func(t *testing.T) {
		w := newWay(t, server.main, nil, 1)
		flood := new(strings.Builder)
		for id := range 60 {
			fmt.Fprintf(flood, `{"id":%d,"rpc":{"method":"myelin.time"}}`+"\n", id+100)
		}
		s := w.stream(http.MethodPost, "/connection/http_stream", `{"id":1,"connect":{}}`+"\n"+flood.String())
		defer s.close()
		s.until(`"code":111,`)
	})
}

// TestConnectionLimit counts all doors together, and refuses in HTTP.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev", "--set", "limits.connections=2")
	w := newWay(t, server.main, nil, 1)
	first := w.stream(http.MethodGet, "/connection/uni_sse?channel=a", "")
	first.until(`"connect":`)
	second := w.stream(http.MethodGet, "/connection/uni_http_stream?channel=a", "")
	second.until(`"connect":`)
	upgrade := []string{
		"Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==",
	}
	for path, header := range map[string][]string{
		"/connection/websocket": upgrade, "/connection/uni_sse?channel=a": nil, "/connection/uni_http_stream?channel=a": nil,
	} {
		if resp := w.do(http.MethodGet, path, "", header...); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s is answered with %s", path, resp.Status)
		}
	}
	first.close()
	eventually(t, "there is room again", func() bool {
		resp := w.do(http.MethodGet, "/connection/websocket", "", upgrade...)
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusSwitchingProtocols
	})
}
