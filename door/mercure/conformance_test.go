package mercure_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/door/mercure"
	"myelin/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a hub of Mercure on a loopback socket.
type stage struct {
	*conversationtest.World
	*httptest.Server
}

func newStage(t *testing.T, anonymous bool) *stage {
	t.Helper()
	return newStageWith(t, mercure.Options{Anonymous: anonymous}, nil)
}

// newStageWith is a stage with options, whose application is asked where there
// is one.
func newStageWith(t *testing.T, o mercure.Options, hooks conversation.Hooks) *stage {
	t.Helper()
	spaces := conversationtest.Namespaces()
	for name, who := range map[string]auth.Who{"mercure": auth.WhoAnonymous, "mercure-private": auth.WhoToken} {
		set := auth.NewWhoSet(who)
		spaces[name] = &hub.Namespace{
			Policy: &channel.Policy{Namespace: name, HistorySize: 5}, Rules: auth.Rules{Subscribe: set}, Patterns: set, PositionCheck: -1,
		}
	}
	spaces["mercure"].AskSubscribe, spaces["mercure"].AskPublish = hooks != nil, hooks != nil
	if o.Subscriptions {
		spaces[mercure.SubscriptionsNamespace] = &hub.Namespace{
			Policy: &channel.Policy{Namespace: mercure.SubscriptionsNamespace}, Presence: true, System: true, PositionCheck: -1,
		}
	}
	s := &stage{World: conversationtest.New(t, conversationtest.Options{Namespaces: spaces, Bans: true, Hooks: hooks, Logger: o.Logger, Limits: hub.Limits{MessageBytes: 1000}})}
	verifier, err := auth.NewVerifier(auth.Options{HMACSecret: conversationtest.Secret})
	if err != nil {
		t.Fatal(err)
	}
	origins, err := auth.NewOrigins([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	o.Hub, o.Host, o.Verifier, o.Origins, o.Metrics = s.Hub, s.Host, verifier, origins, s.Metrics
	o.Public, o.Private = "mercure", "mercure-private"
	d := mercure.New(t.Context(), o)
	mux := http.NewServeMux()
	mux.Handle(mercure.Path, d)
	mux.HandleFunc(mercure.SubscriptionsPath, d.ServeSubscriptions)
	mux.HandleFunc(mercure.SubscriptionsPath+"/", d.ServeSubscriptions)
	mux.HandleFunc(mercure.MetadataPath, d.ServeMetadata)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

type claims = map[string]any

// jwt signs claims under a header type.
func jwt(t testing.TB, typ string, c claims) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(claims{"alg": "HS256", "typ": typ}) + "." + part(c)
	h := hmac.New(sha256.New, []byte(conversationtest.Secret))
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// old is a token of revision 7, with one selector to publish and to subscribe.
func old(t testing.TB, selector string) string {
	return jwt(t, "JWT", claims{"mercure": claims{"publish": []string{selector}, "subscribe": []string{selector}}})
}

// detailed is a token of revision 8.
func detailed(t testing.TB, typ string, more claims, details ...any) string {
	c := claims{"exp": conversationtest.In(time.Minute), "authorization_details": details}
	maps.Copy(c, more)
	return jwt(t, typ, c)
}

func detail(actions []string, topics ...any) claims {
	return claims{"type": "mercure", "actions": actions, "topics": topics}
}

func match(text string) claims { return claims{"match": text} }

// do makes a request; a stream's body is closed when the test ends.
func (s *stage) do(t *testing.T, method, query, body string, header map[string]string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+mercure.Path+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// publish publishes an update and returns its id.
func (s *stage) publish(t *testing.T, form string) string {
	t.Helper()
	r := s.do(t, http.MethodPost, "", form, bearer(old(t, "*")))
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", form, r.Status, b)
	}
	return string(b)
}

// What the specification says must be answered to requests that are not done.
func TestRefusals(t *testing.T) {
	s := newStage(t, true)
	all := old(t, "*")
	both := []string{"publish", "subscribe"}
	for _, c := range []struct {
		name, method, query, body string
		header                    map[string]string
		status                    int
		challenge                 string // a part of it
	}{
		{"no matcher", "GET", "", "", nil, 400, "invalid_request"},
		{"a matcher type there is not", "GET", "?matchRegexp=a", "", nil, 400, "invalid_request"},
		{"the case of a matcher type", "GET", "?matchurlpattern=a", "", nil, 400, "invalid_request"},
		{"the case of match", "GET", "?Match=a", "", nil, 400, "invalid_request"},
		{"a control character", "GET", "?match=a%0Ab", "", nil, 400, "invalid_request"},
		{"not UTF-8", "GET", "?match=%ff", "", nil, 400, "invalid_request"},
		{"too many matchers", "GET", "?" + strings.Repeat("match=a&", 65), "", nil, 400, "invalid_request"},
		{"a long pattern", "GET", "?matchURLPattern=" + strings.Repeat("a", 1025), "", nil, 400, "invalid_request"},
		{"a long topic", "GET", "?match=" + strings.Repeat("a", 256), "", nil, 400, "invalid_request"},
		{"a bad signature", "GET", "?match=a", "", bearer(all[:len(all)-3] + "AAA"), 401, `error="invalid_token"`},
		{"an expired token", "GET", "?match=a", "", bearer(jwt(t, "JWT", claims{"exp": 1})), 401, `error="invalid_token"`},
		{"a token that is not valid yet", "GET", "?match=a", "", bearer(jwt(t, "JWT", claims{"nbf": conversationtest.In(time.Hour)})), 401, `error="invalid_token"`},
		{"another scheme", "GET", "?match=a", "", map[string]string{"Authorization": "Basic eDp5"}, 401, `error="invalid_token"`},
		{"a bad header goes before a good query", "GET", "?match=a&access_token=" + all, "", bearer("nonsense"), 401, `error="invalid_token"`},
		{"a bad query goes before a good cookie", "GET", "?match=a&access_token=nonsense", "", map[string]string{"Cookie": "mercureAccessToken=" + all}, 401, `error="invalid_token"`},
		{"details in a token of another type", "GET", "?match=a", "", bearer(detailed(t, "JWT", nil, detail(both, match("*")))), 401, `error="invalid_token"`},
		{"details without an end", "GET", "?match=a", "", bearer(jwt(t, "at+jwt", claims{"authorization_details": []any{}})), 401, `error="invalid_token"`},
		{"a detail without actions", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(nil, match("a")))), 401, `error="invalid_token"`},
		{"a detail without topics", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(both))), 401, `error="invalid_token"`},
		{"a detail with another action", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail([]string{"delete"}, match("a")))), 401, `error="invalid_token"`},
		{"a topic that is no object", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(both, "a"))), 401, `error="invalid_token"`},
		{"a topic without match", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(both, claims{}))), 401, `error="invalid_token"`},
		{"one bad detail spoils the others", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(both, match("*")), detail(both, claims{"match": "a", "matchType": "exact"}))), 401, `error="invalid_token"`},
		{"a bad pattern in a token", "GET", "?match=a", "", bearer(detailed(t, "at+jwt", nil, detail(both, claims{"match": "(", "matchType": "URLPattern"}))), 401, `error="invalid_token"`},
		{"publish without a token", "POST", "", "topic=a&data=b", nil, 401, `Bearer resource_metadata="`},
		{"publish without the claim", "POST", "", "topic=a&data=b", bearer(jwt(t, "JWT", claims{"sub": "x"})), 403, `error="insufficient_scope"`},
		{"publish with another's claim", "POST", "", "topic=a&data=b", bearer(old(t, "b")), 403, `error="insufficient_scope"`},
		{"one of two topics", "POST", "", "topic=a&topic=b&data=b", bearer(old(t, "b")), 403, `error="insufficient_scope"`},
		{"publish with details to subscribe", "POST", "", "topic=a", bearer(detailed(t, "at+jwt", nil, detail([]string{"subscribe"}, match("*")))), 403, `error="insufficient_scope"`},
		{"two topics in revision 8", "POST", "", "topic=a&topic=b", bearer(detailed(t, "at+jwt", nil, detail(both, match("*")))), 400, "invalid_request"},
		{"no topic", "POST", "", "data=b", bearer(all), 400, "invalid_request"},
		{"the hub's own topic", "POST", "", "topic=" + url.QueryEscape(s.URL+"/.well-known/mercure/subscriptions/x") + "&data=b", bearer(all), 403, "insufficient_scope"},
		{"a star", "POST", "", "topic=*&data=b", bearer(all), 400, "invalid_request"},
		{"an id with a hash", "POST", "", "topic=a&id=%23x", bearer(all), 400, "invalid_request"},
		{"an id with a line break", "POST", "", "topic=a&id=x%0Ay", bearer(all), 400, "invalid_request"},
		{"an id with NUL", "POST", "", "topic=a&id=x%00", bearer(all), 400, "invalid_request"},
		{"a type with a line break", "POST", "", "topic=a&type=x%0Dy", bearer(all), 400, "invalid_request"},
		{"a retry that is no number", "POST", "", "topic=a&retry=1s", bearer(all), 400, "invalid_request"},
		{"an empty retry", "POST", "", "topic=a&retry=", bearer(all), 400, "invalid_request"},
		{"a topic with a control character", "POST", "", "topic=a%07", bearer(all), 400, "invalid_request"},
		{"data that is not UTF-8", "POST", "", "topic=a&data=%ff", bearer(all), 400, "invalid_request"},
		{"JSON", "POST", "", `{"topic":"a"}`, map[string]string{"Authorization": "Bearer " + all, "Content-Type": "application/json"}, 400, "invalid_request"},
		{"a long id", "POST", "", "topic=a&id=" + strings.Repeat("x", 129), bearer(all), 413, ""},
		{"a long body", "POST", "", "topic=a&data=" + strings.Repeat("x", 30000), bearer(all), 413, ""},
		{"another method", "PUT", "", "", nil, 405, ""},
	} {
		r := s.do(t, c.method, c.query, c.body, c.header)
		if got := r.Header.Get("WWW-Authenticate"); r.StatusCode != c.status || !strings.Contains(got, c.challenge) {
			b, _ := io.ReadAll(r.Body)
			t.Errorf("%s: %d, %s, %s", c.name, r.StatusCode, got, b)
		}
		if r.StatusCode == http.StatusUnauthorized && c.header == nil && strings.Contains(r.Header.Get("WWW-Authenticate"), "error") {
			t.Errorf("%s: a request without a token is told an error code", c.name)
		}
	}
	if n := s.Hub.Connections(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestSubscribersNeedATokenWhereTheHubSaysSo(t *testing.T) {
	s := newStage(t, false)
	if r := s.do(t, http.MethodGet, "?match=a", "", nil); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", r.Status)
	}
	if r := s.do(t, http.MethodGet, "?match=a", "", bearer(old(t, "a"))); r.StatusCode != http.StatusOK {
		t.Errorf("%s", r.Status)
	}
}

