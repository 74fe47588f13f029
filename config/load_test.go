package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/config"
)

// open is the least that a configuration needs to start.
const open = "auth: {anonymous: true}\n"

func load(t *testing.T, src config.Source) *config.Config {
	t.Helper()
	c, err := config.Load(src)
	if err != nil {
		t.Fatalf("unexpected problems:\n%v", err)
	}
	return c
}

// problems loads what must not load.
func problems(t *testing.T, src config.Source) []config.Problem {
	t.Helper()
	c, err := config.Load(src)
	var all *config.Errors
	if c != nil || !errors.As(err, &all) {
		t.Fatalf("loaded %v with error %v", c, err)
	}
	return all.Problems
}

func TestDefaultsAreTheDesigns(t *testing.T) {
	t.Parallel()
	c := config.Default()
	ns := c.Namespaces[config.DefaultNamespace]
	for _, check := range []struct{ name, got, want string }{
		{"listen", c.Listen, "127.0.0.1:8000"},
		{"admin.listen", c.Admin.Listen, "127.0.0.1:8001"},
		{"engine.kind", c.Engine.Kind, "auto"},
		{"kind", ns.Kind, "log"},
		{"durability", ns.Durability, "auto"},
		{"position_check", ns.PositionCheck.String(), "30s"},
		{"ping_interval", c.Client.PingInterval.String(), "25s"},
		{"pong_timeout", c.Client.PongTimeout.String(), "10s"},
		{"message", c.Limits.Message.String(), "64KiB"},
		{"queue", c.Limits.Queue.String(), "64KiB"},
		{"user_id_claim", c.Auth.Tokens.UserIDClaim, "sub"},
	} {
		if check.got != check.want {
			t.Errorf("%s is %q, want %q", check.name, check.got, check.want)
		}
	}
	if c.Limits.Connections != 100_000 || c.Limits.ChannelsPerConnection != 128 {
		t.Errorf("limits are %+v", c.Limits)
	}
	if p := c.Validate(); len(p) != 1 || p[0].Path != "auth" {
		t.Errorf("Validate() of the defaults gives %v, want only that nothing lets a client in", p)
	}
}

func TestLaterLayersWin(t *testing.T) {
	t.Parallel()
	const file = open + "limits: {connections: 1, channels_per_connection: 1, history_read: 1}\nlog: {level: warn}\n"
	c := load(t, config.Source{
		Bytes: []byte(file),
		Env: []string{
			"MYELIN_LIMITS__CONNECTIONS=2", "MYELIN_LIMITS__CHANNELS_PER_CONNECTION=2",
			"PATH=/bin", "OTHER_LIMITS__CONNECTIONS=9",
		},
		Set: []string{"limits.connections=8", "limits.connections=3"},
	})
	got := []int{c.Limits.Connections, c.Limits.ChannelsPerConnection, c.Limits.HistoryRead, c.Limits.CommandBurst}
	if want := []int{3, 2, 1, 2000}; !slices.Equal(got, want) {
		t.Errorf("--set, env, file, default gave %v, want %v", got, want)
	}
	if c.Log.Level != "warn" || c.Log.Format != "auto" {
		t.Errorf("log is %+v", c.Log)
	}
}

