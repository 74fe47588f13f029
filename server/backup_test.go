package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"myelin/server"
)

// kept returns a running server that keeps its channels on disk.
func kept(t *testing.T) (s *server.Server, data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	c := load(t, true, "")
	c.Engine.Disk.Path = data
	s, stop := start(t, c)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s, data
}

// request is a request for a backup as its bytes.
func request(host, kind, body string) string {
	return fmt.Sprintf("POST /backup HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", host, kind, len(body), body)
}

// Nobody but the operator on this machine has the server write into a directory:
// no page in a browser, by whatever name it points here.
func TestBackupIsForThisMachineOnly(t *testing.T) {
	s, data := kept(t)
	dir := filepath.Join(t.TempDir(), "copy")
	body := `{"dir": "` + dir + `"}`
	for name, c := range map[string]struct {
		host, kind, body string
		want             int
	}{
		"a form of a page":        {"127.0.0.1", "text/plain", body, http.StatusUnsupportedMediaType},
		"a name that points here": {"evil.example", "application/json", body, http.StatusForbidden},
		"no JSON":                 {"127.0.0.1", "application/json", "dir=/x", http.StatusBadRequest},
		"a relative path":         {"127.0.0.1", "application/json", `{"dir": "copy"}`, http.StatusBadRequest},
		"no path":                 {"127.0.0.1", "application/json", `{}`, http.StatusBadRequest},
		"the data itself":         {"127.0.0.1", "application/json", `{"dir": "` + data + `"}`, http.StatusBadRequest},
		"too long":                {"127.0.0.1", "application/json", `{"dir": "/` + strings.Repeat("x", 1<<20) + `"}`, http.StatusBadRequest},
	} {
		if got := ask(t, s.AdminAddr(), request(c.host, c.kind, c.body)); !strings.Contains(got, fmt.Sprintf(" %d ", c.want)) {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatal("something was written")
	}
	if got := ask(t, s.Addr(), request("127.0.0.1", "application/json", body)); strings.Contains(got, " 200 ") {
		t.Errorf("the main listener makes a backup: %q", got)
	}
	if got := ask(t, s.AdminAddr(), request("localhost:8001", "application/json; charset=utf-8", body)); !strings.Contains(got, " 200 ") {
		t.Errorf("the operator gets %q", got)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the backup: %v, %v", info.Mode(), err)
	}
}

// A link must not lead the server to where the name did not say.
func TestBackupGoesWhereItsNameSays(t *testing.T) {
	s, data := kept(t)
	dir := t.TempDir()
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": elsewhere, "inside": data} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"link", "inside/copy", "inside/../data/copy"} {
		body := `{"dir": "` + filepath.ToSlash(dir) + "/" + name + `"}`
		if got := ask(t, s.AdminAddr(), request("127.0.0.1", "application/json", body)); !strings.Contains(got, " 400 ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("the link was followed: %v, %v", left, err)
	}
}
