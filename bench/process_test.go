package bench_test

import (
	"os"
	"testing"
	"time"

	"myelin/bench"
)

// A process named "a) R 1 2 (b" must not move the fields.
const awkwardStat = "42 (a) R 1 2 (b) S 1 42 42 0 -1 4194560 100 0 0 0 1234 66 7 8 20 0 5 0 100 200 300 18446744073709551615 1\n"

func TestParseStat(t *testing.T) {
	got, err := bench.ParseStat([]byte(awkwardStat))
	if want := 13 * time.Second; err != nil || got != want {
		t.Errorf("cpu is %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1 2 3", "42 (a) S 1 42 42 0 -1 4194560 100 0 0 0 x 66 7 8"} {
		if got, err := bench.ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := bench.ParseStatus([]byte("Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t   12345 kB\nThreads:\t5\n"))
	if err != nil || got != 12345<<10 {
		t.Errorf("rss is %v, %v, want %v", got, err, 12345<<10)
	}
	for _, bad := range []string{"", "Name:\tkthreadd\n", "VmRSS:\t12 MB\n", "VmRSS:\t-1 kB\n", "VmRSS:\n"} {
		if got, err := bench.ParseStatus([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestOwnProcessCanBeRead(t *testing.T) {
	for _, file := range []struct {
		name  string
		parse func([]byte) (bool, error)
	}{
		{"/proc/self/stat", func(b []byte) (bool, error) { d, err := bench.ParseStat(b); return d >= 0, err }},
		{"/proc/self/status", func(b []byte) (bool, error) { n, err := bench.ParseStatus(b); return n > 1<<20, err }},
	} {
		b, err := os.ReadFile(file.name)
		if err != nil {
			t.Skip(err)
		}
		if plausible, err := file.parse(b); err != nil || !plausible {
			t.Errorf("%s: plausible %v, error %v", file.name, plausible, err)
		}
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add([]byte(awkwardStat))
	f.Add([]byte("VmRSS:\t   12345 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := bench.ParseStat(b); err == nil && d < 0 {
			t.Errorf("negative CPU time %v", d)
		}
		if n, err := bench.ParseStatus(b); err == nil && n < 0 {
			t.Errorf("negative memory %v", n)
		}
	})
}
