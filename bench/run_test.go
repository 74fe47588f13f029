//go:build linux

package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"myelin/bench"
	"myelin/bench/swarm"
)

// small is a scenario that takes a moment.
func small(scenario, url string) bench.Options {
	return bench.Options{
		Scenario: scenario, URL: url, PID: os.Getpid(), Connections: 6, Publications: 30, Repeat: 2,
		Rate: 1000, Duration: time.Millisecond, Settle: time.Millisecond, Down: 5 * time.Millisecond,
	}
}

func TestScenarios(t *testing.T) {
	defer goleak.VerifyNone(t)
	shown := map[string]string{
		bench.Idle:    "rss_per_connection",
		bench.Fanout:  "server_cpu_per_delivery",
		bench.Latency: "latency_p99",
		bench.Many:    "server_cpu_per_publication",
		bench.Storm:   "time_to_all_recovered",
		bench.Floor:   "cpu_per_delivery_joined",
	}
	for _, scenario := range bench.Scenarios() {
		for _, protobuf := range []bool{false, true} {
			for _, loops := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s/protobuf=%v/loops=%d", scenario, protobuf, loops), func(t *testing.T) {
					_, url := startMini(t, conduct{})
					o := small(scenario, url)
					o.Protobuf, o.Loops = protobuf, loops
					report, err := bench.Run(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					m, ok := report.Metric(shown[scenario])
					if !ok || len(m.Runs) != 2 {
						t.Fatalf("%s is %+v, want a value for each of 2 runs; all: %+v", shown[scenario], m, report.Metrics)
					}
				})
			}
		}
	}
}

// TestWellBehaved has servers that do what they may.
func TestWellBehaved(t *testing.T) {
	for name, c := range map[string]conduct{
		"fragments and control frames": {fragments: true},
		"pings":                        {pings: true},
		"publications of others":       {foreign: true},
	} {
		for _, protobuf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/protobuf=%v", name, protobuf), func(t *testing.T) {
				server, url := startMini(t, c)
				o := small(bench.Fanout, url)
				o.Repeat, o.Protobuf = 1, protobuf
				if _, err := bench.Run(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				// The last deliveries may not have been answered yet.
				if least := o.Publications * o.Connections; c.pings && server.pongs() < least {
					t.Errorf("%d pongs for more than %d pings", server.pongs(), least)
				}
			})
		}
	}
}

// TestMoreThanTheSocketsTake publishes so much at once that the publisher has
// to wait for the server.
func TestMoreThanTheSocketsTake(t *testing.T) {
	_, url := startMini(t, conduct{})
	o := small(bench.Fanout, url)
	o.Connections, o.Publications, o.Repeat, o.Size, o.Outstanding = 2, 64, 1, swarm.MaxMessage/2, 64
	if _, err := bench.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// TestWrongDeliveries has servers that must not get away with it.
func TestWrongDeliveries(t *testing.T) {
	const victim, offset = 3, 20
	copiesAt := func(offset uint64, copies int) func(int, uint64) int {
		return func(subscriber int, o uint64) int {
			if subscriber == victim && o == offset {
				return copies
			}
			return 1
		}
	}
	one := func(copies int) func(int, uint64) int { return copiesAt(offset, copies) }
	const last = 30/10 + 1 + 30 // the warm-up comes before the publications
	for name, row := range map[string]struct {
		scenario string
		conduct  conduct
		want     string
	}{
		"lost":          {bench.Fanout, conduct{copies: one(0)}, "1 deliveries were lost"},
		"twice":         {bench.Fanout, conduct{copies: one(2)}, "1 deliveries came twice or out of order"},
		"last twice":    {bench.Fanout, conduct{copies: copiesAt(last, 2)}, "1 deliveries came twice or out of order"},
		"out of order":  {bench.Fanout, conduct{swap: offset}, "6 deliveries came twice or out of order"},
		"slow and lost": {bench.Latency, conduct{copies: one(0)}, "1 deliveries were lost"},
		"many twice":    {bench.Many, conduct{copies: func(_ int, o uint64) int { return 1 + int(o)/4 }}, "came twice"},
		"forgotten":     {bench.Storm, conduct{forgets: true}, "6 subscriptions could not recover"},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := startMini(t, row.conduct)
			o := small(row.scenario, url)
			o.Repeat = 1
			report, err := bench.Run(t.Context(), o)
			incorrect, ok := errors.AsType[*bench.Incorrect](err)
			if !ok || !strings.Contains(incorrect.Error(), row.want) {
				t.Fatalf("error is %v, want %q", err, row.want)
			}
			if report == nil || len(report.Metrics) == 0 || len(report.Failures) == 0 {
				t.Errorf("report is %+v, want figures and failures", report)
			}
			if row.conduct.forgets && strings.Contains(err.Error(), "were lost") {
				t.Errorf("error is %v: what the server told is not lost", err)
			}
		})
	}
}