// event is one that came.
type event struct{ id, kind, data, retry string }

// next reads one event.
func next(t *testing.T, in *bufio.Reader) event {
	t.Helper()
	for {
		var e event
		var data []string
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			line = strings.TrimSuffix(line, "\n")
			if line == "" {
				break
			}
			switch name, value, _ := strings.Cut(line, ": "); name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "retry":
				e.retry = value
			case "data":
				data = append(data, value)
			}
		}
		if data != nil { // without any it is no event
			e.data = strings.Join(data, "\n")
			return e
		}
	}
}

// listen opens a stream.
func (s *stage) listen(t *testing.T, query string, header map[string]string) (*http.Response, *bufio.Reader) {
	t.Helper()
	r := s.do(t, http.MethodGet, query, "", header)
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("%s: %s %s", query, r.Status, b)
	}
	return r, bufio.NewReader(r.Body)
}

func TestEvents(t *testing.T) {
	s := newStage(t, true)
	_, in := s.listen(t, "?match=a&topic=b", nil)
	s.publish(t, "topic=a&data=x&id=urn:1&type=t&retry=12")
	if e := next(t, in); e.kind != "t" || e.data != "x" || e.retry != "12" || !strings.HasPrefix(e.id, "#") {
		t.Errorf("%+v", e)
	}
	s.publish(t, "topic=b") // data is optional
	if e := next(t, in); e.kind != "" || e.data != "" || e.id == "" {
		t.Errorf("%+v", e)
	}
}

