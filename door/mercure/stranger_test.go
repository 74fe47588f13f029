package mercure_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/door/mercure"
	"myelin/observe"
)

// What a stranger may send is refused with a status, and leaves nothing behind.
func TestStrangers(t *testing.T) {
	s := newStageWith(t, mercure.Options{Anonymous: true}, nil)
	deep := strings.Repeat("[", 9_000)
	for name, c := range map[string]struct {
		method, query, body, token string
		status                     int
	}{
		"a deep claim":               {"GET", "?match=a", "", jwt(t, "JWT", claims{"mercure": nested(5000)}), 401},
		"65 selectors":               {"GET", "?match=a", "", jwt(t, "JWT", claims{"mercure": claims{"subscribe": make([]string, 65)}}), 401},
		"33 details":                 {"GET", "?match=a", "", detailed(t, "at+jwt", nil, make([]any, 33)...), 401},
		"no algorithm":               {"GET", "?match=a", "", "eyJhbGciOiJub25lIn0.eyJtZXJjdXJlIjp7InN1YnNjcmliZSI6WyIqIl19fQ.", 401},
		"a long token":               {"GET", "?match=a", "", strings.Repeat("x", 30_000), 401},
		"a system channel":           {"GET", "?match=" + url.QueryEscape("$lifecycle:events"), "", "", 200},
		"two tokens' worth of slash": {"GET", "?match=../../$mercure:subscriptions", "", "", 200},
		"a bad escape":               {"GET", "?match=%zz", "", "", 400},
		"1,000 matchers":             {"GET", "?" + strings.Repeat("topic=a&", 1000), "", "", 400},
		"a deep pattern":             {"GET", "?matchURLPattern=" + strings.Repeat("{", 500), "", "", 400},
		"a huge repetition":          {"GET", "?matchURLPattern=" + url.QueryEscape("/((a{1000}){1000})"), "", "", 400},
		"a long last id":             {"GET", "?match=a&lastEventID=" + strings.Repeat("x", 20_000), "", "", 200},
		"17 topics":                  {"POST", "", strings.Repeat("topic=a&", 17), old(t, "*"), 400},
		"a long topic":               {"POST", "", "topic=" + strings.Repeat("x", 250), old(t, "*"), 413},
		"a name that is not UTF-8":   {"POST", "", "topic=a&%ff=b", old(t, "*"), 400},
		"a long type":                {"POST", "", "topic=a&type=" + strings.Repeat("x", 256), old(t, "*"), 413},
		"deep JSON":                  {"POST", "", "topic=a&data=" + deep[:900], old(t, "*"), 200}, // a text
		"huge":                       {"POST", "", "topic=a&data=" + strings.Repeat("x", 30_000), old(t, "*"), 413},
		"huge, without a token":      {"POST", "", "topic=a&data=" + strings.Repeat("x", 30_000), "", 401},
	} {
		header := map[string]string{}
		if c.token != "" {
			header = bearer(c.token)
		}
		r := s.do(t, c.method, c.query, c.body, header)
		if r.StatusCode != c.status {
			t.Errorf("%s: %s", name, r.Status)
		}
		_ = r.Body.Close()
	}
	// Those that were let in listened to topics of those names, and to nothing else.
	s.waits(0)
	if hits := s.Metrics.Limit(observe.LimitTopics).Value(); hits != 2 {
		t.Errorf("%d hits of the limit, want 2", hits)
	}
}

// nested is a value that is deep.
func nested(n int) any {
	var v any = "x"
	for range n {
		v = []any{v}
	}
	return v
}

// Who opens a stream and does not read it is sent away when what waits for him
// is more than his queue may hold; others do not notice.
func TestASlowReader(t *testing.T) {
	s := newStage(t, true)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_, _ = fmt.Fprintf(conn, "GET %s?match=a HTTP/1.1\r\nHost: x\r\n\r\n", mercure.Path)
	_, good := s.listen(t, "?match=a", nil)
	s.waits(2)
	data := strings.Repeat("x", 900)
	sent := 0
	for s.Hub.Connections() == 2 {
		for range 100 {
			if _, err := s.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: "mercure:a", Data: []byte(`"` + data + `"`)}); err != nil {
				t.Fatal(err)
			}
			sent++
			next(t, good)
		}
		if sent > 100_000 {
			t.Fatal("it is still there")
		}
	}
	if s.Metrics.Limit(observe.LimitQueue).Value() == 0 {
		t.Error("not counted")
	}
	if r := s.do(t, http.MethodGet, "?match=a", "", nil); r.StatusCode != http.StatusOK {
		t.Errorf("%s", r.Status)
	}
}

// waits returns when there are n sessions.
func (s *stage) waits(n int) {
	for s.Hub.Connections() != n {
		runtime.Gosched()
	}
}
