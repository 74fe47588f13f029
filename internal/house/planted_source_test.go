package house_test

import (
	"fmt"
	"strings"
	"testing"
)

// function returns one of so many lines.
func function(name string, lines int) string {
	return "func " + name + "() {\n" + strings.Repeat("\n", lines-2) + "}\n"
}

func TestPlantedSizes(t *testing.T) {
	blank := func(lines int) string {
		return "// Package hub is planted.\npackage hub\n" + strings.Repeat("\n", lines-2)
	}
	report := inspect(t, map[string]string{
		"hub/a.go":          blank(500),
		"hub/b.go":          blank(501),
		"hub/c.go":          blank(800),
		"hub/d_test.go":     blank(801),
		"hub/e.go":          function("fine", 70) + function("long", 71) + function("longer", 100) + function("over", 101),
		"console/web/a.css": strings.Repeat("\n", 801),
		"e2e/go.mod":        "module myelin/e2e\n",
		"e2e/e2e.go":        "package e2e\n" + function("over", 101),
	})
	expect(t, report.Violations, []string{
		"console/web/a.css: size: ... 801 lines, the wall is at 800",
		"e2e/e2e.go:2: size: ... over has 101 lines, the wall is at 100",
		"hub/d_test.go: size: ... 801 lines",
		"hub/e.go:244: size: ... over has 101 lines",
	})
	expect(t, report.Warnings, []string{
		"hub/b.go: size: ... 501 lines, more than 500",
		"hub/c.go: size: ... 800 lines",
		"hub/e.go:73: size: ... long has 71 lines, more than 70",
		"hub/e.go:144: size: ... longer has 100 lines",
	})
}

func TestPlantedComments(t *testing.T) {
	for comment, wrong := range map[string]string{
		"// TODO: more":               "TODO",
		"/* a\n * FIXME later\n */":   "FIXME",
		"x := 1 // XXX":               "XXX",
		"// See issue 12.":            "issue 12",
		"// Fixed for #7.":            "#7",
		"// Ticket: 4711 asked for":   "Ticket: 4711",
		"// PR #99 was wrong":         "PR #99",
		"// todos are a list":         "",
		"// golang/go#78492 hangs":    "",
		"// RFC 6455, section 5.5.1":  "",
		"// The issue of 12 clients.": "",
		"x := \"TODO\"":               "",
	} {
		t.Run(comment, func(t *testing.T) {
			t.Parallel()
			report := inspect(t, map[string]string{"hub/hub.go": "func f() {\n" + comment + "\n}\n"})
			if wrong == "" {
				expect(t, report.Violations, nil)
				return
			}
			if len(report.Violations) != 1 || !strings.Contains(report.Violations[0].Message, wrong) {
				t.Errorf("found %v, expected one about %q", report.Violations, wrong)
			}
		})
	}
	expect(t, inspect(t, map[string]string{
		"hub/hub.go":            "",
		"console/web/a.ts":      "const a = 'TODO'\n\n// TODO\n",
		"console/web/a.css":     "a { color: #123; }\n/* HACK */\n",
		"tools/test.sh":         "# see issue 3\n",
		"e2e/go.mod":            "module myelin/e2e\n",
		"e2e/e2e.go":            "package e2e // FIXME\n",
		"console/dist/main.js":  "// TODO\n",
		"e2e/.cache/scratch.go": "package cache // TODO\n",
	}).Violations, []string{
		"console/web/a.css:2: comments: ... HACK",
		"console/web/a.ts:3: comments: ... TODO",
		"e2e/e2e.go:1: comments: ... FIXME",
		"tools/test.sh:1: comments: ... issue 3",
	})
}

// preamble is what the planted declarations lean on.
const preamble = `import (
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"myelin/channel"
)

type row struct{ n int; next *row }
func build() map[string]int { return nil }
func open() *row { return nil }
`