func TestGroupsMergeAndListsReplace(t *testing.T) {
	t.Parallel()
	const file = open + `
namespaces:
  chat:
    history: {size: 10, ttl: 1m}
    subscribe: [anonymous, token]
  Loud: {}
`
	c := load(t, config.Source{
		Bytes: []byte(file),
		Env: []string{
			"MYELIN_NAMESPACES={chat: {presence: true}, fresh: {join_leave: true}}",
			"MYELIN_NAMESPACES__CHAT__HISTORY__SIZE=20",
			"MYELIN_NAMESPACES__CHAT__SUBSCRIBE=user, token",
			"MYELIN_NAMESPACES__Loud__PRESENCE=true",
			"MYELIN_NAMESPACES__NEW__PRESENCE=true",
			"MYELIN_NAMESPACES__Mixed__PRESENCE=true",
			"MYELIN_AUTH__ALLOWED_ORIGINS=",
		},
		Set: []string{
			"namespaces.chat.history={ttl: 2m}",
			"namespaces.chat.publish=[user]",
			"auth.allowed_origins=https://a.example,https://b.example",
		},
	})
	chat := c.Namespaces["chat"]
	if chat.History.Size != 20 || time.Duration(chat.History.TTL) != 2*time.Minute || !chat.Presence {
		t.Errorf("chat is %+v", chat)
	}
	if !slices.Equal(chat.Subscribe, []string{"user", "token"}) || !slices.Equal(chat.Publish, []string{"user"}) {
		t.Errorf("chat's lists are %v and %v", chat.Subscribe, chat.Publish)
	}
	if !slices.Equal(c.Auth.AllowedOrigins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("origins are %v", c.Auth.AllowedOrigins)
	}
	if !c.Namespaces["Loud"].Presence || !c.Namespaces["new"].Presence || !c.Namespaces["fresh"].JoinLeave || !c.Namespaces["Mixed"].Presence {
		t.Errorf("namespaces are %v", c.Namespaces)
	}
	if len(c.Namespaces) != 6 {
		t.Errorf("there are %d namespaces, want chat, Loud, new, fresh, Mixed and default", len(c.Namespaces))
	}
}

func TestEnvironmentOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	load(t, config.Source{
		Bytes:    []byte(open),
		Reserved: []string{"MYELIN_CONFIG"},
		Env: []string{
			"MYELIN_CONFIG=/etc/myelin.yaml",
			"MYELIN_SERVICE_HOST=10.0.0.1",
			"MYELIN_SERVICE_PORT=8000",
			"MYELIN_SERVICE_PORT_HTTP=8000",
			"MYELIN_PORT=tcp://10.0.0.1:8000",
			"MYELIN_PORT_8000_TCP=tcp://10.0.0.1:8000",
			"MYELIN_PORT_8000_TCP_PROTO=tcp",
			"MYELIN_PORT_8000_TCP_PORT=8000",
			"MYELIN_PORT_8000_TCP_ADDR=10.0.0.1",
			"MYELIN_ADMIN_SERVICE_HOST=10.0.0.2",
			"MYELINX=1",
			"noequals",
		},
	})
	got := problems(t, config.Source{Bytes: []byte(open), Env: []string{"MYELIN_PORT=8000", "MYELIN_CONFIG=x"}})
	if len(got) != 2 {
		t.Errorf("a port that is no link and a variable nobody reserved gave %v", got)
	}
}

func TestFileIsReadFromDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "myelin.yaml")
	if err := os.WriteFile(path, []byte("\ufeff"+open+"limts: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := problems(t, config.Source{Path: path}); len(got) != 1 || got[0].Where != path+":2:1" || got[0].Suggestion != "limits" {
		t.Errorf("got %+v", got)
	}
	got := problems(t, config.Source{Path: filepath.Join(dir, "none.yaml"), Set: []string{"log.level=x"}})
	if len(got) != 2 || !strings.Contains(got[0].Message, "no such file") || got[1].Path != "log.level" {
		t.Errorf("a missing file gave %v", got)
	}
	if got := problems(t, config.Source{Path: dir}); len(got) != 1 || !strings.Contains(got[0].Message, "directory") {
		t.Errorf("a directory gave %v", got)
	}
}

func TestEmptyGroupsAreEmpty(t *testing.T) {
	t.Parallel()
	for _, file := range []string{open + "tls:\nnamespaces:\n", open + "# only a comment\n", "{\"auth\": {\"anonymous\": true}}", "---\n" + open} {
		if c := load(t, config.Source{Bytes: []byte(file)}); !c.Auth.Anonymous || len(c.Namespaces) != 1 {
			t.Errorf("%q gave %+v", file, c)
		}
	}
	for _, file := range []string{"", "# nothing\n", "---\n", "null\n", "{}"} {
		if got := problems(t, config.Source{Bytes: []byte(file)}); len(got) != 1 || got[0].Path != "auth" {
			t.Errorf("%q gave %v", file, got)
		}
	}
}

