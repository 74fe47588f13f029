package observe_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"myelin/observe"
)

func TestMetricNames(t *testing.T) {
	rule := regexp.MustCompile(`^myelin_[a-z]+(_[a-z]+)*$`)
	seen := make(map[string]bool)
	for _, row := range observe.Table() {
		if seen[row.Name] {
			t.Errorf("%s is in the table twice", row.Name)
		}
		seen[row.Name] = true
		if !rule.MatchString(row.Name) {
			t.Errorf("%s: want myelin_ and lower-case words", row.Name)
		}
		if !strings.HasSuffix(row.Help, ".") {
			t.Errorf("%s: the help is no sentence: %q", row.Name, row.Help)
		}
		if want := wantSuffix(row); !strings.HasSuffix(row.Name, want) {
			t.Errorf("%s: want the suffix %s", row.Name, want)
		}
		if row.Type != observe.TypeCounter && strings.HasSuffix(row.Name, "_total") {
			t.Errorf("%s: only a counter ends in _total", row.Name)
		}
	}
}

// wantSuffix returns how the name of a metric ends.
func wantSuffix(m observe.Metric) string {
	suffix := ""
	if m.Unit != "" {
		suffix = "_" + m.Unit
	}
	if m.Type == observe.TypeCounter {
		suffix += "_total"
	}
	return suffix
}

func TestLabelsHaveABound(t *testing.T) {
	bound := make(map[string]int)
	for _, l := range observe.Labels() {
		if _, twice := bound[l.Name]; twice || l.Max < 1 {
			t.Errorf("label %s is there twice or has no bound", l.Name)
		}
		bound[l.Name] = l.Max
	}
	used := make(map[string]bool)
	for _, row := range observe.Table() {
		if len(row.Labels) > 1 && row.Name != "myelin_build_info" {
			t.Errorf("%s has %d labels: their values multiply", row.Name, len(row.Labels))
		}
		for _, name := range row.Labels {
			used[name] = true
			if bound[name] == 0 {
				t.Errorf("%s: label %s has no bound", row.Name, name)
			}
			if slices.Contains([]string{"channel", "user", "client", "session"}, name) {
				t.Errorf("%s is labeled by %s", row.Name, name)
			}
		}
	}
	for name := range bound {
		if !used[name] {
			t.Errorf("no metric has the label %s", name)
		}
	}
}

// TestNamesAreInTheirTable reads the source: a constant that is in no table
// would be missing in the docs.
func TestNamesAreInTheirTable(t *testing.T) {
	for prefix, table := range map[string][]observe.Name{"Key": observe.LogKeys(), "Span": observe.SpanNames()} {
		var inTable []string
		for _, row := range table {
			inTable = append(inTable, row.Name)
			if !strings.HasSuffix(row.Help, ".") {
				t.Errorf("%s: the help is no sentence: %q", row.Name, row.Help)
			}
		}
		inSource := constants(t, prefix)
		slices.Sort(inTable)
		slices.Sort(inSource)
		if len(inSource) == 0 || !slices.Equal(inTable, inSource) {
			t.Errorf("table: %v\nsource: %v", inTable, inSource)
		}
		if len(slices.Compact(inTable)) != len(table) {
			t.Errorf("a name with the prefix %s is there twice", prefix)
		}
	}
	var metrics []string
	for _, row := range observe.Table() {
		metrics = append(metrics, row.Name)
	}
	inSource := constants(t, "name")
	slices.Sort(metrics)
	slices.Sort(inSource)
	if !slices.Equal(metrics, inSource) {
		t.Errorf("table: %v\nsource: %v", metrics, inSource)
	}
}

// constants returns the values of the string constants of the package whose
// name is prefix and an upper-case letter.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
				return true
			}
			rest, ok := strings.CutPrefix(spec.Names[0].Name, prefix)
			lit, isLit := spec.Values[0].(*ast.BasicLit)
			if ok && isLit && lit.Kind == token.STRING && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z' {
				value, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, value)
			}
			return true
		})
	}
	return found
}

func TestDocs(t *testing.T) {
	const path = "../docs/metrics.md"
	got := docs()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the table says: run go test ./observe -update", path)
	}
}

var update = flag.Bool("update", false, "write the golden files")

// docs returns docs/metrics.md.
func docs() []byte {
	var b bytes.Buffer
	b.WriteString("# Metrics, log keys and spans\n\n" +
		"Generated from the tables of package `observe` by `go test ./observe -update`. Do not edit.\n\n" +
		"`/metrics` answers in the Prometheus text format with the metrics below and with those of the Go runtime\n" +
		"(`go_*`) and of the process (`process_*`). Nothing is labeled by channel, user or client.\n\n" +
		"## Metrics\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n")
	for _, m := range observe.Table() {
		var labels strings.Builder
		for i, l := range m.Labels {
			if i > 0 {
				labels.WriteString(", ")
			}
			labels.WriteString("`" + l + "`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, labels.String(), m.Unit, m.Help)
	}
	b.WriteString("\nHistograms have buckets from 10 microseconds to 10 seconds.\n\n" +
		"## Labels\n\nA label has at most this many values in one metric; what is beyond, or not in a published list, counts\n" +
		"under `other`.\n\n| label | values | meaning |\n|---|---|---|\n")
	for _, l := range observe.Labels() {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", l.Name, l.Max, l.Help)
	}
	b.WriteString("\n## Log keys\n\nTokens and payloads are never logged.\n\n")
	writeNames(&b, "key", observe.LogKeys())
	b.WriteString("\n## Spans\n\n")
	writeNames(&b, "span", observe.SpanNames())
	return b.Bytes()
}

func writeNames(b *bytes.Buffer, what string, names []observe.Name) {
	fmt.Fprintf(b, "| %s | meaning |\n|---|---|\n", what)
	for _, n := range names {
		fmt.Fprintf(b, "| `%s` | %s |\n", n.Name, n.Help)
	}
}
