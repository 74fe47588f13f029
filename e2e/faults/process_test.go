//go:build linux

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
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

// head is the begin of it, where a server says what it serves.
func (r *record) head() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.mu.Bytes()
	return string(b[:min(len(b), 64<<10)])
}

// process is a running server.
type process struct {
	cmd *exec.Cmd
	out *record

	ended chan struct{}
	err   error
}

var servingLine = regexp.MustCompile(`"msg":"serving","listener":"(main|admin)","addr":"([^"]+)"`)

// A starter starts a command in a way of its own: start starts it, pid tells its
// process id from then on.
type starter interface {
	launch(start func() error, pid func() int) error
}

// launch starts a command that dies with this process, with the help of by where
// it is not nil.
func launch(by starter, dir string, argv ...string) (*process, error) {
	p := &process{out: new(record), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env, p.cmd.Dir = environment(), dir
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Ptrace: by != nil}
	start := p.cmd.Start
	if by != nil {
		start = func() error { return by.launch(p.cmd.Start, p.pid) }
	}
	if err := start(); err != nil {
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// address returns the one that a listener took, "main" or "admin", "" as long as
// the server has not said.
func (p *process) address(listener string) string {
	for _, m := range servingLine.FindAllStringSubmatch(p.out.head(), -1) {
		if m[1] == listener {
			return m[2]
		}
	}
	return ""
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends it with SIGKILL, which ends what is stopped too.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
}

// wait waits until it has ended and returns its exit code, -1 if a signal ended
// it.
func (p *process) wait(within time.Duration) (int, error) {
	select {
	case <-p.ended:
		if _, ok := errors.AsType[*exec.ExitError](p.err); p.err != nil && !ok {
			return 0, p.err
		}
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("it does not end within %v:\n%s", within, tail(p.out.String()))
	}
}

// root says whether this process may do what only root may.
func root() bool { return os.Geteuid() == 0 }
