package sse_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const connectCommand = `{"id":1,"connect":{}}`

// Commands go in by POSTs, replies and pushes come out by the stream.
func TestTwoWay(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		for _, begin := range []func() *source{
			func() *source { return s.get(t, "/sse?"+query("cf_connect", connectCommand), "") },
			func() *source { return s.open(t, http.MethodPost, "/sse", connectCommand, "") },
		} {
			e := begin()
			if got := e.response.Header.Get("Content-Type"); got != "text/event-stream" || e.response.StatusCode != http.StatusOK {
				t.Fatalf("%s, %s", e.response.Status, got)
			}
			c := e.message().Connect
			if c == nil || c.Session == "" || c.Node != conversationtest.Node || c.Client == c.Session || !c.Pong {
				t.Fatalf("connect: %+v", c)
			}
			s.emulate(t, c, `{"id":2,"subscribe":{"channel":"log:a"}}`+"\n"+`{"id":3,"publish":{"channel":"log:a","data":{"x":"é"}}}`)
			if r := e.message(); r.ID != 2 || r.Subscribe == nil {
				t.Errorf("subscribe: %+v", r)
			}
			published, heard := false, false
			for range 2 {
				switch r := e.message(); {
				case r.ID == 3 && r.Publish != nil:
					published = true
				case r.Push != nil && r.Push.Pub != nil && string(r.Push.Pub.Data) == `{"x":"é"}`:
					heard = true
				}
			}
			if !published || !heard {
				t.Errorf("published %v, heard %v", published, heard)
			}
			_ = e.response.Body.Close()
			synctest.Wait()
			// The session is gone with the stream; to say more is no error.
			s.emulate(t, c, `{"id":4,"rpc":{"method":"myelin.time"}}`)
		}
	})
}

// A first command that is wrong is answered on the stream, which then ends.
func TestTwoWayMisuse(t *testing.T) {
	each(t, conversationtest.Options{Private: true}, func(t *testing.T, s *stage) {
		for body, want := range map[string]uint32{
			`{"id":1,"connect":{"token":"x"}}`:         3500,
			`{"id":1}`:                                 3501,
			`{"id":1,"subscribe":{"channel":"log:a"}}`: 3501,
			`nonsense`:                                 3501,
			"\n\n":                                     0,
			connectCommand:                             101,
			connectCommand + "\n" + connectCommand:     101,
			`{"id":1,"connect":{}` + strings.Repeat(`[`, 500): 3501,
		} {
			e := s.open(t, http.MethodPost, "/sse", body, "")
			if want == 0 {
				// A frame without a command says nothing: the client is stale.
				want = 3502
			}
			r := e.message()
			if want == 101 {
				if r.Error == nil || r.Error.Code != want {
					t.Errorf("%s: %+v", body, r)
				}
				want, r = 3507, e.message()
			}
			if r.Push == nil || r.Push.Disconnect == nil || r.Push.Disconnect.Code != want {
				t.Errorf("%s: %+v, want %d", body, r.Push, want)
			}
			e.ended()
		}
	})
}

