package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is where the figures come from; they mean little elsewhere.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	// Kernel is the release, empty where there is no /proc.
	Kernel string `json:"kernel,omitempty"`
	// Congestion is TCP's congestion control, which loopback pays for too.
	Congestion string `json:"congestion,omitempty"`
	// Load is the load average over a minute before the first run.
	Load string `json:"load,omitempty"`
	CPUs int    `json:"cpus"`
}

func thisMachine() Machine {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Kernel:     firstLine("/proc/sys/kernel/osrelease"),
		Congestion: firstLine("/proc/sys/net/ipv4/tcp_congestion_control"),
		Load:       load,
	}
}

// String is the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s/%s %s, %d CPUs, tcp %s, load %s before", m.OS, m.Arch, m.Kernel, m.CPUs, m.Congestion, m.Load)
}

// firstLine of a file, empty when there is none: it only decorates.
func firstLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
