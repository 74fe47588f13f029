package auth_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"myelin/auth"
)

func TestMatchChannel(t *testing.T) {
	long := strings.Repeat("a", auth.MaxPatternBytes)
	for _, c := range []struct {
		pattern, channel string
		want             bool
	}{
		{"news", "news", true},
		{"news", "newss", false},
		{"news", "new", false},
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "news", true},
		{"*", "a:b", false},
		{"**", "", true},
		{"**", "a:b:c", true},
		{"***", "a:b", true},
		{"news:*", "news:a", true},
		{"news:*", "news:", true},
		{"news:*", "news", false},
		{"news:*", "news:a:b", false},
		{"news:**", "news:a:b", true},
		{"*:a", "n:a", true},
		{"*:a", ":a", true},
		{"*:a", "n:m:a", false},
		{"**:a", "n:m:a", true},
		{"**:a", "n:m:b", false},
		{"a*b*c", "aXbXbYc", true},
		{"a*b*c", "aXbXbYcd", false},
		{"a*b*c", "a:b:c", false},
		{"a**b*c", "a:x:bzbc", true},
		{"a**b*c", "a:x:b:c", false},
		{"a**b*c", "a:b:bc", true},
		{"ward:*.ecg", "ward:bed1.ecg", true},
		{"ward:*.ecg", "ward:bed1.hr", false},
		{"ward:*.ecg", "ward:.ecg.ecg", true},
		{"ä*ö", "äüö", true},
		{"a?c", "abc", false},
		{"a?c", "a?c", true},
		{`a\*`, `a\b`, true},
		{"[ab]", "a", false},
		{"A*", "ab", false},
		{long, long, true},
		{"*" + long[1:], long, true},
		{strings.Repeat("a", 127) + "*" + strings.Repeat("b", 127), strings.Repeat("a", 128) + strings.Repeat("b", 127), true},
		{long + "*", long, false},
		{"**", long + "a", false},
		{strings.Repeat("*a", 127), long[:254], true},
		{strings.Repeat("*a", 127) + "b", long, false},
	} {
		if got := auth.MatchChannel(c.pattern, c.channel); got != c.want {
			t.Errorf("MatchChannel(%q, %q) is %v", c.pattern, c.channel, got)
		}
	}
}

// reference is the meaning of a pattern, as short as it can be said: what may
// the rest of the name be, given the rest of the pattern. A table holds the
// answers from the ends backwards.
func reference(pattern, name string) bool {
	if len(pattern) > auth.MaxPatternBytes || len(name) > auth.MaxPatternBytes {
		return false
	}
	match := make([][]bool, len(pattern)+1)
	for i := range match {
		match[i] = make([]bool, len(name)+1)
	}
	match[len(pattern)][len(name)] = true
	for i := len(pattern) - 1; i >= 0; i-- {
		for j := len(name); j >= 0; j-- {
			more := j < len(name)
			switch {
			case strings.HasPrefix(pattern[i:], "**"):
				match[i][j] = match[i+2][j] || (more && match[i][j+1])
			case pattern[i] == '*':
				match[i][j] = match[i+1][j] || (more && name[j] != ':' && match[i][j+1])
			default:
				match[i][j] = more && name[j] == pattern[i] && match[i+1][j+1]
			}
		}
	}
	return match[0][0]
}

func TestMatchChannelAgainstReference(t *testing.T) {
	// A narrow alphabet, so that most characters agree by chance.
	piece := rapid.SampledFrom([]string{"a", "b", ":", "ab", "a:", "é", "*", "**", "x"})
	rapid.Check(t, func(t *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(piece, 0, 90).Draw(t, "pattern"), "")
		name := strings.ReplaceAll(strings.Join(rapid.SliceOfN(piece, 0, 90).Draw(t, "name"), ""), "*", "b")
		if got, want := auth.MatchChannel(pattern, name), reference(pattern, name); got != want {
			t.Fatalf("MatchChannel(%q, %q) is %v, want %v", pattern, name, got, want)
		}
	})
}

// Names made from the pattern match more often than chance, and those changed
// in one place often just do not.
func TestMatchChannelNear(t *testing.T) {
	literal := rapid.StringOfN(rapid.SampledFrom([]rune("ab:")), 0, 60, -1)
	rapid.Check(t, func(t *rapid.T) {
		var pattern, name strings.Builder
		for _, star := range rapid.SliceOfN(rapid.SampledFrom([]string{"", "*", "**"}), 0, 6).Draw(t, "stars") {
			part := literal.Draw(t, "part")
			pattern.WriteString(star + part)
			if star != "" {
				name.WriteString(literal.Draw(t, "filling"))
			}
			name.WriteString(part)
		}
		n := []byte(name.String())
		if len(n) > 0 && rapid.Bool().Draw(t, "change") {
			n[rapid.IntRange(0, len(n)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("ab:")).Draw(t, "to")
		}
		if got, want := auth.MatchChannel(pattern.String(), string(n)), reference(pattern.String(), string(n)); got != want {
			t.Fatalf("MatchChannel(%q, %q) is %v, want %v", &pattern, n, got, want)
		}
	})
}

func BenchmarkMatchChannel(b *testing.B) {
	for name, c := range map[string]struct{ pattern, channel string }{
		"exact":  {"ward:bed1.ecg", "ward:bed1.ecg"},
		"prefix": {"ward:*", "ward:bed1.ecg"},
		"middle": {"ward:*.ecg", "ward:bed1.ecg"},
		"worst":  {strings.Repeat("*a", 127), strings.Repeat("a", 254)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				auth.MatchChannel(c.pattern, c.channel)
			}
		})
	}
}
