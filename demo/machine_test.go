package demo

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func procFiles(stat, mem, load, net, disk string) fstest.MapFS {
	return fstest.MapFS{
		"stat":      {Data: []byte(stat)},
		"meminfo":   {Data: []byte(mem)},
		"loadavg":   {Data: []byte(load)},
		"net/dev":   {Data: []byte(net)},
		"diskstats": {Data: []byte(disk)},
	}
}

func TestMachineSamples(t *testing.T) {
	proc := procFiles(statText, memText, loadText, netText, diskText)
	m := newMachine(proc)
	now := time.UnixMilli(5000)
	m.sample(now)
	proc["stat"].Data = []byte("cpu  20 20 30 430 50 6 7 8\n")
	proc["net/dev"].Data = []byte(strings.Replace(netText, "eth0:2000", "eth0:4000", 1))
	proc["diskstats"].Data = []byte(strings.Replace(diskText, "nvme0n1 1 0 7 0 1 0 9", "nvme0n1 1 0 7 0 1 0 13", 1))
	got, err := json.Marshal(m.sample(now.Add(2 * time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"t":7000,"cpu":0.25,"mem":{"used":12288000,"total":16384000},"load":[0.52,1.58,12.59],` +
		`"net":{"rx":1000,"tx":0},"disk":{"read":0,"write":1024}}`
	if string(got) != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// Where there is no proc file system, what is missing is named and the rest is
// still valid.
func TestMachineWithoutProc(t *testing.T) {
	m := newMachine(fstest.MapFS{})
	m.sample(time.UnixMilli(0))
	s := m.sample(time.UnixMilli(1000))
	if strings.Join(s.Missing, " ") != "stat meminfo loadavg net/dev diskstats" {
		t.Fatalf("missing %v", s.Missing)
	}
	if s.CPU != 0 || s.Mem.Total == 0 || s.Mem.Used > s.Mem.Total || s.Net.RX != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestMachineHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc")
	}
	m := newMachine(procHere())
	m.sample(time.Now())
	s := m.sample(time.Now())
	for _, name := range s.Missing {
		if name == "stat" || name == "meminfo" || name == "loadavg" {
			t.Errorf("%s of this machine is not understood", name)
		}
	}
	if s.CPU < 0 || s.CPU > 1 || s.Mem.Used == 0 || s.Mem.Used > s.Mem.Total {
		t.Fatalf("%+v", s)
	}
}

func TestMachinePublishesEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Millisecond)
		defer cancel()
		newMachine(fstest.MapFS{}).play(ctx, func(ctx context.Context, channel string, data []byte) error {
			n++
			var s telemetry
			if err := json.Unmarshal(data, &s); err != nil || channel != "host:telemetry" {
				t.Fatalf("%s %s: %v", channel, data, err)
			}
			if want := start.Add(time.Duration(n) * time.Second).UnixMilli(); s.T != want {
				t.Fatalf("sample %d at %d, want %d", n, s.T, want)
			}
			if n%100 == 0 {
				// The server is away: the sample is dropped in time for the next.
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if n != 3600 {
			t.Fatalf("%d samples in an hour", n)
		}
	})
}

func TestProcFilesAreBounded(t *testing.T) {
	proc := fstest.MapFS{"stat": {Data: []byte(statText + strings.Repeat("x", 2*maxProcFile))}}
	var size int
	_, err := readProc(proc, "stat", func(b []byte) (int, error) {
		size = len(b)
		return 0, errors.New("enough")
	})
	if err == nil || size != maxProcFile {
		t.Fatalf("read %d bytes, want %d", size, maxProcFile)
	}
}
