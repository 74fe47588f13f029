//go:build linux

package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait. A busy machine is slow; only what is broken takes
// this long.
const patience = 90 * time.Second

// repo is the root of the repository, seen from this package.
const repo = "../.."

var (
	// executable is the path of the myelin that TestMain builds, or of MYELIN_BIN.
	executable string
	// update writes docs/faults.md.
	update = flag.Bool("update", false, "write docs/faults.md from what the scenarios measure")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if dir := os.Getenv(registerDir); dir != "" {
		registerUntilKilled(dir)
		return
	}
	// They mostly wait. In a long run outages are measured, one at a time.
	together := "5"
	if os.Getenv("MYELIN_FAULT_SECONDS") != "" {
		together = "1"
	}
	_ = flag.Set("test.parallel", together)
	code, err := withExecutable(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withExecutable builds the executable, runs what needs it, and removes it and
// what tests that crashed have left.
func withExecutable(run func() int) (code int, err error) {
	sweep()
	if executable = os.Getenv("MYELIN_BIN"); executable != "" {
		return finish(run())
	}
	dir, err := os.MkdirTemp("", "myelin-faults-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	executable = filepath.Join(dir, "myelin")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", executable, "./cmd/myelin")
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return finish(run())
}

// finish writes the report, where it is wanted.
func finish(code int) (int, error) {
	if !*update {
		return code, nil
	}
	return code, writeReport(filepath.Join(repo, "docs", "faults.md"))
}

// seconds is how long one scenario shall run, 0 for as short as it can.
func seconds(t testing.TB) time.Duration {
	t.Helper()
	s := os.Getenv("MYELIN_FAULT_SECONDS")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		t.Fatalf("MYELIN_FAULT_SECONDS is %q, want a number of seconds", s)
	}
	return time.Duration(n) * time.Second
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// eventually waits until done says so. It returns what is not so yet.
func eventually(ctx context.Context, within time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("after %v still not: %s", within, what)
		}
		rest(ctx, 20*time.Millisecond)
	}
	return nil
}

// environment is this process's, without what the executable would take for its
// own configuration.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MYELIN_") {
			env = append(env, kv)
		}
	}
	return env
}

// run runs a command of the system.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// tail cuts a long text to its end.
func tail(s string) string {
	const most = 6 << 10
	if len(s) <= most {
		return s
	}
	return "[...]" + s[len(s)-most:]
}
