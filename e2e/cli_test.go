package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside the commands of testscript they have:
//
//	start NAME serve|demo ARGS...  a server on free ports; sets $NAME_HTTP, $NAME_ADMIN,
//	                               $NAME_ADDR and $MYELIN_URL
//	signal NAME TERM|INT|KILL      sends it a signal
//	ended NAME CODE                waits for its end
//	says NAME REGEXP               waits until it has written that
//	fails CODE COMMAND...          runs a command that must end with that code
//	keys KIND NAME                 writes NAME.key and NAME.pub
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", searchPath())
			e.Values[started{}] = map[string]*process{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": scriptStart, "signal": scriptSignal, "ended": scriptEnded,
			"says": scriptSays, "fails": scriptFails, "keys": scriptKeys,
		},
	})
}

// started is the key of a script's servers, by name.
type started struct{}

func servers(ts *testscript.TestScript) map[string]*process {
	return ts.Value(started{}).(map[string]*process)
}

func server(ts *testscript.TestScript, args []string, want int, usage string) *process {
	if len(args) != want {
		ts.Fatalf("usage: %s", usage)
	}
	p := servers(ts)[args[0]]
	if p == nil {
		ts.Fatalf("there is no server %s", args[0])
	}
	return p
}

func scriptStart(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME serve|demo ARGS...")
	}
	name, args := args[0], args[1:]
	ports := anyPorts()
	if args[0] == "demo" {
		ports = []string{"--set", "listen=127.0.0.1:0"}
	}
	// What the script wants comes last, and wins.
	args = append(append([]string{args[0]}, ports...), args[1:]...)
	p, err := launch(environment(), ts.MkAbs("."), args...)
	ts.Check(err)
	servers(ts)[name] = p
	ts.Defer(func() {
		p.kill()
		ts.Logf("%s wrote:\n%s", name, tail(p.out.String()))
	})
	ts.Check(p.ready())
	ts.Setenv(name+"_ADDR", p.main)
	ts.Setenv(name+"_HTTP", p.http(""))
	ts.Setenv(name+"_ADMIN", p.adminHTTP(""))
	ts.Setenv("MYELIN_URL", p.ws())
}

func scriptSignal(ts *testscript.TestScript, _ bool, args []string) {
	p := server(ts, args, 2, "signal NAME TERM|INT|KILL")
	s, ok := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[1]]
	if !ok {
		ts.Fatalf("there is no signal %s", args[1])
	}
	ts.Check(p.signal(s))
}

func scriptEnded(ts *testscript.TestScript, _ bool, args []string) {
	p := server(ts, args, 2, "ended NAME CODE")
	code, err := p.wait()
	ts.Check(err)
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("%s ended with %d, want %s", args[0], code, args[1])
	}
}

func scriptSays(ts *testscript.TestScript, neg bool, args []string) {
	p := server(ts, args, 2, "says NAME REGEXP")
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if neg {
		if said := want.FindString(p.out.String()); said != "" {
			ts.Fatalf("%s says %q", args[0], said)
		}
		return
	}
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !want.MatchString(p.out.String()) {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s does not say %q", args[0], args[1])
		}
	}
}

func scriptFails(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// scriptKeys writes a key pair in the forms in which openssl writes them:
// rsa, p256, p384, p521 and ed25519 in PKCS8, rsa-old and p256-old as before.
func scriptKeys(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: keys KIND NAME")
	}
	kind, old := strings.CutSuffix(args[0], "-old")
	key, err := newKey(kind)
	ts.Check(err)
	block := &pem.Block{Type: "PRIVATE KEY"}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if old {
			block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}
		}
	case *ecdsa.PrivateKey:
		if old {
			block.Type = "EC PRIVATE KEY"
			block.Bytes, err = x509.MarshalECPrivateKey(k)
			ts.Check(err)
		}
	}
	if block.Bytes == nil {
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".key"), pem.EncodeToMemory(block), 0o600))
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600))
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, errors.New("there is no kind of key " + kind)
}

// helpRow is a row of the list of commands in `myelin --help`.
var helpRow = regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z]+)?)  +\S`)

// commands returns every command with its help.
func commands(t *testing.T) map[string]string {
	t.Helper()
	help, _, code := run(t, "--help")
	if code != 0 {
		t.Fatalf("myelin --help ends with %d", code)
	}
	_, list, found := strings.Cut(help, "Commands:")
	if !found {
		t.Fatalf("no list of commands in:\n%s", help)
	}
	all := map[string]string{}
	for _, m := range helpRow.FindAllStringSubmatch(list, -1) {
		text, _, code := run(t, append(strings.Fields(m[1]), "--help")...)
		if code != 0 {
			t.Errorf("myelin %s --help ends with %d", m[1], code)
		}
		all[m[1]] = text
	}
	return all
}

// TestHelp wants a help text for every command, and a sentence for every flag.
func TestHelp(t *testing.T) {
	t.Parallel()
	all := commands(t)
	for _, name := range []string{
		"serve", "demo", "config check", "config print", "config docs", "token", "pub", "sub", "bench", "backup", "health", "version",
	} {
		if all[name] == "" {
			t.Errorf("myelin --help does not list %s", name)
		}
	}
	bare := regexp.MustCompile(`(?m)^ +(-\S, )?--[a-z-]+(=\S+)?$\n^ {0,8}\S`)
	for name, help := range all {
		usage, about, _ := strings.Cut(help, "\n\n")
		if !strings.HasPrefix(usage, "Usage: myelin "+name) {
			t.Errorf("myelin %s --help begins with %q", name, usage)
		}
		if first, _, _ := strings.Cut(about, "\n"); !strings.HasSuffix(first, ".") {
			t.Errorf("myelin %s --help says %q, want a sentence", name, first)
		}
		if flag := bare.FindString(help); flag != "" {
			t.Errorf("myelin %s --help does not explain %q", name, flag)
		}
	}
}
