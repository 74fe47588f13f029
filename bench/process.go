package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ is 100 on every
// architecture that Go runs Linux on.
const clockTick = time.Second / 100

// tickBits bounds what is believed of a tick counter: two of them still fit
// into a duration, and one process does not use 80 years of CPU.
const tickBits = 38

var (
	errStat   = errors.New("not in the form of /proc/<pid>/stat, see proc_pid_stat(5)")
	errStatus = errors.New("no VmRSS, see proc_pid_status(5): is it a kernel thread?")
)

// process is the server as the operating system sees it.
type process struct {
	pid int
}

// openProcess makes sure that the process can be read. It is nil without an
// error when no pid is given.
func openProcess(pid int) (*process, error) {
	if pid == 0 {
		return nil, nil //nolint:nilnil // no process is a valid choice
	}
	p := &process{pid: pid}
	if _, err := p.cpu(); err != nil {
		return nil, err
	}
	return p, nil
}

// cpu is the user and system time of all threads, ended ones too.
func (p *process) cpu() (time.Duration, error) {
	b, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

// rss is the resident memory in bytes.
func (p *process) rss() (int64, error) {
	b, err := p.read("status")
	if err != nil {
		return 0, err
	}
	return parseStatus(b)
}

// name is the program's name, empty when it cannot be read.
func (p *process) name() string {
	b, err := p.read("comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (p *process) read(file string) ([]byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
	if err != nil {
		return nil, fmt.Errorf("server's process: %w", err)
	}
	return b, nil
}

// parseStat reads utime and stime, fields 14 and 15. Field 2 is the program's
// name in parentheses and may itself hold spaces and parentheses.
func parseStat(b []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, errStat
	}
	fields := strings.Fields(string(b[end+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, errStat
	}
	user, err1 := strconv.ParseUint(fields[utime], 10, tickBits)
	system, err2 := strconv.ParseUint(fields[stime], 10, tickBits)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%w: %w", errStat, err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// parseStatus reads VmRSS, which is in kibibytes.
func parseStatus(b []byte) (int64, error) {
	for line := range strings.Lines(string(b)) {
		value, found := strings.CutPrefix(line, "VmRSS:")
		if !found {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		kib, err := strconv.ParseInt(number, 10, 48)
		if err != nil || kib < 0 || unit != "kB" {
			return 0, fmt.Errorf("VmRSS is %q: want a number of kB", strings.TrimSpace(value))
		}
		return kib << 10, nil
	}
	return 0, errStatus
}
