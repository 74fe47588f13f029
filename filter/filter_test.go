package filter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"myelin/filter"
)

func mustParse(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse([]byte(text), filter.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestOperators(t *testing.T) {
	for _, c := range []struct {
		filter string
		tag    string // "-" is none
		want   bool
	}{
		{`{"key":"k","cmp":"eq","val":"a"}`, "a", true},
		{`{"key":"k","cmp":"eq","val":"a"}`, "b", false},
		{`{"key":"k","cmp":"eq","val":"a"}`, "-", false},
		{`{"key":"k","cmp":"neq","val":"a"}`, "b", true},
		{`{"key":"k","cmp":"neq","val":"a"}`, "-", true},
		{`{"key":"k","cmp":"in","vals":["a","b"]}`, "b", true},
		{`{"key":"k","cmp":"in","vals":["a","b"]}`, "-", false},
		{`{"key":"k","cmp":"in","vals":[""]}`, "-", true},
		{`{"key":"k","cmp":"nin","vals":[""]}`, "-", false},
		{`{"key":"k","cmp":"nin","vals":["a"]}`, "-", true},
		{`{"key":"k","cmp":"ex"}`, "", true},
		{`{"key":"k","cmp":"ex"}`, "-", false},
		{`{"key":"k","cmp":"nex"}`, "-", true},
		{`{"key":"k","cmp":"sw","val":"ab"}`, "abc", true},
		{`{"key":"k","cmp":"sw","val":"ab"}`, "-", false},
		{`{"key":"k","cmp":"ew","val":"bc"}`, "abc", true},
		{`{"key":"k","cmp":"ct","val":"b"}`, "abc", true},
		{`{"key":"k","cmp":"gt","val":"9"}`, "10", true},
		{`{"key":"k","cmp":"gt","val":"9.5"}`, "9.50", false},
		{`{"key":"k","cmp":"gte","val":"9.5"}`, "9.50", true},
		{`{"key":"k","cmp":"lt","val":"0"}`, "-0.0000000000000000001", true},
		{`{"key":"k","cmp":"lte","val":"-0"}`, "+0", true},
		{`{"key":"k","cmp":"lt","val":"99999999999999999999999999"}`, "99999999999999999999999998", true},
		{`{"key":"k","cmp":"lt","val":"5"}`, "four", false},
		{`{"op":"not","nodes":[{"key":"k","cmp":"lt","val":"5"}]}`, "four", true},
		{`{"key":"k","cmp":"lt","val":"five"}`, "4", false},
		{`{"key":"k","cmp":"gt","val":"1"}`, "1e3", false},
		{`{"key":"k","cmp":"gt","val":"1"}`, "-", false},
	} {
		tags := map[string]string{}
		if c.tag != "-" {
			tags["k"] = c.tag
		}
		if got := mustParse(t, c.filter).Match(tags); got != c.want {
			t.Errorf("%s of %q: %v", c.filter, c.tag, got)
		}
	}
	var all *filter.Filter
	if !all.Match(nil) || all.String() != "" {
		t.Error("the nil filter does not match everything")
	}
}

// leaves returns a filter of n leaves below one node.
func leaves(n int) string {
	return `{"op":"or","nodes":[` + strings.TrimSuffix(strings.Repeat(`{"cmp":"ex"},`, n), ",") + `]}`
}

func TestBadFiltersAreRefused(t *testing.T) {
	deep := strings.Repeat(`{"op":"not","nodes":[`, filter.MaxDepth) + `{"cmp":"ex"}` + strings.Repeat(`]}`, filter.MaxDepth)
	vals := strings.TrimSuffix(strings.Repeat(`"1",`, filter.MaxVals+1), ",")
	for text, words := range map[string]string{
		`{"cmp":"eq","val":"a"}`:                           "key",
		`{"key":"k","cmp":"eq"}`:                           "without a val",
		`{"key":"k","cmp":"eq","val":"a","vals":["b"]}`:    "with vals",
		`{"key":"k","cmp":"in","val":"a"}`:                 "with a val",
		`{"key":"k","cmp":"in"}`:                           "without vals",
		`{"key":"k","cmp":"ex","val":"a"}`:                 "with a val",
		`{"key":"k","cmp":"like","val":"a"}`:               "want one of eq, neq",
		`{"key":"k"}`:                                      "want one of eq, neq",
		`{}`:                                               "want one of",
		`null`:                                             "null",
		`{"op":"and","nodes":[null]}`:                      "null",
		`{"op":"and"}`:                                     "without nodes",
		`{"op":"xor","nodes":[{"cmp":"ex"}]}`:              `"xor", want "and"`,
		`{"op":"not","nodes":[{"cmp":"ex"},{"cmp":"ex"}]}`: "want 1",
		`{"op":"and","key":"k","nodes":[{"cmp":"ex"}]}`:    "also compares",
		`{"cmp":"ex","nodes":[{"cmp":"ex"}]}`:              "without an op",
		`{"cmp":"ex","colour":"red"}`:                      "colour",
		`{"cmp":"ex"} {"cmp":"ex"}`:                        "more behind",
		`[`:                                                "JSON",
		deep:                                               "deeper than 16 (depth)",
		leaves(filter.MaxNodes):                            "more than 128 nodes (nodes)",
		`{"key":"k","cmp":"in","vals":[` + vals + `]}`:     "more than 1024 vals (vals)",
		`"` + strings.Repeat("x", filter.MaxBytes) + `"`:   "longer than 16384 bytes (bytes)",
	} {
		_, err := filter.Parse([]byte(text), filter.Limits{})
		e, ok := errors.AsType[*filter.Error](err)
		if !ok {
			t.Errorf("%.80s: %v", text, err)
			continue
		}
		got := e.Error()
		if e.Limit != "" {
			got += " (" + e.Limit + ")"
		}
		if !strings.Contains(got, words) {
			t.Errorf("%.80s: %q, want %q", text, got, words)
		}
	}
	if _, err := filter.Parse([]byte(leaves(4)), filter.Limits{Nodes: 4}); err == nil {
		t.Error("5 nodes where 4 are allowed")
	}
	if _, err := filter.Parse([]byte(leaves(3)), filter.Limits{Nodes: 4}); err != nil {
		t.Error(err)
	}
	long := &filter.Node{Key: "k", Cmp: "eq", Val: strings.Repeat("x", filter.MaxBytes)}
	if _, err := filter.Compile(long, filter.Limits{}); err == nil {
		t.Error("a value of 16 KiB is compiled")
	}
	for _, bad := range []*filter.Node{
		{Key: "\xff", Cmp: "ex"}, {Key: "k", Cmp: "eq", Val: "\xff"}, {Key: "k", Cmp: "in", Vals: []string{"\xff"}}, nil,
	} {
		if _, err := filter.Compile(bad, filter.Limits{}); err == nil {
			t.Errorf("%+v is compiled", bad)
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	const a, b = `{"key":"a","cmp":"ex"}`, `{"key":"b","cmp":"ex"}`
	for _, same := range [][]string{
		{`{"op":"and","nodes":[` + a + `,` + b + `]}`, `{"op":"and","nodes":[` + b + `,` + a + `,` + b + `]}`},
		{`{"op":"or","nodes":[` + a + `,{"op":"or","nodes":[` + b + `]}]}`, `{"op":"or","nodes":[` + b + `,` + a + `]}`},
		{`{"op":"not","nodes":[{"op":"not","nodes":[` + a + `]}]}`, a, `{"op":"and","nodes":[` + a + `]}`},
		{`{"op":"not","nodes":[` + a + `]}`, `{"key":"a","cmp":"nex"}`},
		{`{"key":"k","cmp":"in","vals":["b","a","b"]}`, `{"key":"k","cmp":"in","vals":["a","b"]}`},
		{`{"key":"k","cmp":"nin","vals":["a"]}`, `{"key":"k","cmp":"neq","val":"a"}`},
	} {
		for _, text := range same {
			if f, g := mustParse(t, text), mustParse(t, same[0]); !f.Equal(g) || f.String() != g.String() {
				t.Errorf("%s and %s differ", f, g)
			}
		}
	}
	if mustParse(t, a).Equal(mustParse(t, b)) || mustParse(t, a).Equal(nil) {
		t.Error("different filters are equal")
	}
}

// TestAgainstNaive holds compiled filters against the meaning of their trees.
func TestAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := trees(4).Draw(t, "tree")
		f, err := filter.Compile(tree, filter.Limits{})
		if e, ok := errors.AsType[*filter.Error](err); ok && e.Limit == "nodes" {
			t.Skip("too large")
		} else if err != nil {
			t.Fatal(err)
		}
		again := new(filter.Filter)
		if b, err := json.Marshal(f); err != nil || json.Unmarshal(b, again) != nil || !again.Equal(f) {
			t.Fatalf("%s comes back as %s", f, again)
		}
		other, err := filter.Compile(trees(2).Draw(t, "other"), filter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		both := filter.And(f, other)
		for range 4 {
			tags := tags().Draw(t, "tags")
			want := naive(tree, tags)
			if got := f.Match(tags); got != want {
				t.Fatalf("%s of %v: %v", f, tags, got)
			}
			if again.Match(tags) != want {
				t.Fatalf("%s of %v: %v after JSON", f, tags, !want)
			}
			if both.Match(tags) != (want && other.Match(tags)) {
				t.Fatalf("%s of %v: %v", both, tags, !want)
			}
		}
	})
}

func TestAnd(t *testing.T) {
	f := mustParse(t, `{"key":"k","cmp":"ex"}`)
	if filter.And(nil, nil) != nil || filter.And(f, nil) != f || filter.And(nil, f) != f || filter.And(f, f) != f {
		t.Error("nil does not stand for everything")
	}
	// Three filters as large as may be are still read from another node.
	all := mustParse(t, leaves(filter.MaxNodes-1))
	var widest *filter.Filter
	for i := range 3 {
		n := &filter.Node{Op: "or"}
		for j := range filter.MaxNodes - 1 {
			n.Nodes = append(n.Nodes, &filter.Node{Key: fmt.Sprint(i, " ", j), Cmp: "ex"})
		}
		g, err := filter.Compile(n, filter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		widest = filter.And(widest, g)
	}
	again := new(filter.Filter)
	if err := again.UnmarshalJSON([]byte(widest.String())); err != nil || !again.Equal(widest) {
		t.Error(err)
	}
	if err := again.UnmarshalJSON([]byte(`{"cmp":"?"}`)); err == nil {
		t.Error("nonsense is read")
	}
	if b, err := (*filter.Filter)(nil).MarshalJSON(); err != nil || string(b) != "null" || all.String() == "" {
		t.Error(string(b), err)
	}
}

// TestMatchAllocatesNothing, because it runs for each publication.
func TestMatchAllocatesNothing(t *testing.T) {
	f := mustParse(t, `{"op":"and","nodes":[{"key":"a","cmp":"gt","val":"1.5"},{"key":"b","cmp":"in","vals":["x","y"]},{"op":"not","nodes":[{"key":"c","cmp":"sw","val":"z"}]}]}`)
	tags := map[string]string{"a": "17.25", "b": "y", "c": "none"}
	if n := testing.AllocsPerRun(100, func() {
		if !f.Match(tags) {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"key":"k","cmp":"in","vals":["a",""]}`, `{"op":"not","nodes":[{"key":"k","cmp":"lt","val":"-1.50"}]}`, leaves(3), `{`, `null`,
	} {
		f.Add([]byte(s), "k", "1")
	}
	f.Fuzz(func(t *testing.T, raw []byte, key, tag string) {
		g, err := filter.Parse(raw, filter.Limits{})
		if err != nil {
			if _, ok := errors.AsType[*filter.Error](err); !ok {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		var tree *filter.Node
		if err := json.Unmarshal(raw, &tree); err != nil {
			t.Fatal(err)
		}
		tags := map[string]string{key: tag}
		if g.Match(tags) != naive(tree, tags) {
			t.Fatalf("%s of %v: %v", g, tags, g.Match(tags))
		}
		again := new(filter.Filter)
		if err := again.UnmarshalJSON([]byte(g.String())); err != nil || again.String() != g.String() {
			t.Fatalf("%s comes back as %s: %v", g, again, err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	f := mustParse(b, `{"op":"and","nodes":[{"key":"a","cmp":"gt","val":"1.5"},{"key":"b","cmp":"in","vals":["x","y"]}]}`)
	tags := map[string]string{"a": "17.25", "b": "y", "c": "none"}
	b.ReportAllocs()
	for b.Loop() {
		f.Match(tags)
	}
}
