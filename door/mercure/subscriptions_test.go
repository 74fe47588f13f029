package mercure_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
	"myelin/door/mercure"
	"myelin/observe"
)

// document is a JSON-LD document about one subscription or some.
type document struct {
	Context       string         `json:"@context"`
	ID            string         `json:"id"`
	Type          string         `json:"type"`
	MatchType     string         `json:"matchType"`
	Match         string         `json:"match"`
	Subscriber    string         `json:"subscriber"`
	Active        bool           `json:"active"`
	Payload       map[string]any `json:"payload"`
	LastEventID   string         `json:"lastEventID"`
	Subscriptions []document     `json:"subscriptions"`
}

func (s *stage) list(t *testing.T, path, token string) (int, *document) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	d := new(document)
	b, _ := io.ReadAll(answer.Body)
	if answer.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, d); err != nil || answer.Header.Get("Content-Type") != "application/ld+json" || !strings.Contains(answer.Header.Get("Link"), `rel="mercure"`) {
			t.Errorf("%s: %v, %v", b, err, answer.Header)
		}
	}
	return answer.StatusCode, d
}

// Subscriptions are told when they begin and end, and listed meanwhile, to those
// whose token names the topics.
func TestSubscriptions(t *testing.T) {
	s := newStageWith(t, mercure.Options{Anonymous: true, Subscriptions: true}, nil)
	const all = mercure.SubscriptionsPath
	watcher := detailed(t, "at+jwt", nil, detail([]string{"subscribe"}, claims{"match": all + "/:type/:match/:who", "matchType": "URLPattern"}, match(all)))
	_, told := s.listen(t, "?matchURLPattern="+all+"/Exact/:match/:who&matchURLPattern="+all+"/URLPattern/:match/:who", bearer(watcher))
	_, strangers := s.listen(t, "?match=*", nil)
	d := detail([]string{"subscribe"}, match("https://e.x/1"))
	d["payload"] = claims{"seat": 7}
	one, _ := s.listen(t, "?match=https://e.x/1&match=https://e.x/1&matchURLPattern=https://e.x/:id", bearer(detailed(t, "at+jwt", claims{"sub": "ann"}, d)))
	var ids []string
	next2 := func(active bool) {
		for _, want := range []document{
			{MatchType: "Exact", Match: "https://e.x/1", Payload: claims{"seat": 7.0}},
			{MatchType: "URLPattern", Match: "https://e.x/:id"},
		} {
			var got document
			for got.MatchType == "" || got.Match == "*" || strings.HasPrefix(got.Match, all) { // those of the listeners
				e := next(t, told)
				if err := json.Unmarshal([]byte(e.data), &got); err != nil {
					t.Fatal(err)
				}
			}
			if got.Context != "https://mercure.rocks/" || got.Type != "Subscription" || got.Active != active || got.MatchType != want.MatchType ||
				got.Match != want.Match || !strings.HasPrefix(got.Subscriber, "ann/") || got.Payload["seat"] != want.Payload["seat"] {
				t.Errorf("%+v", got)
			}
			ids = append(ids, got.ID)
		}
	}
	next2(true)
	if want := all + "/Exact/https%3A%2F%2Fe.x%2F1/ann%2F"; !strings.HasPrefix(ids[0], want) {
		t.Errorf("%s", ids[0])
	}
	if status, d := s.list(t, all, watcher); status != 200 || d.Type != "Subscriptions" || len(d.Subscriptions) != 5 || d.LastEventID != "earliest" || d.ID != all {
		t.Errorf("%d %+v", status, d)
	}
	everything := old(t, "*")
	if status, d := s.list(t, all+"/Exact/https%3A%2F%2Fe.x%2F1", everything); status != 200 || len(d.Subscriptions) != 1 || d.Subscriptions[0].ID != ids[0] {
		t.Errorf("%d %+v", status, d)
	}
	if status, d := s.list(t, ids[0], watcher); status != 200 || !d.Active || d.Context == "" || d.LastEventID == "" {
		t.Errorf("%d %+v", status, d)
	}
	for path, want := range map[string]int{all + "/Exact/x/y": 404, all + "/Exact": 404, all + "/Exact/nobody": 200} {
		if status, d := s.list(t, path, everything); status != want || len(d.Subscriptions) != 0 {
			t.Errorf("%s: %d %+v", path, status, d)
		}
	}
	for token, want := range map[string]int{"": 401, old(t, "https://e.x/{id}"): 403, "nonsense": 401} {
		if status, _ := s.list(t, all, token); status != want {
			t.Errorf("%q: %d", token, status)
		}
	}
	_ = one.Body.Close()
	next2(false)
	if ids[0] != ids[2] || ids[1] != ids[3] {
		t.Errorf("%q", ids)
	}
	if status, _ := s.list(t, ids[0], watcher); status != 404 {
		t.Errorf("%d after its end", status)
	}
	// Nobody else hears of it, nor may say it.
	s.publish(t, "topic=x&data=end")
	if e := next(t, strangers); e.data != "end" {
		t.Errorf("a stranger was told %+v", e)
	}
	if r := s.do(t, http.MethodPost, "", "data=x&topic="+ids[0], bearer(everything)); r.StatusCode != http.StatusForbidden {
		t.Errorf("%s", r.Status)
	}
	// What is told is bounded.
	long := strings.Repeat("x", 200)
	var q strings.Builder
	q.WriteString("?match=" + long)
	for c := 'a'; c < 'z'; c++ {
		q.WriteString("&match=" + string(c) + long)
	}
	if r := s.do(t, http.MethodGet, q.String(), "", nil); r.StatusCode != http.StatusBadRequest || s.Metrics.Limit(observe.LimitTopics).Value() != 1 {
		t.Errorf("%s", r.Status)
	}
}

// A payload is the first that matches, and of revision 7 for all; one that is
// no object spoils the token.
func TestPayloads(t *testing.T) {
	s := newStageWith(t, mercure.Options{Anonymous: true, Subscriptions: true}, nil)
	bad := detail([]string{"subscribe"}, match("*"))
	bad["payload"] = "text"
	if r := s.do(t, http.MethodGet, "?match=a", "", bearer(detailed(t, "at+jwt", nil, bad))); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", r.Status)
	}
	narrow, wide := detail([]string{"subscribe"}, match("a")), detail([]string{"subscribe"}, match("*"))
	narrow["payload"], wide["payload"] = claims{"n": 1}, claims{"n": 2}
	s.listen(t, "?match=a&match=b", bearer(detailed(t, "at+jwt", claims{"exp": conversationtest.In(100e9)}, narrow, wide)))
	s.listen(t, "?topic=c{d}", bearer(jwt(t, "JWT", claims{"mercure": claims{"payload": claims{"n": 3}}})))
	_, d := s.list(t, mercure.SubscriptionsPath, old(t, "*"))
	got := map[string]any{}
	for _, sub := range d.Subscriptions {
		got[sub.MatchType+" "+sub.Match] = sub.Payload["n"]
	}
	if len(got) != 3 || got["Exact a"] != 1.0 || got["Exact b"] != 2.0 || got["URITemplate c{d}"] != 3.0 {
		t.Errorf("%v", got)
	}
}
