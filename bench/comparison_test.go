package bench_test

import (
	"strings"
	"testing"

	"myelin/bench"
)

func TestComparison(t *testing.T) {
	floor := &bench.Report{Scenario: bench.Floor, Metrics: []bench.Metric{
		{Name: "cpu_per_delivery_single", Unit: "µs", Runs: []float64{7}},
		{Name: "cpu_per_delivery_joined", Unit: "µs", Runs: []float64{1}},
	}}
	floor, err := bench.Merge(floor)
	if err != nil {
		t.Fatal(err)
	}
	right := sample(1.75)
	right.Failures = nil
	var b strings.Builder
	err = bench.WriteComparison(
		&b,
		bench.Subject{Name: "ours", Reports: []*bench.Report{right}},
		bench.Subject{Name: "theirs", Reports: []*bench.Report{sample(3.5, 3, 4)}},
		bench.Subject{Name: "bare", Reports: []*bench.Report{floor}},
	)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"ours/theirs",
		"server cpu per delivery µs 1 1.75 (0%) 3.50 (29%) 0.50",
		"floor single = 1: ours 0.25 theirs 0.50",
		"floor joined = 1: ours 1.75 theirs 3.50",
		"WRONG: theirs: 3 deliveries were lost",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
