package demo

import (
	"errors"
	"math"
	"strings"
	"testing"
)

const (
	statText = "cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4\nintr 1\n"
	memText  = "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:    4000 kB\nHugePages_Total: 0\n"
	loadText = "0.52 1.58 12.59 3/602 12345\n"
	netText  = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0
  eth0:2000 1 0 0 0 0 0 0 300 1 0 0 0 0 0 0
 wlan0: 40 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0
docker0: 7777 1 0 0 0 0 0 0 7777 1 0 0 0 0 0 0
veth12ab: 7777 1 0 0 0 0 0 0 7777 1 0 0 0 0 0 0
`
	diskText = `   8       0 sda 10 0 100 0 20 0 200 0 0 0 0
   8       1 sda1 10 0 100 0 20 0 200 0 0 0 0
 259       0 nvme0n1 1 0 7 0 1 0 9 0 0 0 0 0 0 0 0
 259       1 nvme0n1p1 1 0 7 0 1 0 9 0 0 0 0
 253       0 dm-0 10 0 100 0 20 0 200 0 0 0 0
   7       0 loop0 10 0 100 0 20 0 200 0 0 0 0
`
)

func TestParsers(t *testing.T) {
	if got, err := parseStat([]byte(statText)); err != nil || got != (cpuTime{busy: 81, total: 531}) {
		t.Errorf("stat: %v, %v", got, err)
	}
	if got, err := parseMeminfo([]byte(memText)); err != nil || got != (memory{Used: 12000 << 10, Total: 16000 << 10}) {
		t.Errorf("meminfo: %v, %v", got, err)
	}
	if got, err := parseLoadavg([]byte(loadText)); err != nil || got != [3]float64{0.52, 1.58, 12.59} {
		t.Errorf("loadavg: %v, %v", got, err)
	}
	if got, err := parseNetDev([]byte(netText)); err != nil || got != (traffic{in: 2040, out: 305}) {
		t.Errorf("net/dev: %v, %v", got, err)
	}
	if got, err := parseDiskstats([]byte(diskText)); err != nil || got != (traffic{in: 107 * 512, out: 209 * 512}) {
		t.Errorf("diskstats: %v, %v", got, err)
	}
	// A machine without disks has an empty file.
	if got, err := parseDiskstats(nil); err != nil || got != (traffic{}) {
		t.Errorf("empty diskstats: %v, %v", got, err)
	}
}

func TestParsersRefuse(t *testing.T) {
	parsers := map[string]func(string) error{
		"stat":      func(s string) error { _, err := parseStat([]byte(s)); return err },
		"meminfo":   func(s string) error { _, err := parseMeminfo([]byte(s)); return err },
		"loadavg":   func(s string) error { _, err := parseLoadavg([]byte(s)); return err },
		"net/dev":   func(s string) error { _, err := parseNetDev([]byte(s)); return err },
		"diskstats": func(s string) error { _, err := parseDiskstats([]byte(s)); return err },
	}
	for _, c := range []struct{ parser, text string }{
		{"stat", ""},
		{"stat", "cpu  1 2 3\n"},
		{"stat", "cpu0 1 2 3 4 5 6 7 8\n"},
		{"stat", "cpu  1 2 -3 4 5 6 7 8\n"},
		{"meminfo", ""},
		{"meminfo", "MemTotal: 5 kB\n"},
		{"meminfo", "MemTotal: 5 kB\nMemAvailable: 6 kB\n"},
		{"meminfo", "MemTotal: 5 MB\nMemAvailable: 4 kB\n"},
		{"meminfo", "MemTotal: 18446744073709551615 kB\nMemAvailable: 4 kB\n"},
		{"loadavg", "1 2"},
		{"loadavg", "1 NaN 2"},
		{"loadavg", "1 2 +Inf"},
		{"loadavg", "1 2 -1"},
		{"net/dev", ""},
		{"net/dev", "a\nb\neth0 1 2 3\n"},
		{"net/dev", "a\nb\neth0: 1 2 3\n"},
		{"net/dev", "a\nb\n" + strings.Repeat("x", 1<<17)},
		{"diskstats", "8 0 sda 1 2 3\n"},
		{"diskstats", "8 0 sda 10 0 x 0 20 0 200 0 0 0 0\n"},
	} {
		if err := parsers[c.parser](c.text); !errors.Is(err, errFormat) {
			t.Errorf("%s accepts %.40q (%v)", c.parser, c.text, err)
		}
	}
}

func TestWholeDisk(t *testing.T) {
	for name, want := range map[string]bool{
		"sda": true, "sdab": true, "vdb": true, "xvda": true, "hda": true, "nvme0n1": true, "nvme10n2": true, "mmcblk0": true,
		"sda1": false, "sd": false, "vda15": false, "nvme0n1p2": false, "mmcblk0p1": false, "mmcblk0boot0": false,
		"loop0": false, "dm-0": false, "md127": false, "ram0": false, "zram0": false, "sr0": false, "": false,
	} {
		if got := wholeDisk(name); got != want {
			t.Errorf("wholeDisk(%q) = %v", name, got)
		}
	}
}

func TestRates(t *testing.T) {
	if got := share(cpuTime{10, 100}, cpuTime{35, 200}); got != 0.25 {
		t.Errorf("share = %v", got)
	}
	for _, after := range []cpuTime{{10, 100}, {5, 200}, {20, 50}} {
		if got := share(cpuTime{10, 100}, after); got != 0 {
			t.Errorf("share of %v = %v, want 0", after, got)
		}
	}
	if in, out := perSecond(traffic{100, 50}, traffic{300, 10}, 2); in != 100 || out != 0 {
		t.Errorf("perSecond = %v, %v, want 100 and 0 for the counter that was reset", in, out)
	}
	if in, out := perSecond(traffic{1, 1}, traffic{2, 2}, 0); in != 0 || out != 0 {
		t.Errorf("perSecond in no time = %v, %v", in, out)
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{statText, memText, loadText, netText, diskText} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseStat(b); err == nil && share(cpuTime{}, c) > 1 {
			t.Errorf("stat: %v", c)
		}
		if m, err := parseMeminfo(b); err == nil && m.Used > m.Total {
			t.Errorf("meminfo: %v", m)
		}
		if l, err := parseLoadavg(b); err == nil {
			for _, v := range l {
				if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("loadavg: %v", l)
				}
			}
		}
		for name, parse := range map[string]func([]byte) (traffic, error){"net/dev": parseNetDev, "diskstats": parseDiskstats} {
			if c, err := parse(b); err == nil {
				if in, out := perSecond(traffic{}, c, 1); in < 0 || out < 0 {
					t.Errorf("%s: %v", name, c)
				}
			}
		}
	})
}
