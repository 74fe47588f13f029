package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"myelin/config"
)

// The flag is read by every golden test; tests only read it.
var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with the file, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; see the change with: go test ./config -update && git diff\ngot:\n%s", path, got)
	}
}

// TestErrorReports loads each testdata/errors/*.yaml and compares the report
// with the .txt beside it. Comments at the top add the other layers:
// "# env A=b", "# set a=b", "# dev".
func TestErrorReports(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			src := config.Source{Path: filepath.Base(file), Bytes: text}
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSuffix(line, "\n")
				if v, ok := strings.CutPrefix(line, "# env "); ok {
					src.Env = append(src.Env, v)
				}
				if v, ok := strings.CutPrefix(line, "# set "); ok {
					src.Set = append(src.Set, v)
				}
				src.Dev = src.Dev || line == "# dev"
			}
			c, err := config.Load(src)
			var all *config.Errors
			if c != nil || !errors.As(err, &all) {
				t.Fatalf("loaded %v with error %v", c, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(all.Error()+"\n"))
		})
	}
}