// Private updates, live and replayed, by what the token of the moment says.
func TestPrivate(t *testing.T) {
	s := newStage(t, true)
	s.publish(t, "topic=a&data=1&private")
	s.publish(t, "topic=a&data=2")
	for _, c := range []struct {
		token string
		want  []string
	}{
		{"", []string{"2", "end"}},
		{old(t, "a"), []string{"1", "2", "end"}},
		{old(t, "*"), []string{"1", "2", "end"}},
		{old(t, "{x}"), []string{"1", "2", "end"}},
		{old(t, "b"), []string{"2", "end"}},
		{detailed(t, "at+jwt", nil, detail([]string{"subscribe"}, match("a"))), []string{"1", "2", "end"}},
		{detailed(t, "at+jwt", nil, detail([]string{"publish"}, match("a"))), []string{"2", "end"}},
		{detailed(t, "at+jwt", nil, claims{"type": "other"}), []string{"2", "end"}},
	} {
		header := map[string]string{}
		if c.token != "" {
			header = bearer(c.token)
		}
		_, in := s.listen(t, "?match=a&lastEventID=earliest", header)
		got := map[string]bool{next(t, in).data: true}
		for range len(c.want) - 2 {
			got[next(t, in).data] = true
		}
		for _, want := range c.want[:len(c.want)-1] {
			if !got[want] {
				t.Errorf("%v, want %v", got, c.want)
			}
		}
		_, all := s.listen(t, "?match=*", header)
		s.publish(t, "topic=c&data=hush&private")
		s.publish(t, "topic=c&data=end")
		for range 2 {
			e := next(t, all)
			if e.data == "end" {
				break
			}
			if c.token != old(t, "*") && c.token != old(t, "{x}") {
				t.Errorf("%q came", e.data)
			}
		}
	}
}

