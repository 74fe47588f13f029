package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"myelin/config"
)

// TestHostileFiles: whatever the file is, it costs little and is refused with
// a problem that says why.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range 30 {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), ", "))
	}
	for name, c := range map[string]struct{ text, want string }{
		"huge":           {strings.Repeat("# padding\n", 1<<18), "larger than 1 MiB"},
		"deep flow":      {"log: " + strings.Repeat("[", 1000), "nested deeper than 32 levels"},
		"deep block":     {strings.Repeat("- ", 1000), "nested deeper than 32 levels"},
		"deep mapping":   {strings.Repeat("{a: ", 1000), "nested deeper than 32 levels"},
		"alias bomb":     {bomb.String(), "unknown key"},
		"alias cycle":    {"log: &a {level: *a}", "anchors and aliases"},
		"long value":     {"log: {level: " + strings.Repeat("x", 1<<19) + "}", "unknown value"},
		"long key":       {strings.Repeat("k", 900) + ": 1", "unknown key"},
		"many keys":      {manyKeys(10_000), "unknown key"},
		"nul":            {"log: \x00", "control character U+0000"},
		"delete":         {"log: \x7f", "control character U+007F"},
		"half a rune":    {"log: \xe2\x82", "not valid UTF-8"},
		"surrogate":      {"log: \xed\xa0\x80", "not valid UTF-8"},
		"overlong":       {"log: \xc0\x80", "not valid UTF-8"},
		"binary":         {"\x7fELF\x02\x01", "control character"},
		"directive":      {"%YAML 9.9\n---\nlog: {}\n", "not valid YAML"},
		"many documents": {strings.Repeat("---\n", 10_000), "second document"},
		"second broken":  {open + "---\n[", "not valid YAML"},
		"many items":     {"auth: {anonymous: true, allowed_origins: [" + strings.Repeat("x,", 10_000) + "]}", "10000 items are too many, at most 256"},
		"line break":     {open + "api: {key: \"a\\nb\"}", "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := problems(t, config.Source{Path: "x.yaml", Bytes: []byte(c.text)})
			if !strings.Contains(got[0].Message, c.want) {
				t.Errorf("got %q, want %q", got[0].Message, c.want)
			}
			for _, p := range got {
				if len(p.String()) > 600 {
					t.Errorf("the message has %d bytes: %.200s...", len(p.String()), p)
				}
				if p.Path != "auth" && !strings.HasPrefix(p.Where, "x.yaml:") {
					t.Errorf("no place in %q", p)
				}
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "limit%d: 1\n", i)
	}
	return b.String()
}

func TestReportIsBounded(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Source{Bytes: []byte(open + manyKeys(5000))})
	var all *config.Errors
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	if len(all.Problems) != 100 || all.More != 4900 || !strings.HasSuffix(err.Error(), "\nand 4900 more") {
		t.Errorf("%d problems and %d more", len(all.Problems), all.More)
	}
}

func TestNamespacesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(open + "namespaces:\n")
	for i := range 999 {
		fmt.Fprintf(&b, "  n%d: {}\n", i)
	}
	if c := load(t, config.Source{Bytes: []byte(b.String())}); len(c.Namespaces) != 1000 {
		t.Errorf("there are %d namespaces", len(c.Namespaces))
	}
	b.WriteString("  another: {}\n")
	got := problems(t, config.Source{Path: "x.yaml", Bytes: []byte(b.String())})
	if len(got) != 1 || got[0].String() != "x.yaml:3:3: namespaces: 1001 namespaces are too many, at most 1000" {
		t.Errorf("got %v", got)
	}
}

// TestSecretsStaySecret looks for secrets in everything that is shown.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const secret = "sw0rdf1sh"
	c := load(t, config.Source{Env: []string{"MYELIN_API__KEY=" + secret, "MYELIN_AUTH__TOKENS__HMAC_SECRET=" + secret}})
	if string(c.API.Key) != secret || string(c.Auth.Tokens.HMACSecret) != secret {
		t.Fatal("the secrets did not arrive")
	}
	printed, err := c.YAML(true)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "config", c, "key", c.API.Key)
	shown := map[string]string{
		"print": string(printed), "json": string(encoded), "slog": log.String(),
		"%v": fmt.Sprintf("%v", *c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c), "%q": fmt.Sprintf("%q", c.API.Key),
	}
	for _, bad := range []string{
		"api: {key: [" + secret + "]}", "api: " + secret, "auth: {tokens: " + secret + "}", secret, "api: {key: {" + secret + ": 1}}", "api: {key: \"" + secret + "\\n\"}",
		"api: {key: " + secret + ", insecure: true}", "auth: {tokens: {hmac_secret: !x " + secret + "}}",
		"auth: {tokens: {jwks_url: 'https://u:" + secret + "@example.com'}}",
	} {
		_, err := config.Load(config.Source{Bytes: []byte(bad), Set: []string{"api.key:" + secret}})
		shown[bad] = fmt.Sprint(err)
	}
	for how, text := range shown {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows the secret:\n%s", how, text)
		}
	}
	if got := problems(t, config.Source{Bytes: printed}); len(got) != 2 || !strings.Contains(got[0].Message, "placeholder") {
		t.Errorf("loading what was printed gave %v", got)
	}
}
