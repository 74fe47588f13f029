package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long one block may take, and one that builds the binary.
const (
	blockTime = patience
	buildTime = 5 * time.Minute
)

// TestBlocksRun runs the blocks of each document in order against one server
// with --dev, as a reader would: the port 8000 of the text is the server's main
// listener, 8001 the admin's.
func TestBlocksRun(t *testing.T) {
	modules := nodeModules(t)
	for _, d := range documents(t) {
		if !d.has("sh", "js", "html") {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := &reader{t: t, dir: t.TempDir(), server: serve(t, "", "--dev"), free: map[string]string{}}
			if err := os.Symlink(modules, filepath.Join(r.dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(r.dir, "browser.mjs"), browser)
			for _, b := range d.blocks {
				switch b.lang {
				case "sh":
					r.sh(d, b)
				case "js":
					r.node(d, b, b.text)
				case "html":
					r.html(d, b)
				}
			}
		})
	}
}

// TestBlocksLoad loads what is data.
func TestBlocksLoad(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			switch b.lang {
			case "yaml":
				file := filepath.Join(t.TempDir(), "myelin.yaml")
				write(t, file, b.text)
				if _, stderr, code := run(t, "config", "check", "-c", file); code != 0 {
					t.Errorf("%s:%d: %s", d.name, b.line, stderr)
				}
			case "json":
				if !json.Valid([]byte(b.text)) {
					t.Errorf("%s:%d: this is not JSON", d.name, b.line)
				}
			}
		}
	}
}

func (d *document) has(langs ...string) bool {
	for _, b := range d.blocks {
		if slices.Contains(langs, b.lang) {
			return true
		}
	}
	return false
}

// nodeModules returns where the packages from npm are, and fetches them if they
// are not there.
func nodeModules(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("js")
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "centrifuge")); err == nil {
		return modules
	}
	cmd := exec.Command("npm", "ci", "--no-fund", "--no-audit")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in e2e/js: %v\n%s", err, out)
	}
	return modules
}

// reader does what a document says.
type reader struct {
	t      *testing.T
	dir    string
	server *process
	// free is what stands for each other address of the document.
	free map[string]string
}

// browser gives Node what the examples find in a browser.
const browser = `
import WebSocket from 'ws';
import { EventSource } from 'eventsource';
Object.assign(globalThis, { WebSocket, EventSource });
`

var buildLine = regexp.MustCompile(`(?m)^go build -o myelin \./cmd/myelin`)

func (r *reader) sh(d *document, b block) {
	r.t.Helper()
	script := r.here(b.text)
	dir, limit := r.dir, blockTime
	if buildLine.MatchString(script) {
		// The one line that wants the repository; what it makes belongs elsewhere.
		script, dir = buildLine.ReplaceAllLiteralString(script, "go build -o \"$OUT\" ./cmd/myelin"), repo
		limit = buildTime
	}
	r.do(d, b, limit, dir, "bash", "-euo", "pipefail", "-c", script)
}

// node runs a module as a browser would.
func (r *reader) node(d *document, b block, script string) {
	r.t.Helper()
	file := filepath.Join(r.dir, "block.mjs")
	write(r.t, file, r.here(script))
	r.do(d, b, blockTime, r.dir, "node", "--import", "./browser.mjs", file)
}

var (
	moduleScript = regexp.MustCompile(`(?s)<script type="module">(.*)</script>`)
	unpkg        = regexp.MustCompile(`https://unpkg\.com/centrifuge@\d+/build/index\.mjs`)
)

// html runs the module of a page. The page shows what arrives on the console:
// it has worked when its own publication does.
func (r *reader) html(d *document, b block) {
	r.t.Helper()
	m := moduleScript.FindStringSubmatch(b.text)
	if m == nil || !unpkg.MatchString(m[1]) {
		r.t.Errorf("%s:%d: no module that imports centrifuge from unpkg", d.name, b.line)
		return
	}
	sent := regexp.MustCompile(`publish\('\w+', \{ text: ('[^']+') \}\)`).FindStringSubmatch(m[1])
	if sent == nil {
		r.t.Errorf("%s:%d: the page publishes nothing", d.name, b.line)
		return
	}
	watch := `
const show = console.log;
console.log = (...what) => {
  show(...what);
  if (what.some((x) => x?.text === ` + sent[1] + `)) process.exit(0);
};
setTimeout(() => process.exit(1), 15000);
`
	// The page awaits its own publish, and the publication may come before that
	// is answered: who watches has to be there first.
	r.node(d, b, watch+unpkg.ReplaceAllString(m[1], "centrifuge"))
}

// furtherAddress is an address of what a document has its reader start.
var furtherAddress = regexp.MustCompile(`127\.0\.0\.1:81\d\d`)

// here makes the addresses of a text those of the server, and others free ones.
func (r *reader) here(text string) string {
	text = furtherAddress.ReplaceAllStringFunc(text, func(address string) string {
		if r.free[address] == "" {
			r.free[address] = freeAddress(r.t)
		}
		return r.free[address]
	})
	return strings.NewReplacer("127.0.0.1:8000", r.server.main, "127.0.0.1:8001", r.server.admin).Replace(text)
}

// do runs a command, which must end well in time.
func (r *reader) do(d *document, b block, limit time.Duration, dir, name string, args ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = environment("PATH="+searchPath(), "MYELIN_URL="+r.server.ws(), "OUT="+filepath.Join(r.dir, "myelin"),
		// A clone may belong to another user, which git and so -buildvcs refuse.
		"GOFLAGS=-buildvcs=false")
	// A file, not a pipe: what is left running has the pipe open, and would be waited for.
	out, err := os.CreateTemp(r.dir, "out-")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	// A shell that is killed leaves what it started; the group goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if cmd.Process != nil {
		// What it leaves running is for the blocks that follow, and no longer.
		group := cmd.Process.Pid
		r.t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
	}
	if errors.Is(err, exec.ErrNotFound) {
		r.t.Fatalf("%s is needed to try the documentation out: %v", name, err)
	}
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		r.t.Errorf("%s:%d: %v (%v)\n%s\nsays:\n%s", d.name, b.line, err, ctx.Err(), b.text, tail(string(said)))
	}
}
