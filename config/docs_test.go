package config_test

import (
	"regexp"
	"strings"
	"testing"

	"myelin/config"
)

const docsFile = "../docs/config.md"

func docs(t *testing.T) string {
	t.Helper()
	text, err := config.Docs()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDocsAreUpToDate(t *testing.T) {
	t.Parallel()
	golden(t, docsFile, []byte(docs(t)))
}

func TestPrintOfDefaults(t *testing.T) {
	t.Parallel()
	text, err := config.Default().YAML(true)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/defaults.yaml", text)
}

// TestDocsNameEveryKey compares the tables with a print of the defaults.
func TestDocsNameEveryKey(t *testing.T) {
	t.Parallel()
	text, err := config.Default().YAML(true)
	if err != nil {
		t.Fatal(err)
	}
	reference := docs(t)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if key == config.DefaultNamespace {
			continue
		}
		if value == " {}\n" || value == " {}" { // a map without entries
			value = ""
		}
		row, heading := "| `"+key+"` |", key+"`\n"
		if value != "" && !strings.Contains(reference, row) || value == "" && !strings.Contains(reference, heading) && !strings.Contains(reference, "`"+key+".<name>`\n") {
			t.Errorf("the reference has nothing on %s", key)
		}
	}
}

// TestDocsExamplesLoad loads every yaml block of the reference.
func TestDocsExamplesLoad(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(docs(t), -1)
	if len(blocks) < 3 {
		t.Fatalf("found %d examples", len(blocks))
	}
	for _, block := range blocks {
		if _, err := config.Load(config.Source{Path: "example.yaml", Bytes: []byte(block[1])}); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}

// TestDocsReportIsReal makes the mistakes whose report the reference shows.
func TestDocsReportIsReal(t *testing.T) {
	t.Parallel()
	const file = `auth: {anonymous: true}
drian: {}
limits:
  queue: 1MiB
  message: 64kb
namespaces:
  chat:
    recover: true
`
	_, err := config.Load(config.Source{Path: "myelin.yaml", Bytes: []byte(file), Env: []string{"MYELIN_LOG__LEVEL=inof"}})
	if err == nil || !strings.Contains(docs(t), "```text\n"+err.Error()+"\n```") {
		t.Errorf("the reference does not show this report:\n%v", err)
	}
}