func TestDevPreset(t *testing.T) {
	t.Parallel()
	c := load(t, config.Source{Dev: true, Bytes: []byte("api: {key: k}\nnamespaces: {chat: {presence: false}}\n")})
	if !c.DevMode || !c.Auth.Anonymous || !c.API.Insecure {
		t.Errorf("--dev gave %+v", c)
	}
	for name, ns := range c.Namespaces {
		if !slices.Equal(ns.Subscribe, []string{"anonymous"}) || !slices.Equal(ns.Publish, []string{"anonymous"}) || !ns.Recovers() {
			t.Errorf("namespace %s is %+v", name, ns)
		}
	}
	if c.Namespaces["chat"].Presence || !c.Namespaces["default"].Presence {
		t.Error("the file does not win over the preset")
	}
	text, err := c.YAML(false)
	if err != nil {
		t.Fatal(err)
	}
	if again := problems(t, config.Source{Bytes: text}); len(again) != 1 || again[0].Path != "api.insecure" {
		t.Errorf("a printed preset with a key, without --dev, gave %v", again)
	}
	if built := config.Default(); true {
		built.Dev()
		if p := built.Validate(); len(p) != 0 {
			t.Errorf("the preset itself has problems: %v", p)
		}
	}
}

func TestRecoverFollowsHistory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  string
		size int
		want bool
	}{{"auto", 0, false}, {"auto", 1, true}, {"true", 1, true}, {"false", 1, false}} {
		n := config.Namespace{Recover: config.Switch(c.set), History: config.History{Size: c.size}}
		if n.Recovers() != c.want {
			t.Errorf("recover: %s with %d publications is %v", c.set, c.size, n.Recovers())
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:8000": true, "127.9.9.9:1": true, "localhost:0": true, "[::1]:8000": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:8000": false, ":8000": false, "[::]:8000": false, "10.0.0.1:80": false, "example.com:80": false,
		"localhost.example.com:80": false, "nonsense": false, "": false, "127.0.0.1": false,
	} {
		if config.Loopback(address) != want {
			t.Errorf("Loopback(%q) is %v", address, !want)
		}
	}
}

// TestValidateFindsWhatLoadWould holds Validate against configurations that no
// loader has seen.
func TestValidateFindsWhatLoadWould(t *testing.T) {
	t.Parallel()
	for path, spoil := range map[string]func(*config.Config){
		"limits.connections":            func(c *config.Config) { c.Limits.Connections = 0 },
		"listen":                        func(c *config.Config) { c.Listen = "nonsense" },
		"engine.kind":                   func(c *config.Config) { c.Engine.Kind = "punchcards" },
		"namespaces":                    func(c *config.Config) { c.Namespaces = nil },
		"namespaces.a b":                func(c *config.Config) { c.Namespaces["a b"] = c.Namespaces["default"] },
		"auth.allowed_origins":          func(c *config.Config) { c.Auth.AllowedOrigins = []string{"x"} },
		"api.key":                       func(c *config.Config) { c.API.Key = "two\nlines" },
		"tls.cert_file":                 func(c *config.Config) { c.TLS.CertFile = "x" },
		"namespaces.default.publish":    func(c *config.Config) { set(c, func(n *config.Namespace) { n.Publish = nil }) },
		"namespaces.default.recover":    func(c *config.Config) { set(c, func(n *config.Namespace) { n.Recover = config.On }) },
		"namespaces.default.kind":       func(c *config.Config) { set(c, func(n *config.Namespace) { n.Kind = "" }) },
		"namespaces.default.durability": func(c *config.Config) { set(c, func(n *config.Namespace) { n.Durability = "sync" }) },
	} {
		c := config.Default()
		c.Auth.Anonymous = true
		spoil(c)
		if got := c.Validate(); len(got) != 1 || got[0].Path != path {
			t.Errorf("want one problem with %s, got %v", path, got)
		}
	}
}