// What brings nothing to begin with is refused before there is a stream:
// EventSource would come back for ever.
func TestRefusedRequests(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.MessageBytes = 1000
	each(t, o, func(t *testing.T, s *stage) {
		expired := conversationtest.Token(t, conversationtest.Claims{"sub": "u", "exp": 1})
		long := strings.Repeat("x", 40_000)
		for name, c := range map[string]struct {
			method, path, body string
			status             int
			code               uint32
		}{
			"nothing":                    {"GET", "/sse", "", 400, 107},
			"nothing in a body":          {"POST", "/sse", "", 400, 107},
			"another method":             {"PUT", "/sse", connectCommand, 405, 107},
			"another method, one way":    {"DELETE", "/uni", "", 405, 107},
			"too long a body":            {"POST", "/sse", long, 413, 1004},
			"too long a query":           {"GET", "/sse?cf_connect=" + long, "", 413, 1004},
			"too long a body, one way":   {"POST", "/uni", long, 413, 1004},
			"not JSON":                   {"POST", "/uni", "nonsense", 400, 107},
			"not JSON in the query":      {"GET", "/uni?cf_connect=%7B", "", 400, 107},
			"not UTF-8":                  {"POST", "/uni", "{\"token\":\"\xff\"}", 400, 107},
			"a null subscription":        {"POST", "/uni", `{"subs":{"log:a":null}}`, 400, 107},
			"a query that is not one":    {"GET", "/uni?channel=log:a&token=%zz", "", 400, 107},
			"a query with a semicolon":   {"GET", "/uni?channel=log:a;token=x", "", 400, 107},
			"a bad token":                {"GET", "/uni?channel=log:a&token=x", "", 401, 3500},
			"an expired token":           {"GET", "/uni?channel=log:a&token=" + expired, "", 401, 109},
			"a token for a subscription": {"GET", "/uni?token=" + conversationtest.Token(t, conversationtest.Claims{"channel": "log:a"}), "", 401, 3500},
			"a channel for nobody":       {"GET", "/uni?channel=nobody:a", "", 403, 103},
			"an unknown namespace":       {"GET", "/uni?channel=who:a", "", 404, 102},
			"no channel":                 {"GET", "/uni?channel=", "", 400, 107},
			"a control character":        {"GET", "/uni?channel=log:%01", "", 400, 107},
			"one good and one bad":       {"GET", "/uni?channel=log:a&channel=nobody:a", "", 403, 103},
		} {
			e := s.open(t, c.method, c.path, c.body, "")
			if got := e.refused(c.status); got.Code != c.code || got.Message == "" {
				t.Errorf("%s: %+v, want code %d", name, got, c.code)
			}
			if h := e.response.Header; c.status == 401 && h.Get("WWW-Authenticate") == "" || c.status == 405 && h.Get("Allow") != "GET, POST" {
				t.Errorf("%s: a header is missing in %v", name, h)
			}
			_ = e.response.Body.Close()
		}
		synctest.Wait()
		if n := s.Hub.Connections(); n != 0 {
			t.Errorf("%d sessions are left of requests that were refused", n)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.Connections = 1
	each(t, o, func(t *testing.T, s *stage) {
		first := s.get(t, "/uni?channel=log:a", "")
		first.message()
		e := s.get(t, "/uni?channel=log:a", "")
		if got := e.refused(503); got.Code != 106 || e.response.Header.Get("Retry-After") == "" {
			t.Errorf("%+v, %v", got, e.response.Header)
		}
		_ = first.response.Body.Close()
		synctest.Wait()
		s.get(t, "/uni?channel=log:a", "").message()
	})
}

// The ways to say what to listen to.
func TestOneWayRequests(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		token := conversationtest.Token(t, conversationtest.Claims{"sub": "u", "channels": []string{"nobody:t"}})
		for name, c := range map[string]struct {
			method, path, body string
			want               []string
		}{
			"nothing":           {"GET", "/uni", "", nil},
			"a channel":         {"GET", "/uni?channel=log:a", "", []string{"log:a"}},
			"two channels":      {"GET", "/uni?channel=log:a&channel=log:b", "", []string{"log:a", "log:b"}},
			"one channel twice": {"GET", "/uni?channel=log:a&channel=log:a", "", []string{"log:a"}},
			"an odd channel":    {"GET", "/uni?" + query("channel", "log:é &;=+%/?#"), "", []string{"log:é &;=+%/?#"}},
			"a token":           {"GET", "/uni?token=" + token, "", []string{"nobody:t"}},
			"both":              {"GET", "/uni?channel=user:a&token=" + token, "", []string{"nobody:t", "user:a"}},
			"cf_connect":        {"GET", "/uni?" + query("cf_connect", `{"subs":{"log:a":{}}}`), "", []string{"log:a"}},
			"cf_connect and more": {
				"GET", "/uni?channel=log:b&" + query("cf_connect", `{"token":"`+token+`","subs":{"log:a":{}}}`), "",
				[]string{"log:a", "log:b", "nobody:t"},
			},
			"a body":          {"POST", "/uni", `{"subs":{"log:a":{}}}`, []string{"log:a"}},
			"an empty body":   {"POST", "/uni?channel=log:a", "", []string{"log:a"}},
			"an empty object": {"POST", "/uni", `{}`, nil},
		} {
			e := s.open(t, c.method, c.path, c.body, "")
			r := e.message()
			if r.Connect == nil {
				t.Errorf("%s: %+v", name, r)
				continue
			}
			var got []string
			for channel := range r.Connect.Subs {
				got = append(got, channel)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) || r.Connect.Session != "" || r.Connect.Pong {
				t.Errorf("%s: listens to %q (%+v), want %q", name, got, r.Connect, c.want)
			}
			if ms, err := strconv.Atoi(e.retry); err != nil || ms < 500 || ms > 1000 {
				t.Errorf("retry is %q", e.retry)
			}
		}
	})
}

// Nothing in the data ends an event before its time.
func TestFraming(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		e := s.get(t, "/uni?channel=log:a", "")
		e.message()
		for data, want := range map[string]string{
			"{\n\"a\":\r\n1,\r\"b\"\n:\n\n2}":      `{"a": 1, "b":2}`,
			`"\n\r\u2028\u0000"`:                   `"\n\r\u2028\u0000"`,
			"\"\u2028\u2029\u0085\"":               "\"\u2028\u2029\u0085\"",
			`"data: x\n\nid: 1\nevent: y"`:         `"data: x\n\nid: 1\nevent: y"`,
			"\n\n\n1\n\n\n":                        `1`,
			`": comment"`:                          `": comment"`,
			`"` + strings.Repeat("x", 60000) + `"`: `"` + strings.Repeat("x", 60000) + `"`,
		} {
			if _, err := s.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
			r := e.message()
			if r.Pub == nil || string(r.Pub.Data) != want {
				t.Errorf("%.80q arrived as %.80q, want %.80q", data, fmt.Sprint(r.Pub), want)
			}
		}
	})
}

