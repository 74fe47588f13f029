package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// record is everything a process wrote.
type record struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.String()
}

// process is a running server.
type process struct {
	cmd *exec.Cmd
	// out is what it wrote, to either stream.
	out *record
	// main and admin are the addresses it took, host:port.
	main, admin string

	ended chan struct{} // closed when it has ended
	err   error         // why, once it has
}

// What a server says of the addresses it took.
var (
	servingLine = regexp.MustCompile(`"msg":"serving","listener":"(main|admin)","addr":"([^"]+)"`)
	demoLine    = regexp.MustCompile(`The demo is at http://(\S+)`)
)

// launch starts the executable with these arguments and waits for nothing.
func launch(env []string, dir string, args ...string) (*process, error) {
	p := &process{out: new(record), ended: make(chan struct{})}
	p.cmd = exec.Command(executable, args...)
	p.cmd.Env, p.cmd.Dir = env, dir
	return p, p.start()
}

// start runs the command and watches it.
func (p *process) start() error {
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// ready waits until the server has said where it listens.
func (p *process) ready() error {
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		p.locate()
		if p.main != "" && p.admin != "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("it ended: %w\n%s", p.err, p.out)
		case <-deadline:
			return fmt.Errorf("it does not serve:\n%s", p.out)
		}
	}
}

func (p *process) locate() {
	out := p.out.String()
	for _, m := range servingLine.FindAllStringSubmatch(out, -1) {
		if m[1] == "main" {
			p.main = m[2]
		} else {
			p.admin = m[2]
		}
	}
	// The demo has no admin listener, and answers for it on the main one.
	if m := demoLine.FindStringSubmatch(out); m != nil {
		p.main, p.admin = m[1], m[1]
	}
}

// signal sends it a signal.
func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// wait waits until it has ended and returns its exit code, -1 if a signal ended it.
func (p *process) wait() (int, error) {
	select {
	case <-p.ended:
		if _, ok := errors.AsType[*exec.ExitError](p.err); p.err != nil && !ok {
			return 0, p.err
		}
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("it does not end:\n%s", p.out)
	}
}

// kill ends it, if it has not ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// anyPorts are the flags that let the system choose ports, and make the log
// one that can be read.
func anyPorts() []string {
	return []string{"--set", "listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0", "--set", "log.format=json"}
}

// serve starts `myelin serve` for a test. config is YAML, or empty for none.
func serve(t testing.TB, config string, args ...string) *process {
	t.Helper()
	return serveEnv(t, nil, config, args...)
}

func serveEnv(t testing.TB, env []string, config string, args ...string) *process {
	t.Helper()
	args = append(append([]string{"serve"}, anyPorts()...), args...)
	dir := t.TempDir()
	if config != "" {
		write(t, filepath.Join(dir, "myelin.yaml"), config)
		args = append(args, "-c", "myelin.yaml")
	}
	p, err := launch(environment(env...), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server wrote:\n%s", tail(p.out.String()))
		}
	})
	if err := p.ready(); err != nil {
		t.Fatal(err)
	}
	return p
}

// tail cuts a long text to its end.
func tail(s string) string {
	const most = 8 << 10
	if len(s) <= most {
		return s
	}
	return "[...]" + s[len(s)-most:]
}

func (p *process) http(path string) string      { return "http://" + p.main + path }
func (p *process) ws() string                   { return "ws://" + p.main + "/connection/websocket" }
func (p *process) adminHTTP(path string) string { return "http://" + p.admin + path }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs the executable to its end and returns what it wrote and its exit code.
func run(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(executable, args...)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