// What may and may not stand at package level. Each line is declared in a
// package of its own.
func TestPlantedGlobals(t *testing.T) {
	for line, wrong := range map[string]string{
		`var ErrFull = errors.New("full")`:                           "",
		`var errOdd = fmt.Errorf("odd: %w", ErrBase)`:                "",
		`var ErrLate = &row{1, nil}`:                                 "",
		`var pattern = regexp.MustCompile("a+")`:                     "",
		`var escape = strings.NewReplacer("a", "b")`:                 "",
		`var table = [...]row{{1, nil}, {2, nil}}`:                   "",
		`var rows = []*row{{1, nil}, &row{2, nil}}`:                  "",
		`var index = map[string]time.Duration{"s": time.Second}`:     "",
		`var built = build()`:                                        "",
		`var squares = func() (s [9]int) { s[2] = 4; return s }()`:   "",
		`var pool = sync.Pool{New: func() any { return new(row) }}`:  "",
		`var plain sync.Pool`:                                        "",
		`var once = sync.OnceValue(build)`:                           "",
		`var _ fmt.Stringer = (*row)(nil)`:                           "",
		`var now = time.Now`:                                         "",
		`var raw = []byte("abc")`:                                    "",
		`var name = channel.MustName("a:b")`:                         "",
		`var version = "dev"`:                                        "",
		"//go:embed a.txt\nvar file string":                          "",
		"var (\n\t//go:embed a.txt\n\tfiles embed.FS\n)":             "",
		`var local = 1; func f() { local := 2; local++; _ = local }`: "",

		`var count int`: "declared without a value",
		`var cache = map[string]int{}; func f() { cache["a"] = 1 }`: "cache is written at hub/hub.go",
		`var total = 0; func f() { total++ }`:                       "total is written",
		`var all = []row{{}}; func f() { all[0].n = 1 }`:            "all is written",
		`var gone = map[int]int{}; func f() { delete(gone, 1) }`:    "gone is written",
		`var handed = row{}; func f() *row { return &handed }`:      "handed is written",
		`var looped = 0; func f() { for looped = range 3 {} }`:      "looped is written",
		`var made = make(map[string]int)`:                           "made empty, to be filled later",
		`var fresh = new(row)`:                                      "made empty",
		`var current = &row{}`:                                      "pointer that anybody may write through",
		`var opened = open()`:                                       "pointer or channel",
		`var guard = sync.Mutex{}`:                                  "sync.Mutex, which exists to be changed",
		`var hits = atomic.Int64{}`:                                 "sync/atomic.Int64",
		`var foreign = time.NewTimer(1)`:                            "result of time.NewTimer",
		`var nested = []any{time.NewTimer(1)}`:                      "result of time.NewTimer",
		`var boxed = any(time.NewTimer(1))`:                         "result of time.NewTimer",
		`func init() {}`:                                            "no init functions",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			report := inspect(t, map[string]string{"hub/hub.go": preamble + line + "\n", "channel/c.go": ""})
			if wrong == "" {
				expect(t, report.Violations, nil)
				return
			}
			if len(report.Violations) != 1 || !strings.Contains(report.Violations[0].Message, wrong) {
				t.Errorf("found %v, expected one about %q", report.Violations, wrong)
			}
		})
	}
}

func TestPlantedWritesFromElsewhere(t *testing.T) {
	expect(t, inspect(t, map[string]string{
		"channel/limits.go":      "var Max = 5\nvar Table = []int{1}\nvar seam = 1\nvar Fine = 2\n",
		"channel/export_test.go": "package channel\nfunc SetSeam() { seam = 2 }\n",
		"hub/hub.go":             "import limits \"myelin/channel\"\nfunc f() { limits.Max = 6; Fine := 1; Fine++; _ = Fine }\n",
		"hub/hub_test.go":        "package hub_test\nimport \"myelin/channel\"\nvar testState int\nfunc g() { channel.Table[0] = 6; testState++ }\n",
	}).Violations, []string{
		"channel/limits.go:3: globals: ... Max is written at hub/hub.go:4",
		"channel/limits.go:4: globals: ... Table is written at hub/hub_test.go:4",
		"channel/limits.go:5: globals: ... seam is written at channel/export_test.go:2",
	})
}

