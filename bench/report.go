package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what the runs of one scenario came to.
type Report struct {
	Scenario string    `json:"scenario"`
	Server   string    `json:"server,omitempty"` // the process's name
	URL      string    `json:"url,omitempty"`
	Encoding string    `json:"encoding"`
	Started  time.Time `json:"started"`
	Machine  Machine   `json:"machine"`
	Settings []Setting `json:"settings"`
	Metrics  []Metric  `json:"metrics"`
	// Notes say what limits the figures, such as a missing pid.
	Notes []string `json:"notes,omitempty"`
	// Failures say what was delivered wrongly; none is the rule.
	Failures []string `json:"failures,omitempty"`
}

// Setting is one option as it was used.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Metric is one measured quantity.
type Metric struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Median, Min, Max and Spread ((max-min)/median) are over the runs.
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Spread float64 `json:"spread"`
	// Runs has the value of each run, in order.
	Runs []float64 `json:"runs"`
}

// Metric returns the metric with that name.
func (r *Report) Metric(name string) (m Metric, ok bool) {
	i := slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return r.Metrics[i], true
}

// WriteTable prints the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Scenario)
	if r.Server != "" {
		fmt.Fprintf(&b, " of %s", r.Server)
	}
	if r.URL != "" {
		fmt.Fprintf(&b, " at %s (%s)", r.URL, r.Encoding)
	}
	b.WriteString("\n")
	for i, s := range r.Settings {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", s.Name, s.Value)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Machine)

	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tmedian\tmin\tmax\tspread\tunit\t")
	for _, m := range r.Metrics {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0f%%\t%s\t\n", strings.ReplaceAll(m.Name, "_", " "),
			m.number(m.Median), m.number(m.Min), m.number(m.Max), 100*m.Spread, m.Unit)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	for _, failure := range r.Failures {
		fmt.Fprintf(&b, "WRONG: %s\n", failure)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON prints the report for programs, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// ErrNoReport says that there is nothing to merge.
var ErrNoReport = errors.New("no report to merge")

// Merge joins the runs of several reports on the same scenario and server, as
// when a server is started afresh for each run.
func Merge(reports ...*Report) (*Report, error) {
	if len(reports) == 0 {
		return nil, ErrNoReport
	}
	merged := *reports[0]
	merged.Metrics = nil
	merged.Notes, merged.Failures = nil, nil
	collected := samples{}
	for _, r := range reports {
		if r.Scenario != merged.Scenario {
			return nil, fmt.Errorf("reports on %s and %s cannot be merged", merged.Scenario, r.Scenario)
		}
		for _, m := range r.Metrics {
			collected.add(m.Name, m.Unit, m.Runs...)
		}
		for _, note := range r.Notes {
			if !slices.Contains(merged.Notes, note) {
				merged.Notes = append(merged.Notes, note)
			}
		}
		merged.Failures = append(merged.Failures, r.Failures...)
	}
	merged.Metrics = collected.metrics()
	return &merged, nil
}

// samples collects values by name, in the order of their first appearance.
type samples struct {
	list []Metric
}

func (s *samples) add(name, unit string, values ...float64) {
	i := slices.IndexFunc(s.list, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		i = len(s.list)
		s.list = append(s.list, Metric{Name: name, Unit: unit})
	}
	s.list[i].Runs = append(s.list[i].Runs, values...)
}

// metrics sums the samples up.
func (s *samples) metrics() []Metric {
	for i := range s.list {
		m := &s.list[i]
		m.Median, m.Spread = median(m.Runs), spread(m.Runs)
		m.Min, m.Max = slices.Min(m.Runs), slices.Max(m.Runs)
	}
	return s.list
}

// number formats a value of the metric: with three digits of the median, or
// without decimals where all values are whole.
func (m *Metric) number(v float64) string {
	whole := func(v float64) bool { return v == math.Trunc(v) }
	size := math.Abs(m.Median)
	decimals := 2
	switch {
	case size >= 100 || whole(m.Median) && whole(m.Min) && whole(m.Max):
		decimals = 0
	case size >= 10:
		decimals = 1
	case size < 0.1:
		decimals = 4
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
