package observe_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"myelin/observe"
)

// scrape returns what the handler of m answers.
func scrape(t *testing.T, m *observe.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// own returns the sample lines of Myelin's own metrics.
func own(page string) []string {
	var lines []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "myelin_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// wantLine fails unless the page has the line.
func wantLine(t *testing.T, page, line string) {
	t.Helper()
	if !strings.Contains("\n"+page, "\n"+line+"\n") {
		t.Errorf("no line %q in:\n%s", line, strings.Join(own(page), "\n"))
	}
}

func TestEveryMetricIsScraped(t *testing.T) {
	m := observe.New()
	useAll(m)
	page := scrape(t, m)
	for _, row := range observe.Table() {
		if !strings.Contains(page, "# TYPE "+row.Name+" "+string(row.Type)+"\n") {
			t.Errorf("%s is not scraped as a %s", row.Name, row.Type)
		}
		if !strings.Contains(page, "# HELP "+row.Name+" "+row.Help+"\n") {
			t.Errorf("%s has no help or another one", row.Name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(page, "# TYPE "+name+" ") {
			t.Errorf("%s is not scraped", name)
		}
	}
}

// useAll adds to each counter of m a number that only it gets.
func useAll(m *observe.Metrics) {
	ns := m.Namespace("chat")
	for i, c := range []*observe.Counter{
		ns.Published, ns.Delivered, ns.Duplicates, ns.Joins, ns.Leaves,
		ns.Recovered, ns.Unrecovered, ns.PositionFailures, ns.Repairs,
	} {
		c.Add(int64(i + 1))
	}
	ns.Channels.Set(10)
	ns.Subscriptions.Add(12)
	ns.Subscriptions.Dec()
	m.PublishSeconds("chat").Observe(0.003)
	cs := m.Consumers("chat")
	for i, c := range []*observe.Counter{cs.Acked, cs.Redelivered, cs.DeadLettered, cs.Expired, cs.Lost, cs.Refused} {
		c.Add(int64(60 + i))
	}
	for i, g := range []*observe.Gauge{cs.Consumers, cs.Pending, cs.Unacked, cs.OldestSeconds} {
		g.Set(int64(70 + i))
	}
	d := m.Door("sse")
	d.Connections.Inc()
	for i, c := range []*observe.Counter{d.Opened, d.BytesIn, d.BytesOut, d.Refused} {
		c.Add(int64(20 + i))
	}
	m.Command("publish").Add(30)
	m.Reply(103).Add(31)
	m.Disconnect(3000).Add(32)
	m.Limit(observe.LimitQueue).Add(33)
	m.Slow("conflate").Inc()
	m.Expired("backlog").Inc()
	a := m.API("publish")
	a.Requests.Add(34)
	a.Errors.Add(35)
	a.Observe(20)
	h := m.Hub()
	for i, c := range []*observe.Counter{h.Writes, h.WriteBytes, h.Joined, h.PingsSent, h.SlowDisconnects} {
		c.Add(int64(40 + i))
	}
	h.Sessions.Set(45)
	h.InboxDepth.Set(46)
	useHooks(m)
	m.Info("1.2.3", "memory")
}

func useHooks(m *observe.Metrics) {
	k, w := m.Hook("connect"), m.Webhook("backend")
	for i, c := range []*observe.Counter{k.Failures, k.Refused, k.Allowed, w.Delivered, w.Failures, w.Dead, w.Lost} {
		c.Add(int64(80 + i))
	}
	for i, g := range []*observe.Gauge{k.Open, w.Waiting, w.Oldest} {
		g.Set(int64(90 + i))
	}
	k.Observe(0.02)
}

func TestValuesReachTheirMetric(t *testing.T) {
	m := observe.New()
	useAll(m)
	page := scrape(t, m)
	for _, line := range []string{
		`myelin_build_info{engine="memory",version="1.2.3"} 1`,
		`myelin_publications_total{namespace="chat"} 1`,
		`myelin_deliveries_total{namespace="chat"} 2`,
		`myelin_duplicates_total{namespace="chat"} 3`,
		`myelin_joins_total{namespace="chat"} 4`,
		`myelin_leaves_total{namespace="chat"} 5`,
		`myelin_recovered_total{namespace="chat"} 6`,
		`myelin_unrecovered_total{namespace="chat"} 7`,
		`myelin_position_failures_total{namespace="chat"} 8`,
		`myelin_repairs_total{namespace="chat"} 9`,
		`myelin_channels{namespace="chat"} 10`,
		`myelin_subscriptions{namespace="chat"} 11`,
		`myelin_publish_duration_seconds_bucket{namespace="chat",le="0.0025"} 0`,
		`myelin_publish_duration_seconds_bucket{namespace="chat",le="0.005"} 1`,
		`myelin_publish_duration_seconds_bucket{namespace="chat",le="10"} 1`,
		`myelin_publish_duration_seconds_sum{namespace="chat"} 0.003`,
		`myelin_publish_duration_seconds_count{namespace="chat"} 1`,
		`myelin_door_connections{door="sse"} 1`,
		`myelin_door_opened_total{door="sse"} 20`,
		`myelin_door_received_bytes_total{door="sse"} 21`,
		`myelin_door_sent_bytes_total{door="sse"} 22`,
		`myelin_door_refused_total{door="sse"} 23`,
		`myelin_commands_total{command="publish"} 30`,
		`myelin_error_replies_total{code="103"} 31`,
		`myelin_disconnects_total{code="3000"} 32`,
		`myelin_limit_hits_total{limit="queue"} 33`,
		`myelin_api_requests_total{method="publish"} 34`,
		`myelin_api_errors_total{method="publish"} 35`,
		`myelin_api_duration_seconds_bucket{method="publish",le="10"} 0`,
		`myelin_api_duration_seconds_bucket{method="publish",le="+Inf"} 1`,
		`myelin_api_duration_seconds_sum{method="publish"} 20`,
		`myelin_hub_writes_total 40`,
		`myelin_hub_written_bytes_total 41`,
		`myelin_hub_joined_frames_total 42`,
		`myelin_hub_pings_sent_total 43`,
		`myelin_hub_slow_disconnects_total 44`,
		`myelin_hub_sessions 45`,
		`myelin_hub_inbox_depth 46`,
	} {
		wantLine(t, page, line)
	}
}

func TestSameQuestionSameCounter(t *testing.T) {
	m := observe.New()
	ask := func() []any {
		return []any{
			m.Namespace("a"), m.Door("a"), m.API("info"), m.Command("rpc"), m.Reply(100), m.Hub(),
			m.Disconnect(3001), m.Limit("x"), m.PublishSeconds("a"),
		}
	}
	if !slices.Equal(ask(), ask()) {
		t.Error("asking twice gave two counters")
	}
	if m.Namespace("a") == m.Namespace("b") || m.Command("rpc") == m.Command("send") || m.Reply(100) == m.Reply(101) {
		t.Error("asking for two things gave one counter")
	}
}

func TestInfoIsReplaced(t *testing.T) {
	m := observe.New()
	m.Info("1", "memory")
	m.Info("2", "disk")
	page := scrape(t, m)
	wantLine(t, page, `myelin_build_info{engine="disk",version="2"} 1`)
	if strings.Contains(page, `version="1"`) {
		t.Error("the first answer is still there")
	}
}

func TestNilCountsNothing(t *testing.T) {
	var m *observe.Metrics
	useAll(m)
	var (
		c *observe.Counter
		g *observe.Gauge
		h *observe.Histogram
		a *observe.APIMethod
	)
	c.Inc()
	g.Inc()
	h.Observe(1)
	a.Observe(1)
	if c.Value() != 0 || g.Value() != 0 || h.Count() != 0 {
		t.Error("a nil value counted")
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("nil metrics answered %d, want 404", w.Code)
	}
}

func TestCounterDoesNotGoDown(t *testing.T) {
	var c observe.Counter
	c.Add(5)
	c.Add(-3)
	c.Add(0)
	if c.Value() != 5 {
		t.Errorf("%d, want 5", c.Value())
	}
}

func TestHistogramEdges(t *testing.T) {
	m := observe.New()
	h := m.PublishSeconds("a")
	nan, inf := 0.0, 1.0
	nan, inf = nan/nan, inf/nan
	for _, v := range []float64{-1, nan, 0, 10e-6, 10, 10.1, inf} {
		h.Observe(v)
	}
	page := scrape(t, m)
	// The bound belongs to its bucket.
	wantLine(t, page, `myelin_publish_duration_seconds_bucket{namespace="a",le="1e-05"} 4`)
	wantLine(t, page, `myelin_publish_duration_seconds_bucket{namespace="a",le="5"} 4`)
	wantLine(t, page, `myelin_publish_duration_seconds_bucket{namespace="a",le="10"} 5`)
	wantLine(t, page, `myelin_publish_duration_seconds_count{namespace="a"} 7`)
	wantLine(t, page, `myelin_publish_duration_seconds_sum{namespace="a"} 1.00002010001e+06`)
}

func TestUnknownIsOther(t *testing.T) {
	m := observe.New()
	m.Command("no such").Inc()
	m.Command("").Inc()
	m.API("no such").Requests.Inc()
	for _, code := range []uint32{0, 99, 164, 999, 1064, 1999, 1 << 31} {
		m.Reply(code).Inc()
	}
	for _, code := range []uint32{0, 2999, 3064, 3499, 3564, 4000} {
		m.Disconnect(code).Inc()
	}
	page := scrape(t, m)
	wantLine(t, page, `myelin_commands_total{command="other"} 2`)
	wantLine(t, page, `myelin_api_requests_total{method="other"} 1`)
	wantLine(t, page, `myelin_error_replies_total{code="other"} 7`)
	wantLine(t, page, `myelin_disconnects_total{code="other"} 6`)
}

func TestEveryLabelIsBounded(t *testing.T) {
	m := observe.New()
	// A name that looks like the rest is the rest, not a second series.
	m.Namespace("other").Published.Inc()
	m.Door("other").Opened.Inc()
	for _, command := range []string{
		"connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats",
		"history", "ping", "send", "rpc", "refresh", "sub_refresh",
	} {
		m.Command(command).Inc()
	}
	for _, method := range []string{
		"publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh",
		"presence", "presence_stats", "history", "history_remove", "channels", "info", "batch",
		"consumer_create", "consumer_list", "consumer_info", "consumer_seek", "consumer_delete", "consumer_ack", "append",
		"revoke", "block", "unblock", "blocks",
		"explain", "tail", "connections", "limits",
		"state_set", "state_remove", "state_get", "state_list",
	} {
		m.API(method).Requests.Inc()
	}
	for _, rule := range []string{"disconnect", "conflate", "drop_oldest", "resync"} {
		m.Slow(rule).Inc()
	}
	for _, queue := range []string{"publish", "inbox", "waiting", "paced", "backlog", "recovery", "history"} {
		m.Expired(queue).Inc()
	}
	for i := range 3000 {
		name := "name" + strconv.Itoa(i)
		m.Namespace(name).Published.Inc()
		m.PublishSeconds(name).Observe(1)
		m.Door(name).Opened.Inc()
		m.Limit(name).Inc()
		m.Slow(name).Inc()
		m.Expired(name).Inc()
		m.Hook(name).Failures.Inc()
		m.Webhook(name).Delivered.Inc()
		m.Command(name).Inc()
		m.API(name).Requests.Inc()
		m.Info(name, name)
	}
	for code := range uint32(6000) {
		m.Reply(code).Inc()
		m.Disconnect(code).Inc()
	}

	page := scrape(t, m)
	seen := labelValues(page)
	for _, l := range observe.Labels() {
		reached := false
		for of, values := range seen {
			if !strings.HasSuffix(of, "{"+l.Name) {
				continue
			}
			if len(values) > l.Max {
				t.Errorf("%s} has %d values, its bound is %d", of, len(values), l.Max)
			}
			reached = reached || len(values) == l.Max
		}
		if !reached {
			t.Errorf("no metric has all %d values of the label %s: the flood did not reach the bound", l.Max, l.Name)
		}
	}
	wantLine(t, page, `myelin_publications_total{namespace="other"} `+strconv.Itoa(3000-observe.MaxNamespaces+1))
}

// labelValues returns the set of values of each metric{label of a page.
func labelValues(page string) map[string]map[string]bool {
	seen := make(map[string]map[string]bool)
	label := regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	for _, line := range own(page) {
		name, _, _ := strings.Cut(line, "{")
		for _, match := range label.FindAllStringSubmatch(line, -1) {
			of := name + "{" + match[1]
			if match[1] == "le" {
				continue
			}
			if seen[of] == nil {
				seen[of] = make(map[string]bool)
			}
			seen[of][match[2]] = true
		}
	}
	return seen
}

func TestLabelValuesAreMadeUTF8(t *testing.T) {
	m := observe.New()
	m.Namespace("a\xff").Published.Inc()
	m.Namespace("a\xfe").Published.Inc()
	m.Namespace("q\"\n").Published.Inc()
	page := scrape(t, m)
	wantLine(t, page, `myelin_publications_total{namespace="a`+"\uFFFD"+`"} 2`)
	wantLine(t, page, `myelin_publications_total{namespace="q\"\n"} 1`)
}

func TestConcurrentUse(t *testing.T) {
	m := observe.New()
	const workers, rounds = 8, 200
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				name := strconv.Itoa(i % 7)
				m.Namespace(name).Published.Inc()
				m.Reply(uint32(i)).Inc()
				m.PublishSeconds(name).Observe(0.001)
				m.Info(name, name)
				m.Hub().Writes.Inc()
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
		}
	})
	wg.Wait()
	if got := m.Hub().Writes.Value(); got != workers*rounds {
		t.Errorf("%d writes, want %d", got, workers*rounds)
	}
	var published, observed int64
	for i := range 7 {
		published += m.Namespace(strconv.Itoa(i)).Published.Value()
		observed += m.PublishSeconds(strconv.Itoa(i)).Count()
	}
	if published != workers*rounds || observed != workers*rounds {
		t.Errorf("%d published, %d observed, want %d", published, observed, workers*rounds)
	}
}

func TestAddingDoesNotAllocate(t *testing.T) {
	m := observe.New()
	ns, h := m.Namespace("a"), m.PublishSeconds("a")
	m.Reply(103)
	m.Command("publish")
	if n := testing.AllocsPerRun(100, func() {
		ns.Published.Inc()
		h.Observe(0.01)
		m.Reply(103).Inc()
		m.Command("publish").Inc()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