// Cut, miss, resume: the exact sequence over several channels, many times.
func TestResume(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		path := "/uni?channel=log:a&channel=log:b&channel=plain:c"
		seen := map[string][]uint64{}
		published := map[string]uint64{}
		publish := func(n int) {
			for i := range n {
				name := []string{"log:a", "log:b", "plain:c"}[i%3]
				s.Publish(t, name, i)
				published[name]++
			}
		}
		lastID := ""
		for round := range 20 {
			e := s.get(t, path, lastID)
			c := e.message().Connect
			for _, name := range []string{"log:a", "log:b"} {
				sub := c.Subs[name]
				if sub.WasRecovering != (round > 0) || sub.Recovered != (round > 0) {
					t.Fatalf("round %d: %s: %+v", round, name, sub)
				}
				for _, p := range sub.Publications {
					seen[name] = append(seen[name], p.Offset)
				}
			}
			publish(round)
			for range round {
				r := e.message()
				seen[r.Channel] = append(seen[r.Channel], r.Pub.Offset)
			}
			lastID = e.lastID
			_ = e.response.Body.Close()
			publish(round % 7)
		}
		e := s.get(t, path, lastID)
		for name, sub := range e.message().Connect.Subs {
			for _, p := range sub.Publications {
				seen[name] = append(seen[name], p.Offset)
			}
		}
		for _, name := range []string{"log:a", "log:b"} {
			if n := uint64(len(seen[name])); n != published[name] {
				t.Errorf("%s: saw %d publications of %d", name, n, published[name])
			}
			for i, offset := range seen[name] {
				if offset != uint64(i)+1 {
					t.Errorf("%s: saw %v", name, seen[name])
					break
				}
			}
		}
	})
}

// What was evicted meanwhile is said to be lost, and so is all where the id
// cannot be read; by header or by query.
func TestResumeAfterLoss(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		e := s.get(t, "/uni?channel=small:a&channel=log:b", "")
		e.message()
		id := e.lastID
		_ = e.response.Body.Close()
		for i := range 4 {
			s.Publish(t, "small:a", i)
		}
		s.Publish(t, "log:b", 1)
		for name, e := range map[string]*source{
			"by header": s.get(t, "/uni?channel=small:a&channel=log:b", id),
			"by query":  s.get(t, "/uni?channel=small:a&channel=log:b&last_event_id="+id, ""),
		} {
			subs := e.message().Connect.Subs
			if a := subs["small:a"]; !a.WasRecovering || a.Recovered || len(a.Publications) > 0 || a.Offset != 4 {
				t.Errorf("%s: small:a: %+v", name, a)
			}
			if b := subs["log:b"]; !b.Recovered || len(b.Publications) != 1 {
				t.Errorf("%s: log:b: %+v", name, b)
			}
		}
		for _, bad := range []string{"1", id + "A", id[1:], "\"", strings.Repeat("A", 40_000)} {
			subs := s.get(t, "/uni?channel=small:a", bad).message().Connect.Subs
			if a := subs["small:a"]; !a.WasRecovering || a.Recovered {
				t.Errorf("%.20q: %+v", bad, a)
			}
		}
	})
}

