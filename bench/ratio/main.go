// Command ratio compares servers by the reports that myelin bench --json wrote
// about them, and prints medians, spreads and ratios.
//
//	ratio [-json FILE] DIR NAME...
//
// reads DIR/NAME.*.json for each NAME. Reports on the same server and scenario
// are runs of one another and merged. The ratios are those of the first name
// to each of the others. With -json, what was merged is written to FILE.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"myelin/bench"
)

func main() {
	file := flag.String("json", "", "write the merged reports to this file")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: ratio [-json FILE] DIR NAME...")
		os.Exit(2)
	}
	if err := compare(flag.Arg(0), flag.Args()[1:], *file); err != nil {
		fmt.Fprintln(os.Stderr, "ratio:", err)
		os.Exit(1)
	}
}

func compare(dir string, names []string, file string) error {
	var subjects []bench.Subject
	for _, name := range names {
		s, err := read(dir, name)
		if err != nil {
			return err
		}
		subjects = append(subjects, s)
	}
	if file != "" {
		b, err := json.MarshalIndent(subjects, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return bench.WriteComparison(os.Stdout, subjects...)
}

// read merges a server's reports by scenario.
func read(dir, name string) (bench.Subject, error) {
	subject := bench.Subject{Name: name}
	files, err := filepath.Glob(filepath.Join(dir, name+".*.json"))
	if err != nil {
		return subject, err
	}
	if len(files) == 0 {
		return subject, fmt.Errorf("no %s.*.json in %s", name, dir)
	}
	reports := map[string][]*bench.Report{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return subject, err
		}
		var r bench.Report
		if err := json.Unmarshal(b, &r); err != nil {
			return subject, fmt.Errorf("%s: %w", file, err)
		}
		reports[r.Scenario] = append(reports[r.Scenario], &r)
	}
	for _, scenario := range bench.Scenarios() {
		merged, err := bench.Merge(reports[scenario]...)
		if errors.Is(err, bench.ErrNoReport) {
			continue
		}
		if err != nil {
			return subject, err
		}
		subject.Reports = append(subject.Reports, merged)
	}
	return subject, nil
}