// The response header tells what was before the first event that is sent.
func TestLastEventID(t *testing.T) {
	s := newStage(t, true)
	first := s.publish(t, "topic=a&data=1")
	second := s.publish(t, "topic=a&data=2&id=urn:2")
	for _, c := range []struct {
		query  string
		header map[string]string
		want   string
		events int
	}{
		{"?match=a", nil, "", 0},
		{"?match=a&lastEventID=" + url.QueryEscape(first), nil, first, 1},
		{"?match=a&lastEventID=" + url.QueryEscape(second), nil, second, 0},
		{"?match=a&lastEventID=urn:2", nil, "urn:2", 0},
		{"?match=a&lastEventID=urn:other", nil, "earliest", 0},
		{"?match=a&lastEventID=%23nonsense", nil, "earliest", 0},
		{"?match=a&lastEventID=earliest", nil, "earliest", 2},
		{"?match=a", map[string]string{"Last-Event-ID": first}, first, 1},
		{"?match=a&lastEventID=earliest", map[string]string{"Last-Event-ID": first}, first, 1},
		{"?match=a&match=new&lastEventID=" + url.QueryEscape(first), nil, first, 1},
		{"?match=*&lastEventID=" + url.QueryEscape(first), nil, "earliest", 0},
	} {
		r, in := s.listen(t, c.query, c.header)
		if got := r.Header.Get("Last-Event-ID"); got != c.want {
			t.Errorf("%s: %q, want %q", c.query, got, c.want)
		}
		for range c.events {
			if e := next(t, in); e.data == "end" {
				t.Errorf("%s: too few", c.query)
			}
		}
	}
	// What has been forgotten is said to be.
	for range 6 {
		s.publish(t, "topic=a&data=x")
	}
	r, in := s.listen(t, "?match=a&lastEventID="+url.QueryEscape(first), nil)
	if got := r.Header.Get("Last-Event-ID"); got != "earliest" {
		t.Errorf("%q", got)
	}
	s.publish(t, "topic=a&data=end")
	for next(t, in).data != "end" {
	}
}

// The id of each event brings the rest of a replay, wherever it is cut.
func TestCutReplay(t *testing.T) {
	s := newStage(t, true)
	first := s.publish(t, "topic=a&data=0")
	_, live := s.listen(t, "?match=a&match=b&lastEventID="+url.QueryEscape(first), nil)
	s.publish(t, "topic=b&data=1")
	at := next(t, live).id
	for _, form := range []string{"topic=a&data=2", "topic=b&data=3", "topic=a&data=4", "topic=b&data=5"} {
		s.publish(t, form)
	}
	seen := map[string]int{}
	for range 4 {
		_, in := s.listen(t, "?match=a&match=b&lastEventID="+url.QueryEscape(at), nil)
		e := next(t, in)
		seen[e.data]++
		at = e.id
	}
	for _, want := range []string{"2", "3", "4", "5"} {
		if seen[want] != 1 {
			t.Errorf("%v", seen)
		}
	}
}

func TestMetadata(t *testing.T) {
	s := newStage(t, true)
	r, err := s.Client().Get(s.URL + mercure.MetadataPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var m struct {
		Resource string   `json:"resource"`
		Methods  []string `json:"bearer_methods_supported"`
		Version  int      `json:"mercure_version"`
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.Resource != s.URL+mercure.Path || m.Version != 8 || len(m.Methods) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}
