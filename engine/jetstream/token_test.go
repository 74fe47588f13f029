package jetstream_test

import (
	"strings"
	"testing"

	"myelin/engine/jetstream"
)

func TestTokens(t *testing.T) {
	for s, want := range map[string]string{
		"":      "%",
		"a":     "a",
		"a:b/c": "a:b/c",
		"a.b":   "a%2Eb",
		"*":     "%2A",
		">":     "%3E",
		"a b":   "a%20b",
		"100%":  "100%25",
		"ä":     "%C3%A4",
		"\x00":  "%00",
		"$SYS":  "$SYS",
	} {
		if got := jetstream.Token(s); got != want {
			t.Errorf("Token(%q) = %q, want %q", s, got, want)
		}
	}
	for _, s := range []string{"", "a.b", "a b", "%2", "%", "%zz", "%2e", "%41", "ä", "%2E%"} {
		if back, ok := jetstream.Untoken(s); ok && s != "%" {
			t.Errorf("Untoken(%q) = %q, which Token never makes", s, back)
		}
	}
}

func TestAssetTokens(t *testing.T) {
	seen := make(map[string]string)
	for _, s := range []string{"", "a", "A", "a-b", "a_b", "a.b", "a/b", "a\\b", "a b", "%", "ä", strings.Repeat("a", 255), strings.Repeat("a", 254) + "b", strings.Repeat("ä", 99)} {
		got := jetstream.AssetToken(s)
		if got == "" || len(got) > 100 || strings.ContainsAny(got, " .*>/\\_") {
			t.Errorf("AssetToken(%q) = %q, which is no part of a stream's name", s, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q have the same name %q", s, other, got)
		}
		seen[got] = s
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "%", "ä", "\xff", "%2E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token := jetstream.Token(s)
		if token == "" || strings.ContainsAny(token, " .*>\t\r\n") {
			t.Fatalf("Token(%q) = %q is no token", s, token)
		}
		if back, ok := jetstream.Untoken(token); !ok || back != s {
			t.Fatalf("Token(%q) = %q came back as %q, %v", s, token, back, ok)
		}
		if back, ok := jetstream.Untoken(s); ok && jetstream.Token(back) != s {
			t.Fatalf("Untoken(%q) = %q, whose token is %q", s, back, jetstream.Token(back))
		}
	})
}