func TestPings(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		e := s.get(t, "/uni?channel=log:a", "")
		if c := e.message().Connect; c.Ping != 25 {
			t.Errorf("ping every %d s", c.Ping)
		}
		for range 10 { // nobody answers them, and nobody has to
			if ev, ok := e.next(); !ok || ev.data != "{}" {
				t.Fatalf("want a ping, got %q", ev.data)
			}
		}
		e = s.get(t, "/sse?"+query("cf_connect", connectCommand), "")
		c := e.message().Connect
		if ev, _ := e.next(); ev.data != "{}" {
			t.Fatalf("want a ping, got %q", ev.data)
		}
		s.emulate(t, c, "{}")
		if ev, _ := e.next(); ev.data != "{}" {
			t.Fatalf("want a ping, got %q", ev.data)
		}
		if r := e.message(); r.Push == nil || r.Push.Disconnect.Code != 3012 {
			t.Errorf("without a pong: %+v", r)
		}
		e.ended()
	})
}

// A shutdown says so and ends the streams.
func TestShutdown(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		uni := s.get(t, "/uni?channel=log:a", "")
		uni.message()
		two := s.get(t, "/sse?"+query("cf_connect", connectCommand), "")
		two.message()
		if err := s.Hub.Drain(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if r := uni.message(); r.Disconnect == nil || r.Disconnect.Code != 3001 {
			t.Errorf("one way: %+v", r)
		}
		uni.ended()
		if r := two.message(); r.Push == nil || r.Push.Disconnect.Code != 3001 {
			t.Errorf("two way: %+v", r)
		}
		two.ended()
		if got := s.get(t, "/uni?channel=log:a", "").refused(503); got.Code != 1000 {
			t.Errorf("while draining: %+v", got)
		}
	})
}

// A client that stops reading is dropped, holds little until then, and loses
// nothing by it: it comes back with its last id.
func TestClientThatStopsReading(t *testing.T) {
	for _, p := range []conversationtest.Proto{conversationtest.HTTP1, conversationtest.H2C} {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				namespaces := conversationtest.Namespaces()
				namespaces["log"].Policy.HistorySize = 10_000
				s := newStage(t, conversationtest.Options{Namespaces: namespaces}, p, 16<<10)
				e := s.get(t, "/uni?channel=log:a", "")
				e.message()
				text := strings.Repeat("x", 4000)
				for range 2000 { // net/http's client takes 4 MiB of a stream unasked
					s.Publish(t, "log:a", text)
					synctest.Wait()
					if s.Hub.Connections() == 0 {
						break
					}
				}
				if n := s.Hub.Connections(); n != 0 {
					t.Fatalf("after 8 MB that nobody read there are %d sessions", n)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				seen := uint64(0)
				for {
					ev, ok := e.next()
					if !ok {
						break
					}
					if strings.Contains(ev.data, `"pub"`) {
						seen++
					}
				}
				r := s.get(t, "/uni?channel=log:a", e.lastID).message().Connect.Subs["log:a"]
				if !r.Recovered || len(r.Publications) == 0 || r.Publications[0].Offset != seen+1 || r.Publications[len(r.Publications)-1].Offset != r.Offset {
					t.Errorf("saw %d, then recovered %v (%d) up to %d", seen, r.Recovered, len(r.Publications), r.Offset)
				}
			})
		})
	}
}

// A body that does not come is not waited for.
func TestBodyThatDoesNotCome(t *testing.T) {
	for _, path := range []string{"/sse", "/uni", "/emulation"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, conversationtest.Options{}, conversationtest.HTTP1, 0)
			c := s.Dial(t)
			if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: mem\r\nContent-Length: 100\r\n\r\n{"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(9 * time.Second)
			if _, err := io.WriteString(c, " "); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
				t.Errorf("%s: %q, %v", path, b, err)
			}
		})
	}
}

// One client's end is nobody else's.
func TestServerDisconnects(t *testing.T) {
	each(t, conversationtest.Options{}, func(t *testing.T, s *stage) {
		token := conversationtest.Token(t, conversationtest.Claims{"sub": "u"})
		a := s.get(t, "/uni?channel=log:a&token="+token, "")
		a.message()
		b := s.get(t, "/uni?channel=log:a", "")
		b.message()
		if _, err := s.Hub.Disconnect(t.Context(), hub.Target{User: "u"}, hub.DisconnectForceNoReconnect, nil); err != nil {
			t.Fatal(err)
		}
		if r := a.message(); r.Disconnect == nil || r.Disconnect.Code != 3503 {
			t.Errorf("%+v", r)
		}
		a.ended()
		s.Publish(t, "log:a", 1)
		if r := b.message(); r.Pub == nil {
			t.Errorf("%+v", r)
		}
	})
}