func TestPlantedSleeps(t *testing.T) {
	const header = "package hub_test\nimport (\n\"testing\"\n\"testing/synctest\"\nclock \"time\"\n)\n"
	for _, c := range []struct {
		name, body string
		lines      []int // where it goes wrong, counted from the body
	}{
		{"in real time", "func TestA(t *testing.T) {\nclock.Sleep(1)\n}\n", []int{2}},
		{"in a bubble", "func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) {\nclock.Sleep(1)\n}) }\n", nil},
		{"after a bubble", "func TestA(t *testing.T) {\nsynctest.Test(t, func(t *testing.T) {})\nclock.Sleep(1)\n}\n", []int{3}},
		{
			"in a helper of bubbles",
			"func nap() { clock.Sleep(1) }\nfunc rest() { nap(); rest() }\n" +
				"func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { rest(); nap() }) }\n", nil,
		},
		{
			"in a helper that is used outside too",
			"func nap() {\nclock.Sleep(1)\n}\nfunc rest() { nap() }\nfunc TestB(t *testing.T) { rest() }\n" +
				"func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { rest() }) }\n",
			[]int{2},
		},
		{"in a test that is the bubble", "func TestA(t *testing.T) { synctest.Test(t, inside) }\nfunc inside(t *testing.T) { clock.Sleep(1) }\n", nil},
		{
			"through a runner of bubbles",
			"func virtual(t *testing.T, test func()) { synctest.Test(t, func(t *testing.T) { test() }) }\n" +
				"func stage(t *testing.T, test func()) { virtual(t, func() { test() }) }\n" +
				"func TestA(t *testing.T) { stage(t, func() { clock.Sleep(1) }) }\n", nil,
		},
		{
			"through a helper that runs things in real time too",
			"func both(t *testing.T, test func()) { test(); synctest.Test(t, func(t *testing.T) { test() }) }\n" +
				"func TestA(t *testing.T) { both(t, func() {\nclock.Sleep(1)\n}) }\n",
			[]int{3},
		},
		{
			"in a method used in bubbles",
			"type stage struct{}\nfunc (stage) nap() { clock.Sleep(1) }\n" +
				"func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { stage{}.nap() }) }\n", nil,
		},
		{"in a helper used by nobody else", "func rest() {\nclock.Sleep(1)\nrest()\n}\n", []int{2}},
		{"in a variable", "var nap = func() {\nclock.Sleep(1)\n}\n", []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, line := range c.lines {
				want = append(want, fmt.Sprintf("hub/hub_test.go:%d: sleep: ... tests do not sleep in real time", line+6))
			}
			expect(t, inspect(t, map[string]string{"hub/hub.go": "", "hub/hub_test.go": header + c.body}).Violations, want)
		})
	}
	expect(t, inspect(t, map[string]string{
		"demo/demo.go":                 "import \"time\"\nfunc f() {\ntime.Sleep(1)\n}\n",
		"demo/pause.go":                "import \"time\"\nvar pause = time.Sleep\n",
		"e2e/go.mod":                   "module myelin/e2e\n",
		"e2e/e2e_test.go":              "package e2e\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"channel/c.go":                 "",
		"channel/channeltest/suite.go": "import \"time\"\nfunc f() { time.Sleep(1) }\n",
	}).Violations, []string{
		"demo/demo.go:5: sleep: ... product code does not sleep",
		"demo/pause.go:4: sleep: ... product code does not sleep",
	})
}

func TestFindingsReadLikeCompilerErrors(t *testing.T) {
	report := inspect(t, map[string]string{"door/sse/stream.go": "import \"myelin/engine/memory\"\n", "engine/memory/m.go": ""})
	const want = "door/sse/stream.go:3: imports: door/sse imports engine/memory sideways (both on floor 4): " +
		"siblings are strangers, move what both need to a lower floor"
	if len(report.Violations) != 1 || report.Violations[0].String() != want {
		t.Errorf("found %v\nwant  %s", report.Violations, want)
	}
}
