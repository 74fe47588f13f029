package channel_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"myelin/channel"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"a", ":", "a:b", "a:b:c", " ", "a b", ".", "*", ">", "#", "/", "$", "ä", "日本:語", "\U0001F9E0", "\u00a0", "\u200d",
		strings.Repeat("n", channel.MaxNameBytes), strings.Repeat("é", channel.MaxNameBytes/2),
	} {
		if err := channel.CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for name, words := range map[string]string{
		"":                       "empty",
		"a\nb":                   "control character at byte 1",
		"\x00":                   "control character at byte 0",
		"a\x7f":                  "control character",
		"ab\u0085":               "control character at byte 2",
		"\xff":                   "not valid UTF-8",
		"a\xc3":                  "not valid UTF-8",
		"\xed\xa0\x80":           "not valid UTF-8",
		strings.Repeat("n", 256): "has 256 bytes, at most 255",
		strings.Repeat("é", 128): "has 256 bytes, at most 255",
	} {
		err := channel.CheckName(name)
		if !errors.Is(err, channel.ErrBadRequest) || !strings.Contains(err.Error(), words) {
			t.Errorf("CheckName(%q): %v, want a bad request that says %q", name, err, words)
		}
	}
}

func TestNamespace(t *testing.T) {
	for name, want := range map[string]string{
		"a": "default", "": "default", "a:b": "a", "a:b:c": "a", ":b": "", "a:": "a", "ä/ö:x": "ä/ö", " : ": " ",
	} {
		if got := channel.Namespace(name); got != want {
			t.Errorf("Namespace(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzCheckName holds the rule against one written another way.
func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "a", "a:b", "a\x00", "\xff", "ä", strings.Repeat("n", 256), "\u2028", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		good := len(name) > 0 && len(name) <= 255 && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
		err := channel.CheckName(name)
		if (err == nil) != good {
			t.Errorf("CheckName(%q): %v, want good %v", name, err, good)
		}
		if err != nil && !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("CheckName(%q): %v is no bad request", name, err)
		}
		if ns := channel.Namespace(name); good && ns != channel.DefaultNamespace && !strings.HasPrefix(name, ns+":") {
			t.Errorf("Namespace(%q) = %q", name, ns)
		}
	})
}
