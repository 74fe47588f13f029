package config_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"myelin/config"
)

// TestPrintLoadsBack draws configurations without problems and holds what
// print writes against what Load reads.
func TestPrintLoadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := drawConfig(rt)
		if p := want.Validate(); len(p) != 0 {
			rt.Fatalf("the generator drew problems: %v", p)
		}
		text, err := want.YAML(false)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := config.Load(config.Source{Bytes: text})
		if err != nil {
			rt.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(got, want) {
			rt.Fatalf("got  %+v\nwant %+v\n%s", got, want, text)
		}
		again, err := got.YAML(false)
		if err != nil || string(again) != string(text) {
			rt.Fatalf("a second print differs: %v\n%s\n%s", err, text, again)
		}
	})
}

func drawConfig(rt *rapid.T) *config.Config {
	c := config.Default()
	text := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return !unicode.IsControl(r) && r != 0xfeff }))
	c.Listen = fmt.Sprintf("%s:%d", rapid.SampledFrom([]string{"127.0.0.1", "0.0.0.0", "[::1]", "", "example.com"}).Draw(rt, "host"),
		rapid.IntRange(1, 65535).Draw(rt, "port"))
	c.Admin.Listen = rapid.SampledFrom([]string{"", "127.0.0.1:0", "[::]:0"}).Draw(rt, "admin")
	c.Auth.Anonymous = rapid.Bool().Draw(rt, "anonymous")
	c.Auth.Tokens.HMACSecret = config.Secret("s" + text.Draw(rt, "secret"))
	c.Auth.Tokens.PublicKeyFile = text.Draw(rt, "public key")
	c.Auth.Tokens.Audience = text.Draw(rt, "audience")
	c.Auth.Tokens.Issuer = rapid.SampledFrom([]string{"", "true", "null", "~", "12", "1.5", "2020-01-01", "- x", "a: b", " x ", "#x", "*a", "&a", "!x", "'", "\"", "%", "@", "`", "{}", "[]", "<<", "yes", "0x1f", "1:30"}).Draw(rt, "issuer")
	c.Auth.AllowedOrigins = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"*", "https://a.example", "http://*.b.example:8080", "null"}), func(s string) string { return s }).Draw(rt, "origins")
	c.API.Key = config.Secret(text.Draw(rt, "key"))
	for _, name := range rapid.SliceOfN(rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_-]{0,20}`), 0, 4).Draw(rt, "namespaces") {
		c.Namespaces[name] = drawNamespace(rt)
	}
	second := int64(time.Second)
	pong := rapid.Int64Range(1, 300).Draw(rt, "pong")
	c.Client.PongTimeout = config.Duration(pong * second)
	c.Client.PingInterval = config.Duration(rapid.Int64Range(pong+1, 600).Draw(rt, "ping") * second)
	c.Client.StaleAfter = config.Duration(rapid.Int64Range(second, 300*second).Draw(rt, "stale"))
	c.Limits.Message = config.Size(rapid.Int64Range(1<<10, 64<<20).Draw(rt, "message"))
	c.Limits.Queue = config.Size(rapid.Int64Range(int64(c.Limits.Message), 1<<30).Draw(rt, "queue"))
	c.Limits.Connections = rapid.IntRange(1, 10_000_000).Draw(rt, "connections")
	c.Drain.Grace = rapid.SampledFrom([]config.Duration{0, config.Duration(time.Second)}).Draw(rt, "grace")
	drawKeeping(rt, c)
	c.Log.Level = rapid.SampledFrom([]string{"debug", "info", "warn", "error"}).Draw(rt, "level")
	c.Log.Format = rapid.SampledFrom([]string{"auto", "text", "json"}).Draw(rt, "format")
	return c
}

// drawKeeping draws who keeps the channels.
func drawKeeping(rt *rapid.T, c *config.Config) {
	c.Node = rapid.SampledFrom([]string{"", "a", "node-1.example"}).Draw(rt, "node")
	js := &c.Engine.JetStream
	switch rapid.IntRange(0, 3).Draw(rt, "keeping") {
	case 1:
		c.Engine.Disk.Path = "/data"
	case 2:
		c.Cluster.Peers = []string{"10.0.0.1:8002", "[::1]:8002", "b.example:1"}
		c.Cluster.Secret, c.Cluster.Advertise, js.Path = "0123456789abcdef", "a.example:8002", "./data"
		if rapid.Bool().Draw(rt, "five") {
			c.Cluster.StorageNodes, c.Cluster.Peers = 5, append(c.Cluster.Peers, "d:1")
		}
		js.Replicas = rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "replicas")
	case 3:
		js.URL = []string{"nats://a:4222", "tls://b:4222"}
		js.User, js.Password, js.CAFile, js.Synced = "1", "true", "ca.pem", rapid.Bool().Draw(rt, "synced")
	}
	if c.Kept() == "jetstream" {
		c.Limits.Message = min(c.Limits.Message, 4*config.MiB)
	}
}

func drawNamespace(rt *rapid.T) config.Namespace {
	n := config.Default().Namespaces[config.DefaultNamespace]
	n.History.Size = rapid.IntRange(0, 100_000).Draw(rt, "size")
	n.History.TTL = config.Duration(rapid.Int64Range(int64(time.Second), int64(720*time.Hour)).Draw(rt, "ttl"))
	if n.Recover = config.Auto; n.History.Size > 0 {
		n.Recover = rapid.SampledFrom([]config.Switch{config.Auto, config.On, config.Off}).Draw(rt, "recover")
	}
	n.Presence = rapid.Bool().Draw(rt, "presence")
	n.JoinLeave = rapid.Bool().Draw(rt, "join/leave")
	list := rapid.SampledFrom([][]string{{"anonymous"}, {"user"}, {"user", "token"}})
	n.Subscribe = list.Draw(rt, "subscribe")
	n.Publish = rapid.OneOf(list, rapid.Just([]string{"subscriber"}), rapid.Just([]string{"nobody"})).Draw(rt, "publish")
	n.ReadHistory = list.Draw(rt, "read history")
	n.PositionCheck = rapid.SampledFrom([]config.Duration{0, config.Duration(time.Minute)}).Draw(rt, "position check")
	return n
}

// FuzzLoad: no input panics; what is refused comes with problems that have a
// place and a message; what is accepted prints and loads back.
func FuzzLoad(f *testing.F) {
	seeds := []string{
		open, "", "{}", "---\n...\n", "a: &a [*a]", "<<: {a: b}", "? x\n: y\n", "\ufeff" + open, "[", "\"", "a:\n\t- b", "!!str x",
		"listen: :80\nauth: {tokens: {hmac_secret: x}, allowed_origins: ['*']}\napi: {key: y}\n",
		open + "namespaces: {chat: {history: {size: 10, ttl: 1h}, subscribe: [user, token], recover: true}}\n",
		open + "limits: {message: 64k, queue: 1.5}\nclient: {ping_interval: 1m, pong_timeout: 59s}\n",
	}
	for _, seed := range seeds {
		f.Add([]byte(seed), "MYELIN_LIMITS__QUEUE=1MiB", "namespaces.chat={presence: true}", false)
		f.Add([]byte(seed), "MYELIN_NAMESPACES__CHAT__SUBSCRIBE=[user", "log.level=warn", true)
	}
	f.Fuzz(func(t *testing.T, file []byte, env, set string, dev bool) {
		c, err := config.Load(config.Source{Path: "f.yaml", Bytes: file, Env: []string{env}, Set: []string{set}, Dev: dev})
		if err != nil {
			checkReport(t, err)
			return
		}
		if p := c.Validate(); len(p) != 0 {
			t.Fatalf("Load accepted what Validate refuses: %v", p)
		}
		text, err := c.YAML(false)
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Load(config.Source{Bytes: text, Dev: dev})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("got  %+v\nwant %+v\n%s", again, c, text)
		}
	})
}

func checkReport(t *testing.T, err error) {
	t.Helper()
	var all *config.Errors
	if !errors.As(err, &all) || len(all.Problems) == 0 || len(all.Problems) > 100 {
		t.Fatalf("not a report: %v", err)
	}
	for _, p := range all.Problems {
		if p.Where == "" || p.Message == "" || len(p.String()) > 2000 || strings.Contains(p.Message, "schema") {
			t.Fatalf("a bad problem: %+v", p)
		}
	}
}
