package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The nearest address that no trusted proxy has is where a client is, whatever
// the client says before.
func TestWhereAClientIs(t *testing.T) {
	t.Parallel()
	trusted, err := newProxies([]string{"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, forwarded, want string }{
		{"192.0.2.7:99", "", "192.0.2.7"},
		{"192.0.2.7:99", "198.51.100.1", "192.0.2.7"},
		{"127.0.0.1:99", "", "127.0.0.1"},
		{"127.0.0.1:99", "198.51.100.1", "198.51.100.1"},
		{"127.0.0.1:99", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		{"127.0.0.1:99", "203.0.113.9, 198.51.100.1, 10.1.2.3", "198.51.100.1"},
		{"127.0.0.1:99", "203.0.113.9|198.51.100.1", "198.51.100.1"},
		{"127.0.0.1:99", "198.51.100.1:4711", "198.51.100.1"},
		{"127.0.0.1:99", "10.9.9.9, 10.1.2.3", "10.9.9.9"},
		{"127.0.0.1:99", "203.0.113.9, nonsense, 10.1.2.3", "10.1.2.3"},
		{"127.0.0.1:99", "::ffff:198.51.100.1", "198.51.100.1"},
		{"[2001:db8::1]:99", "2001:db9::7", "2001:db9::7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		for line := range strings.SplitSeq(c.forwarded, "|") {
			r.Header.Add("X-Forwarded-For", line)
		}
		if got := trusted.client(r).String(); got != c.want {
			t.Errorf("%s, forwarded for %q: %s, want %s", c.from, c.forwarded, got, c.want)
		}
	}
}
