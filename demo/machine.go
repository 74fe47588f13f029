package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime/metrics"
	"time"
)

const (
	telemetryPeriod = time.Second
	// telemetryTimeout is how long a sample is worth sending.
	telemetryTimeout = 900 * time.Millisecond
	// maxProcFile bounds what is read of a file.
	maxProcFile = 1 << 20
)

// telemetry is a publication in channelTelemetry.
type telemetry struct {
	T    int64      `json:"t"`
	CPU  float64    `json:"cpu"`
	Mem  memory     `json:"mem"`
	Load [3]float64 `json:"load"`
	Net  struct {
		RX float64 `json:"rx"`
		TX float64 `json:"tx"`
	} `json:"net"`
	Disk struct {
		Read  float64 `json:"read"`
		Write float64 `json:"write"`
	} `json:"disk"`
	// Missing names what this operating system does not tell. Without meminfo,
	// mem is this process's own.
	Missing []string `json:"missing,omitempty"`
}

// machine samples the operating system.
type machine struct {
	proc fs.FS
	last counters
	at   time.Time // when last was taken, zero at first
}

// counters only ever grow; what is published is how fast.
type counters struct {
	cpu       cpuTime
	net, disk traffic
}

func newMachine(proc fs.FS) *machine { return &machine{proc: proc} }

// publisher is what the machine and the host need of a client.
type publisher func(ctx context.Context, channel string, data []byte) error

// play publishes a sample every second until ctx ends. A sample that cannot be
// sent is dropped.
func (m *machine) play(ctx context.Context, publish publisher) {
	m.sample(time.Now())
	p := pace{start: time.Now(), period: telemetryPeriod}
	timer := time.NewTimer(p.wait(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		p.due(now, 1)
		// Numbers always have a JSON form.
		data, _ := json.Marshal(m.sample(now))
		m.send(ctx, publish, data)
		timer.Reset(p.wait(time.Now()))
	}
}

func (m *machine) send(ctx context.Context, publish publisher, data []byte) {
	ctx, cancel := context.WithTimeout(ctx, telemetryTimeout)
	defer cancel()
	// The next sample is better than this one a second time.
	_ = publish(ctx, channelTelemetry, data)
}

// sample reads everything once.
func (m *machine) sample(now time.Time) telemetry {
	t := telemetry{T: now.UnixMilli()}
	var c counters
	note := func(name string, err error) {
		if err != nil {
			t.Missing = append(t.Missing, name)
		}
	}
	var err error
	c.cpu, err = readProc(m.proc, "stat", parseStat)
	note("stat", err)
	if t.Mem, err = readProc(m.proc, "meminfo", parseMeminfo); err != nil {
		t.Mem = ownMemory()
	}
	note("meminfo", err)
	t.Load, err = readProc(m.proc, "loadavg", parseLoadavg)
	note("loadavg", err)
	c.net, err = readProc(m.proc, "net/dev", parseNetDev)
	note("net/dev", err)
	c.disk, err = readProc(m.proc, "diskstats", parseDiskstats)
	note("diskstats", err)

	if !m.at.IsZero() {
		seconds := now.Sub(m.at).Seconds()
		t.CPU = math.Round(share(m.last.cpu, c.cpu)*1e4) / 1e4
		t.Net.RX, t.Net.TX = perSecond(m.last.net, c.net, seconds)
		t.Disk.Read, t.Disk.Write = perSecond(m.last.disk, c.disk, seconds)
	}
	m.last, m.at = c, now
	return t
}

// share returns which part of the time between two readings was busy.
func share(before, after cpuTime) float64 {
	if after.total <= before.total || after.busy < before.busy {
		return 0
	}
	return min(float64(after.busy-before.busy)/float64(after.total-before.total), 1)
}

// perSecond returns the rates between two readings, in whole bytes. A counter that has shrunk
// was reset, or a device has gone: then nothing is known.
func perSecond(before, after traffic, seconds float64) (in, out float64) {
	if seconds <= 0 {
		return 0, 0
	}
	if after.in >= before.in {
		in = math.Round(float64(after.in-before.in) / seconds)
	}
	if after.out >= before.out {
		out = math.Round(float64(after.out-before.out) / seconds)
	}
	return in, out
}

// readProc reads and parses one file.
func readProc[T any](proc fs.FS, name string, parse func([]byte) (T, error)) (value T, err error) {
	f, err := proc.Open(name)
	if err != nil {
		return value, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxProcFile))
	// Nothing was written that a failing close could lose.
	_ = f.Close()
	if err != nil {
		return value, fmt.Errorf("%s: %w", name, err)
	}
	return parse(b)
}

// ownMemory is what the Go runtime of this process uses and has.
func ownMemory() memory {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	total, released := s[0].Value.Uint64(), s[1].Value.Uint64()
	return memory{Used: total - min(released, total), Total: total}
}