func TestRunsThatCannotBeMeasured(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, row := range map[string]struct {
		scenario string
		conduct  conduct
		url      string
		want     string
	}{
		"connect refused":   {bench.Idle, conduct{refuse: "connect"}, "", `refused connect: code 103 "permission denied"`},
		"subscribe refused": {bench.Idle, conduct{refuse: "subscribe"}, "", `refused subscribe: code 103`},
		"publish refused":   {bench.Fanout, conduct{refuse: "publish"}, "", `refused publish: code 103`},
		"too many requests": {bench.Fanout, conduct{refuse: "publish", throttles: true}, "", "must allow one connection more commands"},
		"disconnected":      {bench.Fanout, conduct{endAt: 7}, "", `code 3012 "no reason"`},
		"wrong channel":     {bench.Many, conduct{misroutes: true}, "", "to a subscriber of another channel"},
		"not recoverable":   {bench.Storm, conduct{volatile: true}, "", "is not recoverable"},
		"tail lost":         {bench.Fanout, conduct{copies: func(_ int, o uint64) int { return min(1, max(0, 20-int(o))) }}, "", "nothing happened for"},
		"no WebSocket":      {bench.Idle, conduct{}, strings.Replace(web.URL, "http", "ws", 1), "404"},
		"nobody":            {bench.Idle, conduct{}, "ws://127.0.0.1:1/", "connection refused"},
		"TLS":               {bench.Idle, conduct{}, "wss://127.0.0.1/", "want ws://"},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := startMini(t, row.conduct)
			if row.url != "" {
				url = row.url
			}
			o := small(row.scenario, url)
			o.Stall = 100 * time.Millisecond
			report, err := bench.Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("error is %v, want %q", err, row.want)
			}
			if report == nil {
				t.Error("no report beside the error")
			}
		})
	}
}

func TestErrorsAreTyped(t *testing.T) {
	_, url := startMini(t, conduct{endAt: 1})
	_, err := bench.Run(t.Context(), small(bench.Fanout, url))
	if gone, ok := errors.AsType[*swarm.Disconnected](err); !ok || gone.Code != 3012 {
		t.Errorf("error is %v, want a disconnect with code 3012", err)
	}
	_, url = startMini(t, conduct{refuse: "subscribe"})
	_, err = bench.Run(t.Context(), small(bench.Fanout, url))
	if refused, ok := errors.AsType[*swarm.Refused](err); !ok || refused.Code != 103 || refused.Command != "subscribe" {
		t.Errorf("error is %v, want a refused subscribe", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	_, url := startMini(t, conduct{})
	o := small(bench.Idle, url)
	o.Settle = time.Hour
	enough := errors.New("enough")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(enough)
	if _, err := bench.Run(ctx, o); !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the context's", err)
	}
}

func TestWithoutPID(t *testing.T) {
	_, url := startMini(t, conduct{})
	o := small(bench.Fanout, url)
	o.PID = 0
	report, err := bench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := report.Metric("server_cpu_per_delivery"); ok || len(report.Notes) == 0 {
		t.Errorf("report is %+v, want no server metrics and a note why", report)
	}
}

func TestOptionErrors(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*bench.Options)
		want   string
	}{
		"scenario":    {func(o *bench.Options) { o.Scenario = "faster" }, `scenario is "faster": want idle, fanout`},
		"connections": {func(o *bench.Options) { o.Connections = 18_001 }, "connections is 18001: want 1 to 18000"},
		"size":        {func(o *bench.Options) { o.Size = 63 }, "size is 63: want 64 to"},
		"outstanding": {func(o *bench.Options) { o.Outstanding = -1 }, "outstanding is -1: want 1 to 65536"},
		"channels":    {func(o *bench.Options) { o.Connections, o.Channels = 10, 3 }, "channels is 3: want a divisor of the 10 connections"},
		"rate":        {func(o *bench.Options) { o.Rate = -5 }, "rate is -5"},
		"duration":    {func(o *bench.Options) { o.Duration = 2 * time.Hour }, "duration is 2h0m0s: want 0s to 1h"},
		"pid":         {func(o *bench.Options) { o.PID = -1 }, "pid is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := bench.Options{Scenario: bench.Fanout}
			row.change(&o)
			report, err := bench.Run(t.Context(), o)
			if _, ok := errors.AsType[*bench.OptionError](err); !ok || !strings.Contains(err.Error(), row.want) || report != nil {
				t.Errorf("report %v, error %v, want %q", report, err, row.want)
			}
		})
	}
}
