package bench_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myelin/bench"
)

var update = flag.Bool("update", false, "write the goldens")

func sample(runs ...float64) *bench.Report {
	merged, err := bench.Merge(&bench.Report{
		Scenario: bench.Fanout, Server: "peer", URL: "ws://127.0.0.1:8100/connection/websocket", Encoding: "json",
		Started:  time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Machine:  bench.Machine{OS: "linux", Arch: "amd64", Kernel: "6.18", CPUs: 2, Congestion: "bbr", Load: "0.10"},
		Settings: []bench.Setting{{Name: "connections", Value: "500"}, {Name: "bytes", Value: "128"}},
		Metrics: []bench.Metric{
			{Name: "server_cpu_per_delivery", Unit: "µs", Runs: runs},
			{Name: "lost", Runs: []float64{0, 0, 0}},
		},
		Notes:    []string{"a note"},
		Failures: []string{"3 deliveries were lost"},
	})
	if err != nil {
		panic(err)
	}
	return merged
}

func TestReportGoldens(t *testing.T) {
	report := sample(3.5, 3.25, 4)
	var table, encoded strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&encoded); err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{"report.txt": table.String(), "report.json": encoded.String()} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs (go test ./bench -update rewrites it); got:\n%s", path, got)
		}
	}
	var back bench.Report
	if err := json.Unmarshal([]byte(encoded.String()), &back); err != nil {
		t.Fatal(err)
	}
	if m, ok := back.Metric("server_cpu_per_delivery"); !ok || m.Median != 3.5 || m.Min != 3.25 || m.Max != 4 {
		t.Errorf("read back %+v", m)
	}
}

func TestMerge(t *testing.T) {
	merged, err := bench.Merge(sample(1), sample(5, 3))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := merged.Metric("server_cpu_per_delivery")
	if m.Median != 3 || m.Min != 1 || m.Max != 5 || len(m.Runs) != 3 {
		t.Errorf("merged is %+v", m)
	}
	if len(merged.Notes) != 1 || len(merged.Failures) != 2 {
		t.Errorf("notes %q and failures %q, want the one note once and both failures", merged.Notes, merged.Failures)
	}
	if _, err := bench.Merge(sample(1), &bench.Report{Scenario: bench.Idle}); err == nil {
		t.Error("reports on different scenarios were merged")
	}
	if _, err := bench.Merge(); err == nil {
		t.Error("nothing was merged")
	}
}

func TestMedianAndSpread(t *testing.T) {
	for _, row := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{4}, 4, 0},
		{[]float64{5, 1, 4}, 4, 1},
		{[]float64{4, 1, 3, 2}, 2.5, 1.2},
		{[]float64{0, 0}, 0, 0},
	} {
		if got := bench.MedianOf(row.values); got != row.median {
			t.Errorf("median of %v is %v, want %v", row.values, got, row.median)
		}
		if got := bench.SpreadOf(row.values); got != row.spread {
			t.Errorf("spread of %v is %v, want %v", row.values, got, row.spread)
		}
	}
}

func TestNumbersInTables(t *testing.T) {
	for want, runs := range map[string][]float64{
		"3  3  3":                   {3},
		"3.46  3.40  4.00":          {3.456, 3.4, 4},
		"34.6  1.0  1000.0":         {34.56, 1, 1000},
		"346  346  346":             {345.6},
		"0.0123  0.0123  0.0123":    {0.0123},
		"1234568  1234568  1234568": {1234567.8},
	} {
		var table strings.Builder
		if err := sample(runs...).WriteTable(&table); err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(table.String(), "cpu per delivery")
		if got := strings.Fields(line)[:3]; strings.Join(got, "  ") != want {
			t.Errorf("%v are %q, want %q", runs, got, want)
		}
	}
}
