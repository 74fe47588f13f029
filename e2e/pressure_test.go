package e2e

import (
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestOutOfFiles asks for more connections than a server has file descriptors
// for: whoever is connected stays served, its log says what is the matter, and
// when some are free again others get in.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	p := &process{out: new(record), ended: make(chan struct{})}
	args := append([]string{"-c", `ulimit -n 48 && exec "$0" "$@"`, executable, "serve", "--dev"}, anyPorts()...)
	p.cmd = exec.Command("bash", args...)
	p.cmd.Env, p.cmd.Dir = environment(), t.TempDir()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := p.ready(); err != nil {
		t.Fatal(err)
	}
	w := newWay(t, p.main, nil, 1)
	s := w.stream(http.MethodGet, "/connection/uni_sse?channel=news", "")
	s.until(`"connect":`)

	var taken []net.Conn
	defer func() {
		for _, c := range taken {
			_ = c.Close()
		}
	}()
	for range 60 {
		c, err := net.Dial("tcp", p.main)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
	}
	eventually(t, "the log says what is the matter", func() bool {
		return strings.Contains(p.out.String(), `"level":"WARN"`) && strings.Contains(p.out.String(), "too many connections")
	})
	for _, c := range taken {
		_ = c.Close()
	}
	taken = nil
	if out, stderr, code := run(t, "pub", "--url", p.ws(), "news", "after all"); code != 0 {
		t.Errorf("when files are free again, pub says %s%s", out, stderr)
	}
	s.until(`"after all"`)
}

// TestRefusedPagesAreLogged tells whoever tries things out why the page cannot
// connect: a browser does not.
func TestRefusedPagesAreLogged(t *testing.T) {
	t.Parallel()
	server := serve(t, "", "--dev")
	w := newWay(t, server.main, nil, 1)
	for path, origin := range map[string]string{
		"/connection/websocket": "null", "/connection/uni_sse": "https://elsewhere.example", "/api/info": "https://other.example",
	} {
		if resp := w.do(http.MethodGet, path, "", "Origin", origin); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s from %s is answered with %s", path, origin, resp.Status)
		}
		want := `"level":"WARN","msg":"a page was refused: its origin is not in auth.allowed_origins","origin":"` + origin + `","path":"` + path + `"`
		eventually(t, "the log says "+want, func() bool { return strings.Contains(server.out.String(), want) })
	}
}
