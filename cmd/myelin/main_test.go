package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"
)

// buffer may be read, and waited on, while a command writes to it.
type buffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
		closed bool
	}
	changed sync.Cond
}

func newBuffer() *buffer {
	b := new(buffer)
	b.changed.L = &b.mu
	return b
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed.Broadcast()
	return b.mu.Write(p)
}

// close says that no more will come.
func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.closed = true
	b.changed.Broadcast()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.String()
}

// until waits for a match. It is nil if none came.
func (b *buffer) until(want *regexp.Regexp) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if m := want.FindStringSubmatch(b.mu.String()); m != nil || b.mu.closed {
			return m
		}
		b.changed.Wait()
	}
}

// call runs a command line to its end.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	out, errs := newBuffer(), newBuffer()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = run(ctx, args, streams{strings.NewReader(stdin), out, errs})
	return code, out.String(), errs.String()
}

// node is `myelin serve` in this process.
type node struct {
	main, admin string
	log         *buffer
	stop        func() int // ends it and returns its exit code
}

var addresses = regexp.MustCompile(`(?s)"listener":"main","addr":"([^"]+)".*"listener":"admin","addr":"([^"]+)"`)

func serve(t *testing.T, args ...string) *node {
	t.Helper()
	n := &node{log: newBuffer()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	args = append([]string{
		"serve", "--set", "listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0", "--set", "log.format=json",
	}, args...)
	go func() {
		ended <- run(ctx, args, streams{strings.NewReader(""), newBuffer(), n.log})
		n.log.close()
	}()
	n.stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { n.stop() })
	m := n.log.until(addresses)
	if m == nil {
		t.Fatalf("it ended with %d: %s", n.stop(), n.log)
	}
	n.main, n.admin = m[1], m[2]
	return n
}

func (n *node) url() string { return "ws://" + n.main + "/connection/websocket" }

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("lsten: x\ndrian: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := "ws://127.0.0.1:1/connection/websocket"
	for _, c := range []struct {
		args string
		code int
		says string // on standard error where the code is not 0
	}{
		{"", 2, `expected one of "serve"`},
		{"serv", 2, `did you mean "serve"?`},
		{"serve extra", 2, `Try "myelin serve --help".`},
		{"config", 2, `Try "myelin config --help".`},
		{"config chec", 2, `did you mean "check"?`},
		{"serve", 2, "nothing lets a client in"},
		{"serve -c " + bad, 2, "cannot be used:\n" + bad + ":1:1: lsten: unknown key"},
		{"config check --dev", 0, "the configuration is good"},
		{"config check -c " + bad, 2, bad + ":2:1: drian: unknown key; did you mean \"drain\"?\n"},
		{"config print --dev", 0, "listen: 127.0.0.1:8000\n"},
		{"config docs", 0, "# Configuration\n"},
		{"demo --set lsten=x", 2, `did you mean "listen"?`},
		{"token", 2, "exactly one of --secret and --private-key"},
		{"token --secret x", 0, "eyJ"},
		{"token --secret x --ttl=-1s", 2, "--ttl is -1s"},
		{"token --secret x --client c", 2, "--client goes with --channel"},
		{"token --secret x --channel a --client c", 0, "eyJ"},
		{"token --secret x --channel a --subscribe b", 2, "--subscribe and --allow do not go with --channel"},
		{"token --secret x --allow chat:*=sub,pub", 0, "eyJ"},
		{"token --secret x --allow chat:*", 2, "--allow wants CHANNELS=VERBS"},
		{"token --secret x --allow chat:*=sub,write", 2, "--allow chat:*=sub,write: unknown verb \"write\", want sub, pub, prs or hst"},
		{"token --secret x --info {", 2, "--info is not JSON"},
		{"token --private-key " + bad, 2, "BEGIN PRIVATE KEY"},
		{"token --private-key " + dir, 2, "--private-key: "},
		{"pub --url x news hi", 2, "the scheme must be ws or wss"},
		{"pub --url " + nowhere + " news hi", 1, `is the server running? "myelin serve --dev" starts one`},
		{"sub --url " + nowhere + " news", 1, "connection refused"},
		{"sub news --since x", 2, "--since wants EPOCH:OFFSET"},
		{"sub news --since x:y", 2, "--since wants EPOCH:OFFSET"},
		{"sub a b --since x:1", 2, "one channel"},
		{"sub news --count=-1", 2, "wants a number of publications"},
		{"health --url x", 2, "want one such as http://127.0.0.1:8001/health/ready"},
		{"health --url http://127.0.0.1:1/", 1, "connection refused"},
		{"bench fast", 2, `scenario is "fast"`},
		{"bench fanout --repeat 1 -n 1 -p 1 --url " + nowhere, 1, "connection refused"},
		{"version", 0, "myelin dev go1."},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, out, errs := call(t, "", strings.Fields(c.args)...)
			said := errs
			if code == 0 {
				said = out
				if errs != "" {
					t.Errorf("all is well, and it says %q on standard error", errs)
				}
			}
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("it ended with %d and says\n%s%s\nwant %d and %q", code, out, errs, c.code, c.says)
			}
		})
	}
}

