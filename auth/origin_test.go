package auth_test

import (
	"net/http"
	"strings"
	"testing"

	"myelin/auth"
)

func allow(t testing.TB, patterns []string, host string, origins ...string) bool {
	t.Helper()
	o, err := auth.NewOrigins(patterns)
	if err != nil {
		t.Fatalf("NewOrigins(%q): %v", patterns, err)
	}
	return o.Allow(&http.Request{Host: host, Header: http.Header{"Origin": origins}})
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		want         bool
	}{
		{"example.com", "https://example.com", true},
		{"example.com", "http://example.com", true}, // TLS may end at a proxy
		{"EXAMPLE.com", "https://Example.COM", true},
		{"example.com:443", "https://example.com", true},
		{"example.com:80", "https://example.com", false},
		{"example.com", "https://example.com:8443", false},
		{"localhost:8000", "http://localhost:8000", true},
		{"localhost:8000", "http://localhost:8001", false},
		{"localhost:8000", "http://127.0.0.1:8000", false},
		{"[::1]:8000", "http://[::1]:8000", true},
		{"[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000", true},
		{"example.com", "https://sub.example.com", false},
		{"example.com", "https://example.com.evil.net", false},
		{"example.com", "https://evil.net", false},
		{"example.com", "null", false},
		{"", "https://evil.net", false},
		{"*", "https://*", false},
		{"*.example.com", "https://*.example.com", false},
		{"example.com/x", "https://example.com", false},
		{"example.com", "", false},
		{"example.com", "example.com", false},
		{"example.com", "https://", false},
		{"example.com", "https://example.com/", false},
		{"example.com", "https://user@example.com", false},
		{"example.com", "https://example.com:", false},
		{"example.com", "https://example.com:0x1bb", false},
		{"example.com", "https://example.com:65536", false},
		{"example.com", " https://example.com", false},
		{"example.com", "https://example.com https://example.com", false},
		{"example.com", "https://" + strings.Repeat("a", 255), false},
	} {
		if got := allow(t, nil, c.host, c.origin); got != c.want {
			t.Errorf("a page of %q at host %q is %v", c.origin, c.host, got)
		}
	}
	if !allow(t, nil, "example.com") {
		t.Error("a client that is no browser was refused")
	}
	if allow(t, nil, "example.com", "https://example.com", "https://example.com") {
		t.Error("two origins were let in")
	}
}

func TestOriginPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string
	}{
		{"https://example.com", "https://example.com https://EXAMPLE.com https://example.com:443", "http://example.com https://example.com:8443 https://a.example.com https://example.com.evil.net null"},
		{"https://example.com:8443", "https://example.com:8443", "https://example.com https://example.com:843"},
		{"HTTPS://Example.com", "https://example.com", ""},
		{"https://*.example.com", "https://a.example.com https://a.b.example.com https://A.Example.Com", "https://example.com https://evilexample.com https://a.example.com.evil.net http://a.example.com https://a.example.com:81"},
		{"https://app-*.example.com", "https://app-1.example.com https://app-.example.com", "https://app-1.x.example.com https://xapp-1.example.com https://app.example.com"},
		{"https://*.app-*.example.com", "https://a.app-1.example.com https://a.b.app-1.example.com", "https://app-1.example.com https://a.app.example.com"},
		{"https://*-x.example.com", "https://a-x.example.com", "https://a.b-x.example.com"},
		{"http://localhost:*", "http://localhost http://localhost:80 http://localhost:5173", "https://localhost:5173 http://localhost.evil.net:80"},
		{"http://*.localhost:*", "http://a.localhost:1", "http://localhost:1"},
		{"http://[::1]:*", "http://[::1]:5173 http://[0::1]", "http://[::2]:5173 http://127.0.0.1:80"},
		{"http://10.0.0.1", "http://10.0.0.1", "http://10.0.0.11"},
		{"https://*", "https://a https://b.c https://[::1]", "http://a https://a:1 null"},
		{"https://*:*", "https://a:1 https://b", "http://a"},
		{"capacitor://localhost", "capacitor://localhost", "http://localhost"},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", "chrome-extension://abcdeg"},
		{"null", "null", "https://example.com https://server.example"},
		{"*", "https://a null https://b:1 file:// anything", ""},
	} {
		for origin := range strings.FieldsSeq(c.yes) {
			if !allow(t, []string{"https://other.example", c.pattern}, "server.example", origin) {
				t.Errorf("%q refuses %q", c.pattern, origin)
			}
		}
		for origin := range strings.FieldsSeq(c.no) {
			if allow(t, []string{c.pattern}, "server.example", origin) {
				t.Errorf("%q lets %q in", c.pattern, origin)
			}
		}
		if !allow(t, []string{c.pattern}, "server.example") {
			t.Errorf("%q refuses a client that is no browser", c.pattern)
		}
	}
	if allow(t, []string{"https://example.com"}, "server.example", "https://server.example") {
		t.Error("a list that is not empty is not the whole truth")
	}
	if allow(t, []string{"*"}, "server.example", "https://a", "https://b") {
		t.Error("two origins were let in")
	}
}

func TestOriginPatternsRefused(t *testing.T) {
	for pattern, say := range map[string]string{
		"":                                    "has no scheme",
		"example.com":                         `origin "example.com": has no scheme, want something like "https://example.com"`,
		"localhost:8000":                      "has no scheme",
		"://x":                                "has no scheme",
		"ht*tp://x":                           "in its scheme",
		"https://":                            "a label is empty",
		"https://example.com/":                "has a path, an origin ends after the host and port",
		"https://example.com/x?y":             "has a path",
		"https://example.com?x":               `has '?' in its host`,
		"https://user@example.com":            `has '@' in its host`,
		"https://example.com:http":            `has the port "http", want a number up to 65535`,
		"https://example.com:99999":           "65535",
		"https://exämple.com":                 "xn--",
		"https://.example.com":                "a label is empty",
		"https://a..com":                      "a label is empty",
		"https://[::1":                        "which is no IPv6 address",
		"https://[1.2.3.4]":                   "no IPv6 address",
		"https://*example.com":                `has a star in "*example", which would let foreign domains in: want "*."`,
		"https://exam*.com":                   "foreign domains",
		"https://example.*":                   "a star in place of an inner label",
		"https://a.*.com":                     "a star in place of an inner label",
		"https://*.*.example.com":             "a star in place of an inner label",
		"https://**.example.com":              "one star is enough",
		"https://a.c*m":                       "foreign domains",
		"http://192.168.*.1":                  "a star in an address",
		"wss://example.com":                   `want "https://..."`,
		"ws://example.com":                    `want "http://..."`,
		"https://" + strings.Repeat("a", 250): "at most 255 are allowed",
	} {
		if _, err := auth.NewOrigins([]string{pattern}); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: got %v, want an error that says %q", pattern, err, say)
		}
	}
	_, err := auth.NewOrigins([]string{"a", "https://ok.example", "b"})
	if err == nil || strings.Count(err.Error(), "has no scheme") != 2 {
		t.Errorf("not everything wrong is reported: %v", err)
	}
	if _, err := auth.NewOrigins(make([]string, 257)); err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("257 origins: %v", err)
	}
}
