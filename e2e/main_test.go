package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait. A machine that is busy with other things is slow;
// only a server that is broken takes this long.
const patience = 60 * time.Second

// repo is the root of the repository, seen from this package.
const repo = ".."

// executable is the path of the myelin that TestMain builds before any test runs.
var executable string

func TestMain(m *testing.M) {
	code, err := withExecutable(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withExecutable builds the executable, runs what needs it, and removes it.
func withExecutable(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "myelin-e2e-")
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
	return run(), nil
}

// environment is this process's, without what the executable would take for its
// own configuration, and with more.
func environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MYELIN_") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// searchPath is PATH with the directory of the executable in front.
func searchPath() string {
	return filepath.Dir(executable) + string(filepath.ListSeparator) + os.Getenv("PATH")
}

// wait returns what comes by a channel, and fails when nothing does.
func wait[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("after %v still no %s", patience, what)
		panic("unreachable")
	}
}

// eventually waits until done says so, and fails with what is not so yet.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}