func TestVersionAsJSON(t *testing.T) {
	_, out, _ := call(t, "", "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || v["version"] != "dev" || v["go"] == "" {
		t.Errorf("got %s (%v)", out, err)
	}
}

// TestEveryFlagIsExplained wants a sentence for each command, argument and flag.
func TestEveryFlagIsExplained(t *testing.T) {
	parser, err := kong.New(new(grammar), kong.Name("myelin"))
	if err != nil {
		t.Fatal(err)
	}
	sentence := func(what, help string) {
		if !strings.HasSuffix(help, ".") {
			t.Errorf("%s: %q is not a sentence", what, help)
		}
	}
	count := 0
	var visit func(n *kong.Node)
	visit = func(n *kong.Node) {
		for _, child := range n.Children {
			count++
			sentence(child.FullPath(), child.Help)
			for _, p := range child.Positional {
				sentence(child.FullPath()+" "+p.Name, p.Help)
			}
			for _, f := range child.Flags {
				sentence(child.FullPath()+" --"+f.Name, f.Help)
			}
			visit(child)
		}
	}
	visit(parser.Model.Node)
	if count < 12 {
		t.Errorf("only %d commands were found", count)
	}
}

// TestTools goes once through a server and everything that talks to it, and
// wants that nothing of them is left.
func TestTools(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := serve(t, "--dev")
	if !strings.Contains(s.log.String(), "everybody on this machine may do everything. http://"+s.main) {
		t.Errorf("--dev is not announced: %s", s.log)
	}
	code, out, errs := call(t, "", "pub", "--url", s.url(), "news", `{"n":1}`)
	var ack struct {
		Epoch  string `json:"epoch"`
		Offset int    `json:"offset"`
	}
	if err := json.Unmarshal([]byte(out), &ack); code != 0 || err != nil || ack.Offset != 1 {
		t.Fatalf("pub: %d, %s%s", code, out, errs)
	}
	code, out, errs = call(t, "text\n\n[2]\n", "pub", "--url", s.url(), "--id", "x", "news")
	if code != 0 || strings.Count(out, `"duplicate":false`) != 2 {
		t.Errorf("pub from lines: %d, %s%s", code, out, errs)
	}
	if code, out, errs = call(t, "", "pub", "--url", s.url(), "-q", "news", ""); code != 0 || out != "" {
		t.Errorf("pub -q of an empty text: %d, %s%s", code, out, errs)
	}
	code, out, errs = call(t, "", "sub", "--url", s.url(), "--since", ack.Epoch+":0", "-n", "4", "--data", "news")
	if want := "{\"n\":1}\n\"text\"\n[2]\n\"\"\n"; code != 0 || out != want {
		t.Errorf("sub: %d, %q, want %q; %s", code, out, want, errs)
	}
	code, out, errs = call(t, "", "sub", "--url", s.url(), "--since", ack.Epoch+":1", "-n", "1", "news")
	if want := `{"channel":"news","epoch":"` + ack.Epoch + `","offset":2,"data":"text"}` + "\n"; code != 0 || out != want {
		t.Errorf("sub -n 1: %d, %q, want %q; %s", code, out, want, errs)
	}
	if code, out, errs = call(t, "", "sub", "--url", s.url(), "no:such"); code != 1 || !strings.Contains(errs, "no:such: 102 ") {
		t.Errorf("sub to an unknown namespace: %d, %s%s", code, out, errs)
	}
	if code, out, errs = call(t, "", "health", "--url", "http://"+s.admin+"/health/ready"); code != 0 || !strings.Contains(out, `"ok"`) {
		t.Errorf("health: %d, %s%s", code, out, errs)
	}
	if code, out, errs = call(t, "", "health", "--url", "http://"+s.admin+"/nope"); code != 1 || !strings.Contains(errs, "404") {
		t.Errorf("health of nothing: %d, %s%s", code, out, errs)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("the server ended with %d: %s", code, s.log)
	}
}

// TestRefusedTokenIsNoGuess: what the server said is all that is said.
func TestRefusedTokenIsNoGuess(t *testing.T) {
	s := serve(t, "--set", "auth.tokens.hmac_secret=0123456789abcdef0123456789abcdef")
	code, _, errs := call(t, "", "pub", "--url", s.url(), "--token", "x", "news", "hi")
	if code != 1 || !strings.Contains(errs, "(code 3500)") || strings.Contains(errs, "running") {
		t.Errorf("%d, %s", code, errs)
	}
	code, _, errs = call(t, "", "pub", "--url", "ws://"+s.main, "news", "hi")
	if code != 1 || !strings.Contains(errs, "is the path right?") {
		t.Errorf("%d, %s", code, errs)
	}
}
