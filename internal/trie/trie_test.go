package trie_test

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"myelin/internal/trie"
)

// matches is the definition, written another way.
func matches(pattern, name string) bool {
	quoted := regexp.QuoteMeta(pattern)
	if head, ok := strings.CutSuffix(quoted, `\*\*`); ok {
		quoted = head + `(?s:.*)`
	}
	quoted = strings.ReplaceAll(quoted, `\*`, `[^./:]*`)
	return regexp.MustCompile(`\A` + quoted + `\z`).MatchString(name)
}

func found(t *trie.Trie[string], name string) []string {
	var all []string
	t.Match(name, func(p string) { all = append(all, p) })
	slices.Sort(all)
	return all
}

func TestMatch(t *testing.T) {
	for pattern, names := range map[string]map[string]bool{
		"sensors:*.temp": {
			"sensors:a.temp": true, "sensors:.temp": true, "sensors:a.b.temp": false, "sensors:a/temp": false,
			"sensors:a.temp.x": false, "sensors:a.hum": false, "other:a.temp": false, "sensors:a:b.temp": false,
		},
		"sensors:**":   {"sensors:": true, "sensors:a": true, "sensors:a.b/c:d": true, "sensors": false, "sensorsx:a": false, "sensors.a": false},
		"sensors:a/**": {"sensors:a/": true, "sensors:a/b.c": true, "sensors:a": false, "sensors:a.b": false},
		"**":           {"a": true, "a:b": true, ":": true},
		"*":            {"a": true, "a.b": false, "a:b": false},
		"a:*:*":        {"a:b:c": true, "a::": true, "a:b": false},
		"a:b":          {"a:b": true, "a:bc": false},
	} {
		var tr trie.Trie[string]
		tr.Add(pattern, pattern)
		for name, want := range names {
			if got := len(found(&tr, name)) == 1; got != want {
				t.Errorf("%q matches %q: %v", pattern, name, got)
			}
			if matches(pattern, name) != want {
				t.Errorf("the definition is wrong about %q and %q", pattern, name)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, good := range []string{"a", "*", "**", "a:*", "a:**", "a:*.b/*.c.**", "a:*.*.*.*.**", strings.Repeat("a.", 11) + "a"} {
		if err := trie.Check(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, words := range map[string]string{
		"a:**.b": "nothing may follow", "a:b*": "whole segment", "a:***": "whole segment", "a:*b.c": "whole segment",
		"a:*.*.*.*.*": "at most 4", strings.Repeat("a.", 12) + "a": "at most 12",
	} {
		err := trie.Check(bad)
		var reason *trie.Reason
		if !errors.As(err, &reason) || !strings.Contains(err.Error(), words) || reason.Limit != strings.Contains(words, "at most") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The model: patterns come and go, and what is found is what the definition
// says.
func TestTrieIsTheDefinition(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "", "c"})
	separator := rapid.SampledFrom([]string{".", "/", ":"})
	text := func(segments *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			var s strings.Builder
			s.WriteString(segments.Draw(t, "first"))
			for range rapid.IntRange(0, 4).Draw(t, "more") {
				s.WriteString(separator.Draw(t, "separator") + segments.Draw(t, "segment"))
			}
			return s.String()
		})
	}
	names := text(segment)
	patterns := rapid.Custom(func(t *rapid.T) string {
		p := text(rapid.OneOf(segment, rapid.Just("*"))).Draw(t, "pattern")
		if rapid.Bool().Draw(t, "open") {
			p += separator.Draw(t, "last") + "**"
		}
		return p
	}).Filter(func(p string) bool { return trie.Check(p) == nil })
	rapid.Check(t, func(t *rapid.T) {
		var tr trie.Trie[string]
		in := make(map[string]bool)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := patterns.Draw(t, "pattern")
				in[p] = true
				tr.Add(p, p)
			},
			"remove": func(t *rapid.T) {
				p := patterns.Draw(t, "pattern")
				if len(in) > 0 && rapid.Bool().Draw(t, "one that is in") {
					p = rapid.SampledFrom(slices.Sorted(maps.Keys(in))).Draw(t, "which")
				}
				delete(in, p)
				tr.Remove(p)
			},
			"match": func(t *rapid.T) {
				name := names.Draw(t, "name")
				var want []string
				for p := range in {
					if matches(p, name) {
						want = append(want, p)
					}
				}
				slices.Sort(want)
				if got := found(&tr, name); !slices.Equal(got, want) {
					t.Fatalf("%q is matched by %q, want %q", name, got, want)
				}
			},
			"": func(t *rapid.T) {
				if tr.Len() != len(in) {
					t.Fatalf("it has %d patterns, want %d", tr.Len(), len(in))
				}
			},
		})
	})
}

// FuzzPattern holds that whatever Check lets pass can be added, found and
// removed.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a:*.b", "**", "*", "a:**", ":./", "a:*b", ""} {
		f.Add(s, "a:x.b")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if trie.Check(pattern) != nil || !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return
		}
		var tr trie.Trie[string]
		tr.Add(pattern, pattern)
		if got := len(found(&tr, name)) == 1; got != matches(pattern, name) {
			t.Errorf("%q matches %q: %v", pattern, name, got)
		}
		tr.Remove(pattern)
		if tr.Len() != 0 || len(found(&tr, name)) != 0 {
			t.Errorf("%q was not removed", pattern)
		}
	})
}

// hostile is a trie of as many different patterns as fit the limits and begin to
// match one name, and the name.
func hostile(n int) (*trie.Trie[int], string) {
	tr := new(trie.Trie[int])
	var add func(at, stars int, p string)
	add = func(at, stars int, p string) {
		if tr.Len() >= n {
			return
		}
		if at == trie.MaxSegments-1 {
			tr.Add(p+".no", 0)
			return
		}
		add(at+1, stars, p+".a")
		if stars < trie.MaxStars {
			add(at+1, stars+1, p+".*")
		}
	}
	add(1, 0, "a:a")
	return tr, "a:a" + strings.Repeat(".a", trie.MaxSegments-2)
}

// BenchmarkMatch shows what a publish costs by how many patterns there are, none
// of which matches but one, and at the worst.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		var tr trie.Trie[int]
		for i := range n {
			tr.Add(fmt.Sprintf("sensors:*.room%d.temp", i), i)
		}
		b.Run(fmt.Sprint(n, " patterns"), func(b *testing.B) {
			b.ReportAllocs()
			seen := 0
			for b.Loop() {
				tr.Match("sensors:a17.room0.temp", func(int) { seen++ })
			}
			if seen == 0 {
				b.Error("nothing was found")
			}
		})
	}
	tr, name := hostile(100_000)
	b.Run(fmt.Sprint("hostile, ", tr.Len(), " patterns"), func(b *testing.B) {
		for b.Loop() {
			tr.Match(name, func(int) { b.Error("none of them matches") })
		}
	})
}