// edge is settings at a turn of a rule.
type edge struct {
	sets []string
	path string // of the one problem, or nothing
}

func tryEdges(t *testing.T, edges []edge) {
	t.Helper()
	for _, c := range edges {
		_, err := config.Load(config.Source{Bytes: []byte(open), Set: c.sets})
		var all *config.Errors
		switch {
		case c.path == "" && err != nil:
			t.Errorf("%v is refused: %v", c.sets, err)
		case c.path != "" && (!errors.As(err, &all) || len(all.Problems) != 1 || all.Problems[0].Path != c.path):
			t.Errorf("%v gave %v, want a problem with %s", c.sets, err, c.path)
		}
	}
}

// TestEdgesOfRules tries each rule where it turns.
func TestEdgesOfRules(t *testing.T) {
	t.Parallel()
	tryEdges(t, []edge{
		{[]string{"client.ping_interval=10s", "client.pong_timeout=10s"}, "client.pong_timeout"},
		{[]string{"client.ping_interval=11s", "client.pong_timeout=10s"}, ""},
		{[]string{"drain.grace=5s", "drain.timeout=5s"}, "drain.grace"},
		{[]string{"drain.grace=5s", "drain.timeout=5001ms"}, ""},
		{[]string{"limits.message=64KiB", "limits.queue=64KiB"}, ""},
		{[]string{"limits.message=65537", "limits.queue=64KiB"}, "limits.message"},
		{[]string{"limits.message=18014398509482048KiB"}, "limits.message"},
		{[]string{"listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"}, ""},
		{[]string{"listen=127.0.0.1:1", "admin.listen=127.0.0.1:1"}, "admin.listen"},
		{[]string{"admin.listen="}, ""},
		{[]string{"api.insecure=true"}, ""},
		{[]string{"api.insecure=true", "listen=:80"}, "api.insecure"},
		{[]string{"namespaces.a.history={ttl: 2h, meta_ttl: 2h}"}, ""},
		{[]string{"namespaces.a.history={ttl: 2h, meta_ttl: 1h}"}, "namespaces.a.history.meta_ttl"},
		{[]string{"namespaces.a.publish=subscriber", "namespaces.a.subscribe=token"}, ""},
		{[]string{"auth.anonymous=false"}, "auth"},
		{[]string{"auth.anonymous=false", "api.key=k"}, ""},
		{[]string{"auth.anonymous=false", "auth.tokens.public_key_file=k.pem", "auth.tokens.issuer=i"}, ""},
		{[]string{"auth.anonymous=false", "auth.tokens.jwks_url=http://login:8080/keys", "auth.tokens.audience=a"}, ""},
	})
}

// TestLongListsAreRefused, however they come.
func TestLongListsAreRefused(t *testing.T) {
	t.Parallel()
	long := make([]string, 257)
	for i := range long {
		long[i] = "https://a" + strings.Repeat("a", i) + ".example"
	}
	c := config.Default()
	c.Auth.Anonymous, c.Auth.AllowedOrigins = true, long
	const want = "257 items are too many, at most 256"
	if got := c.Validate(); len(got) != 1 || got[0].Message != want {
		t.Errorf("Validate gave %v", got)
	}
	got := problems(t, config.Source{Bytes: []byte(open), Set: []string{"auth.allowed_origins=" + strings.Join(long, ",")}})
	if len(got) != 1 || got[0].Message != want {
		t.Errorf("--set gave %v", got)
	}
}

func set(c *config.Config, change func(*config.Namespace)) {
	n := c.Namespaces["default"]
	change(&n)
	c.Namespaces["default"] = n
}

// TestWordsAreThoseOfAuth keeps the lists here and the rules there together.
func TestWordsAreThoseOfAuth(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"Subscribe", "Publish", "ReadPresence", "ReadHistory"} {
		f, _ := reflect.TypeFor[config.Namespace]().FieldByName(key)
		for word := range strings.SplitSeq(f.Tag.Get("enum"), "|") {
			if _, err := auth.ParseWho(word); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
}
