package faults

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"myelin/e2e/faults/history"
)

// The clock of the machine is not ours to set, and a time namespace moves no
// wall clock. But every process asks the time of code that the kernel has put
// into its memory (the vDSO), and that code can be replaced in one process: by
// a plain system call that adds so many seconds to the wall clock and leaves the
// monotonic clock alone.
var clockCode = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi (CLOCK_REALTIME is 0)
	0x75, 0x07, // jne over the next one
	0x48, 0x81, 0x06, 0x00, 0x00, 0x00, 0x00, // add qword ptr [rsi], seconds
	0xc3, // ret
}

// clockSeconds is where in clockCode the seconds are.
const clockSeconds = 14

// clock moves the wall clock of one process.
type clock struct {
	// symbol is where in the vDSO the code is.
	symbol uint64
	// ahead is by how many seconds the next process begins ahead of the machine.
	ahead int32
}

// newClock finds the code. Where that fails there is no such fault.
func newClock(t *testing.T) *clock {
	t.Helper()
	start, end, err := vdso("self")
	if err != nil {
		t.Skipf("this system has no vDSO to change: %v", err)
	}
	image := make([]byte, end-start)
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = mem.Close() }()
	if _, err := mem.ReadAt(image, int64(start)); err != nil {
		t.Skip(err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Skip(err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Skip(err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return &clock{symbol: s.Value}
		}
	}
	t.Skip("the vDSO has no clock_gettime")
	return nil
}

// vdso returns where the vDSO of a process is.
func vdso(pid string) (start, end uint64, err error) {
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err = fmt.Sscanf(line, "%x-%x", &start, &end)
			return start, end, err
		}
	}
	return 0, 0, fmt.Errorf("process %s has none", pid)
}

// poke writes into the vDSO of a process, from an offset in clockCode on.
func (c *clock) poke(pid, offset int, b []byte) error {
	id := strconv.Itoa(pid)
	start, _, err := vdso(id)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile("/proc/"+id+"/mem", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = mem.WriteAt(b, int64(start+c.symbol)+int64(offset))
	if closing := mem.Close(); err == nil {
		err = closing
	}
	return err
}

// launch starts a process whose clock is moved before its first
// instruction: the tracer stops it there.
func (c *clock) launch(start func() error, pid func() int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := start(); err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid(), &status, syscall.WALL, nil); err != nil {
		return fmt.Errorf("wait for the first stop: %w", err)
	}
	code := bytes.Clone(clockCode)
	binary.LittleEndian.PutUint32(code[clockSeconds:], uint32(c.ahead))
	if err := c.poke(pid(), 0, code); err != nil {
		return err
	}
	return syscall.PtraceDetach(pid())
}

// jump moves the clock of a running process, and of those to come, to so far
// ahead of the machine's.
func (c *clock) jump(pid int, ahead time.Duration) error {
	c.ahead = int32(ahead / time.Second)
	return c.poke(pid, clockSeconds, binary.LittleEndian.AppendUint32(nil, uint32(c.ahead)))
}

// TestClock lets the wall clock of a node jump back and forth, while it runs and
// while it is down.
func TestClock(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	n := newNode(t, "a", diskConfig)
	n.clock = c
	p, err := n.begin()
	if err != nil {
		t.Skipf("this system lets no process be changed: %v", err)
	}
	if err := n.ready(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	jumps := []struct {
		ahead   time.Duration
		restart bool
	}{{30 * time.Minute, false}, {-30 * time.Minute, false}, {-30 * time.Minute, true}, {30 * time.Minute, true}, {0, true}}
	linear(t, play(t, alone("clock jumps of 30 min", n, len(jumps), func(i int) fault {
		j := jumps[i%len(jumps)]
		f := fault{name: fmt.Sprintf("clock at %v", j.ahead), node: n.name, do: func(ctx context.Context) error {
			return c.jumpAndSee(ctx, n, j.ahead)
		}}
		if j.restart {
			f.loses = history.LosesAsync
			f.do = func(ctx context.Context) error {
				n.kill()
				c.ahead = int32(j.ahead / time.Second)
				if err := n.start(ctx); err != nil {
					return err
				}
				return c.see(ctx, n)
			}
		}
		return f
	})))
}

func (c *clock) jumpAndSee(ctx context.Context, n *node, ahead time.Duration) error {
	if err := c.jump(n.current().pid(), ahead); err != nil {
		return err
	}
	return c.see(ctx, n)
}

// see holds that the node's clock is where it shall be: its answers are dated.
func (c *clock) see(ctx context.Context, n *node) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a/", nil)
	if err != nil {
		return err
	}
	resp, err := n.api().HTTP.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return err
	}
	if off := time.Until(date) - time.Duration(c.ahead)*time.Second; off.Abs() > time.Minute {
		return fmt.Errorf("the node's clock is %v off where it was put", off)
	}
	return nil
}
