package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Subject is one server with the reports on it, at most one per scenario.
type Subject struct {
	Name    string    `json:"name"`
	Reports []*Report `json:"reports"`
}

// report returns the subject's report on a scenario, or nil.
func (s *Subject) report(scenario string) *Report {
	for _, r := range s.Reports {
		if r.Scenario == scenario {
			return r
		}
	}
	return nil
}

// metric returns a median, and whether there is one.
func (s *Subject) metric(scenario, name string) (m Metric, ok bool) {
	if r := s.report(scenario); r != nil {
		return r.Metric(name)
	}
	return Metric{}, false
}

// WriteComparison prints, scenario by scenario, what the reports on all
// subjects have in common: medians, in brackets their spread, and the ratio of
// the first subject to each of the others. A report on the floor among them
// becomes the measure of every delivery's CPU.
func WriteComparison(w io.Writer, subjects ...Subject) error {
	var b strings.Builder
	for _, scenario := range Scenarios() {
		var measured []Subject
		for _, s := range subjects {
			if s.report(scenario) != nil {
				measured = append(measured, s)
			}
		}
		if len(measured) == 0 {
			continue
		}
		if err := compareScenario(&b, scenario, measured); err != nil {
			return err
		}
		if scenario == Fanout {
			compareToFloor(&b, measured, subjects)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// compareScenario prints one scenario's table.
func compareScenario(b *strings.Builder, scenario string, subjects []Subject) error {
	first := subjects[0].report(scenario)
	fmt.Fprint(b, scenario)
	for _, s := range first.Settings {
		if s.Name != "runs" { // of one report; the figures are of several
			fmt.Fprintf(b, ", %s %s", s.Name, s.Value)
		}
	}
	fmt.Fprintf(b, "\n%s\n", first.Machine)
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\tunit\truns\t")
	for _, s := range subjects {
		fmt.Fprintf(table, "%s\t\t", s.Name)
	}
	for _, s := range subjects[1:] {
		fmt.Fprintf(table, "%s/%s\t", subjects[0].Name, s.Name)
	}
	fmt.Fprintln(table)
	for _, own := range first.Metrics {
		fmt.Fprintf(table, "%s\t%s\t%d\t", strings.ReplaceAll(own.Name, "_", " "), own.Unit, len(own.Runs))
		var ratios strings.Builder
		for i, s := range subjects {
			m, ok := s.metric(scenario, own.Name)
			if !ok {
				fmt.Fprint(table, "-\t\t")
				ratios.WriteString("-\t")
				continue
			}
			fmt.Fprintf(table, "%s\t(%.0f%%)\t", m.number(m.Median), 100*m.Spread)
			if i > 0 {
				ratios.WriteString(ratio(own.Median, m.Median) + "\t")
			}
		}
		fmt.Fprintln(table, ratios.String())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range subjects {
		for _, failure := range s.report(scenario).Failures {
			fmt.Fprintf(b, "WRONG: %s: %s\n", s.Name, failure)
		}
	}
	return nil
}

// compareToFloor holds the fan-out of each server against the bare write loop.
func compareToFloor(b *strings.Builder, measured, subjects []Subject) {
	for _, floor := range subjects {
		for _, name := range []string{"single", "joined"} {
			bare, ok := floor.metric(Floor, "cpu_per_delivery_"+name)
			if !ok {
				continue
			}
			fmt.Fprintf(b, "CPU per delivery, floor %s = 1:", name)
			for _, s := range measured {
				if m, ok := s.metric(Fanout, "server_cpu_per_delivery"); ok {
					fmt.Fprintf(b, "  %s %s", s.Name, ratio(m.Median, bare.Median))
				}
			}
			b.WriteString("\n")
		}
	}
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}
