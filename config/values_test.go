package config_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/config"
)

// try loads one --set; it returns the problem, if any.
func try(t *testing.T, key, text string) (*config.Config, *config.Problem) {
	t.Helper()
	src := config.Source{Bytes: []byte(open), Set: []string{"limits.queue=1GiB", key + "=" + text}}
	c, err := config.Load(src)
	if err == nil {
		return c, nil
	}
	got := problems(t, src)
	return nil, &got[0]
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "90s": 90 * time.Second, "1m30s": 90 * time.Second, "0.5h": 30 * time.Minute, "1h0m0s": time.Hour, "1500ms": 1500 * time.Millisecond,
		"0": 0, "0s": 0,
	} {
		c, p := try(t, "namespaces.default.position_check", text)
		if p != nil || time.Duration(c.Namespaces["default"].PositionCheck) != want {
			t.Errorf("%q gave %v and %v, want %v", text, c, p, want)
		}
	}
	for text, suggestion := range map[string]string{
		"30": "30s", "5 m": "5m", "5min": "5m", "2 hours": "2h", "1d": "24h", "2w": "336h", "1.5 days": "36h", "100 millis": "100ms", "1_000": "16m40s",
		"": "", "x": "", "m": "", "-5m": "", "5y": "", "5m5": "", "1e400s": "", "infs": "", "9999999999h": "", "1m ago": "",
	} {
		_, p := try(t, "namespaces.default.position_check", text)
		if p == nil || p.Suggestion != suggestion {
			t.Errorf("%q gave %+v, want the suggestion %q", text, p, suggestion)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"65536": 65536, "64KiB": 64 * config.KiB, "1MiB": config.MiB, "1025": 1025, "1024KiB": config.MiB,
	} {
		c, p := try(t, "limits.message", text)
		if p != nil || c.Limits.Message != want {
			t.Errorf("%q gave %v, want %v", text, p, want)
		}
	}
	for text, suggestion := range map[string]string{
		"64k": "64KiB", "64 KiB": "64KiB", "64kb": "64KiB", "1.5MiB": "1536KiB", "2m": "2MiB", "1gb": "1GiB", "100B": "100", "2048 bytes": "2KiB",
		"": "", "KiB": "", "-1": "", "64KB8": "", "0100": "100", "+5": "5", "1e3": "1000", "64KKiB": "", "9223372036854775807KiB": "", "9223372036854775808": "", "0x10": "", "1TiB": "",
	} {
		_, p := try(t, "limits.message", text)
		if p == nil || p.Suggestion != suggestion {
			t.Errorf("%q gave %+v, want the suggestion %q", text, p, suggestion)
		}
	}
}

func TestNumbersAndSwitches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, text, suggestion string }{
		{"limits.connections", "1_000", "1000"},
		{"limits.connections", "1,000", "1000"},
		{"limits.connections", "1e5", "100000"},
		{"limits.connections", "+7", "7"},
		{"limits.connections", "007", "7"},
		{"limits.connections", "7.5", ""},
		{"limits.connections", "NaN", ""},
		{"limits.connections", "Inf", ""},
		{"limits.connections", "", ""},
		{"limits.connections", "99999999999999999999", ""},
		{"api.insecure", "yes", "true"},
		{"api.insecure", "TRUE", "true"},
		{"api.insecure", "off", "false"},
		{"api.insecure", "0", "false"},
		{"api.insecure", "", ""},
		{"namespaces.default.recover", "aut", "auto"},
		{"listen", "8000", "127.0.0.1:8000"},
		{"listen", "localhost", "localhost:8000"},
		{"listen", "::1:8000", ""},
		{"listen", "127.0.0.1:http", ""},
		{"listen", "127.0.0.1:08000", ""},
		{"listen", "127.0.0.1:", ""},
		{"listen", "", ""},
		{"auth.tokens.jwks_url", "ftp://example.com/", ""},
		{"auth.tokens.jwks_url", "https:///x", ""},
		{"auth.tokens.jwks_url", "%", ""},
		{"log.level", "\xff", ""},
		{"auth.tokens.issuer", "\xff", ""},
	} {
		if _, p := try(t, c.key, c.text); p == nil || p.Suggestion != c.suggestion || p.Path != c.key {
			t.Errorf("%s=%q gave %+v, want the suggestion %q", c.key, c.text, p, c.suggestion)
		}
	}
}

// TestValuesPrintAsTheyParse: what String writes is what Load reads.
func TestValuesPrintAsTheyParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := config.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(rt, "duration"))
		s := config.Size(rapid.Int64Range(1<<10, 64<<20).Draw(rt, "size"))
		if rapid.Bool().Draw(rt, "round") {
			d = config.Duration(time.Duration(d).Truncate(time.Minute) + time.Minute)
			d = min(d, config.Duration(time.Hour))
			s = s / config.MiB * config.MiB
			s = max(s, config.KiB)
		}
		c, err := config.Load(config.Source{Bytes: []byte(open), Set: []string{
			"namespaces.default.position_check=" + d.String(), "limits.queue=1GiB", "limits.message=" + s.String(),
		}})
		if err != nil {
			rt.Fatal(err)
		}
		if c.Namespaces["default"].PositionCheck != d || c.Limits.Message != s {
			rt.Fatalf("%v and %v came back as %v and %v", d, s, c.Namespaces["default"].PositionCheck, c.Limits.Message)
		}
	})
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 20 * time.Second: "20s",
		time.Hour + time.Second: "1h0m1s", 100 * time.Hour: "100h", 1500 * time.Millisecond: "1.5s",
	} {
		if got := config.Duration(d).String(); got != want {
			t.Errorf("%d prints as %s, want %s", d, got, want)
		}
	}
	for s, want := range map[config.Size]string{0: "0", 1: "1", 1 << 10: "1KiB", 1536 << 10: "1536KiB", 3 << 20: "3MiB", 2 << 30: "2GiB", 1000: "1000"} {
		if got := s.String(); got != want {
			t.Errorf("%d prints as %s, want %s", s, got, want)
		}
	}
}
