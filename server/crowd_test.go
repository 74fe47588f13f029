package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// ask sends raw bytes to a server and returns the status line of the answer,
// "" where the connection was closed without one.
func ask(t *testing.T, addr net.Addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// A page elsewhere whose name points here is the "same origin" to a browser.
func TestDevAnswersToItsOwnNamesOnly(t *testing.T) {
	for _, dev := range []bool{true, false} {
		s, stop := start(t, load(t, dev, "auth: {anonymous: true}"))
		for host, own := range map[string]bool{
			"127.0.0.1": true, "localhost": true, "localhost:8000": true, "[::1]:80": true, "[::1]": true, "127.9.9.9": true,
			"evil.example": false, "evil.example:8000": false, "localhost.evil.example": false, "10.0.0.1": false, "[2001:db8::1]": false,
		} {
			for _, path := range []string{"/", "/connection/uni_sse", "/api/info", "/metrics"} {
				got := ask(t, s.Addr(), fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host))
				if refused := strings.Contains(got, " 403 "); refused != (dev && !own) {
					t.Errorf("dev %t, host %s, %s: %s", dev, host, path, got)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// An image or a link on another site's page sends no Origin, but browsers say
// where it came from.
func TestNoOtherSiteCanHaveABrowserSendCommands(t *testing.T) {
	s, stop := start(t, load(t, true, ""))
	base := "http://" + s.Addr().String()
	connect := `%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D`
	publish := `%0A%7B%22id%22%3A2%2C%22publish%22%3A%7B%22channel%22%3A%22x%22%2C%22data%22%3A1%7D%7D`
	for _, c := range []struct {
		path, site string
		want       int
	}{
		{"/connection/uni_sse?channel=x", "cross-site", http.StatusForbidden},
		{"/connection/uni_sse?channel=x", "same-site", http.StatusForbidden},
		{"/connection/sse?cf_connect=" + connect, "cross-site", http.StatusForbidden},
		{"/connection/sse?cf_connect=" + connect + publish, "", http.StatusBadRequest},
		{"/connection/sse?cf_connect=" + connect, "same-origin", http.StatusOK},
		{"/connection/uni_sse?channel=x", "none", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.site != "" {
			req.Header.Set("Sec-Fetch-Site", c.site)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s from %q: %d, want %d", c.path, c.site, resp.StatusCode, c.want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Connections that ask for nothing must not keep out those who do.
func TestIdleHTTPConnectionsAreBounded(t *testing.T) {
	c := load(t, true, "")
	c.Limits.Connections = 10
	s, stop := start(t, c)
	var idle []net.Conn
	closed := 0
	for range 10 + 512 + 50 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	// The last ones are turned away: reading ends at once.
	for _, conn := range idle[len(idle)-50:] {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			closed++
		}
	}
	if closed != 50 {
		t.Errorf("%d of 50 connections too many were closed", closed)
	}
	if code, _ := get(t, "http://"+s.AdminAddr().String()+"/health/live"); code != http.StatusOK {
		t.Errorf("the operator gets %d", code)
	}
	for _, conn := range idle {
		_ = conn.Close()
	}
	_, metrics := get(t, "http://"+s.AdminAddr().String()+"/metrics")
	if !strings.Contains(metrics, `myelin_limit_hits_total{limit="http_connections"} 50`) {
		t.Error("the limit was not counted")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
