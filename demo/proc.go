package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The formats are those of proc(5) and proc_diskstats(5).

var errFormat = errors.New("not in the format of proc(5)")

// cpuTime counts what the processors did, in ticks.
type cpuTime struct{ busy, total uint64 }

// parseStat reads the sum over all processors from /proc/stat.
func parseStat(b []byte) (cpuTime, error) {
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	fields := strings.Fields(string(line))
	// cpu user nice system idle iowait irq softirq steal guest guest_nice; the
	// time of guests is in user and nice already.
	if len(fields) < 5 || fields[0] != "cpu" {
		return cpuTime{}, fmt.Errorf("stat: %w", errFormat)
	}
	var c cpuTime
	for i, f := range fields[1:min(len(fields), 9)] {
		v, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return cpuTime{}, fmt.Errorf("stat: %w", errFormat)
		}
		c.total += v
		if i != 3 && i != 4 {
			c.busy += v
		}
	}
	return c, nil
}

// memory is in bytes.
type memory struct {
	Used  uint64 `json:"used"`
	Total uint64 `json:"total"`
}

// parseMeminfo reads how much memory is in use, which is what programs could not
// get: neither free nor given back on demand.
func parseMeminfo(b []byte) (memory, error) {
	values := map[string]uint64{"MemTotal": 0, "MemAvailable": 0}
	found := 0
	for line := range bytes.Lines(b) {
		name, rest, _ := strings.Cut(string(line), ":")
		if _, wanted := values[name]; !wanted {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			return memory{}, fmt.Errorf("meminfo: %s: %w", name, errFormat)
		}
		kb, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil || kb > math.MaxUint64>>10 {
			return memory{}, fmt.Errorf("meminfo: %s: %w", name, errFormat)
		}
		values[name] = kb << 10
		found++
	}
	total, available := values["MemTotal"], values["MemAvailable"]
	if found != len(values) || available > total {
		return memory{}, fmt.Errorf("meminfo: %w", errFormat)
	}
	return memory{Used: total - available, Total: total}, nil
}

// parseLoadavg reads the load of the last 1, 5 and 15 minutes.
func parseLoadavg(b []byte) ([3]float64, error) {
	var load [3]float64
	fields := strings.Fields(string(b))
	if len(fields) < len(load) {
		return load, fmt.Errorf("loadavg: %w", errFormat)
	}
	for i := range load {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
			return [3]float64{}, fmt.Errorf("loadavg: %w", errFormat)
		}
		load[i] = v
	}
	return load, nil
}

// traffic counts bytes.
type traffic struct{ in, out uint64 }

// parseNetDev sums the bytes of all network interfaces that lead out of the
// machine. Bridges and the host's ends of containers would count twice.
func parseNetDev(b []byte) (traffic, error) {
	var sum traffic
	scanner := bufio.NewScanner(bytes.NewReader(b))
	lines := 0
	for scanner.Scan() {
		if lines++; lines <= 2 {
			continue // the heading
		}
		name, rest, ok := strings.Cut(scanner.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 16 {
			return traffic{}, fmt.Errorf("net/dev: line %d: %w", lines, errFormat)
		}
		in, err1 := strconv.ParseUint(fields[0], 10, 64)
		out, err2 := strconv.ParseUint(fields[8], 10, 64)
		if err1 != nil || err2 != nil {
			return traffic{}, fmt.Errorf("net/dev: line %d: %w", lines, errFormat)
		}
		if !insideInterface(strings.TrimSpace(name)) {
			sum.in += in
			sum.out += out
		}
	}
	if err := scanner.Err(); err != nil || lines < 2 {
		return traffic{}, fmt.Errorf("net/dev: %w", errFormat)
	}
	return sum, nil
}

func insideInterface(name string) bool {
	for _, prefix := range []string{"veth", "docker", "br-", "virbr"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "lo"
}

// sectorSize is what the kernel counts in, whatever the disk's own.
const sectorSize = 512

// parseDiskstats sums the bytes read from and written to all whole disks.
func parseDiskstats(b []byte) (traffic, error) {
	var sum traffic
	n := 0
	for line := range bytes.Lines(b) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) < 14 {
			return traffic{}, fmt.Errorf("diskstats: line %d: %w", n, errFormat)
		}
		read, err1 := strconv.ParseUint(fields[5], 10, 64)
		written, err2 := strconv.ParseUint(fields[9], 10, 64)
		if err1 != nil || err2 != nil {
			return traffic{}, fmt.Errorf("diskstats: line %d: %w", n, errFormat)
		}
		if wholeDisk(fields[2]) {
			sum.in += read * sectorSize
			sum.out += written * sectorSize
		}
	}
	return sum, nil
}

// wholeDisk says whether a block device is a disk and not a part of one, nor
// made of others.
func wholeDisk(name string) bool {
	for _, prefix := range []string{"sd", "vd", "xvd", "hd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz") == ""
		}
	}
	for _, prefix := range []string{"nvme", "mmcblk"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			// nvme0n1 and mmcblk0 are disks; nvme0n1p1, mmcblk0p1 and
			// mmcblk0boot0 are parts.
			return strings.Trim(rest, "0123456789n") == ""
		}
	}
	return false
}
