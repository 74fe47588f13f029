package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"myelin/bench"
)

func TestCompareMergesRuns(t *testing.T) {
	dir := t.TempDir()
	for file, runs := range map[string][]float64{"a.idle.1": {1}, "a.idle.2": {3}, "b.idle.1": {4}} {
		m := bench.Metric{Name: "rss_per_connection", Unit: "B", Runs: runs}
		b, err := json.Marshal(&bench.Report{Scenario: bench.Idle, Metrics: []bench.Metric{m}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file+".json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.json")
	if err := compare(dir, []string{"a", "b"}, out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []bench.Subject
	if err := json.Unmarshal(b, &subjects); err != nil {
		t.Fatal(err)
	}
	if len(subjects) != 2 || len(subjects[0].Reports) != 1 || subjects[0].Reports[0].Metrics[0].Median != 2 {
		t.Errorf("merged is %s", b)
	}
	if err := compare(dir, []string{"a", "nobody"}, ""); err == nil {
		t.Error("compared with nobody")
	}
}
