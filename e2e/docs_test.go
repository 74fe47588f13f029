package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is one file of the documentation.
type document struct {
	// name is its path from the root of the repository.
	name string
	text string
	// blocks are its fenced parts, prose is what is left without them.
	blocks []block
	prose  string
}

// block is a fenced part of a document.
type block struct {
	lang, text string
	line       int
}

// documents returns what readers are given.
func documents(t testing.TB) []*document {
	t.Helper()
	names := []string{"README.md", "ARCHITECTURE.md"}
	found, err := filepath.Glob(filepath.Join(repo, "docs", "*.md"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no docs: %v", err)
	}
	for _, path := range found {
		names = append(names, "docs/"+filepath.Base(path))
	}
	all := make([]*document, 0, len(names))
	for _, name := range names {
		all = append(all, readDocument(t, name))
	}
	return all
}

func readDocument(t testing.TB, name string) *document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repo, name))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{name: name, text: string(text)}
	var prose strings.Builder
	var open *block
	for i, line := range strings.SplitAfter(d.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "```")
		switch {
		case isFence && open == nil:
			open = &block{lang: fence, line: i + 1}
		case isFence:
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		default:
			prose.WriteString(line)
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block does not end", name, open.line)
	}
	d.prose = prose.String()
	return d
}

// TestBlocksHaveALanguage keeps every block within reach of these tests.
func TestBlocksHaveALanguage(t *testing.T) {
	t.Parallel()
	known := []string{"sh", "js", "html", "yaml", "json", "text"}
	count := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			count++
			if !slices.Contains(known, b.lang) {
				t.Errorf("%s:%d: a block of %q: mark it as one of %s", d.name, b.line, b.lang, strings.Join(known, ", "))
			}
		}
	}
	if count == 0 {
		t.Error("there are no blocks at all")
	}
}

// What looks like a command line of ours, in a block or in the prose.
var (
	commandLine = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:go run \./cmd/)?(myelin|make)((?: [a-z]+)*)( .*)?$`)
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	longFlag    = regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
)

// TestCommandLinesExist looks up the commands and flags that text blocks and
// prose name.
func TestCommandLinesExist(t *testing.T) {
	t.Parallel()
	known := commands(t)
	makefile, err := os.ReadFile(filepath.Join(repo, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, d := range documents(t) {
		for _, line := range d.commandLines() {
			m := commandLine.FindStringSubmatch(line)
			if m == nil || m[2] == "" && strings.TrimSpace(m[3]) == "" {
				continue
			}
			checked++
			words := strings.Fields(m[2])
			if m[1] == "make" {
				for _, target := range words {
					if !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
						t.Errorf("%s: %q: the Makefile has no target %s", d.name, line, target)
					}
				}
				continue
			}
			help := known[strings.Join(words[:min(2, len(words))], " ")]
			if help == "" && len(words) > 0 {
				help = known[words[0]]
			}
			// A family, such as config, has no help of its own in the list.
			if help == "" {
				t.Errorf("%s: %q: there is no such command", d.name, line)
				continue
			}
			rest, _, _ := strings.Cut(m[3], " #")
			for _, flag := range longFlag.FindAllStringSubmatch(rest, -1) {
				if !strings.Contains(help, flag[1]) {
					t.Errorf("%s: %q: the command has no flag %s", d.name, line, flag[1])
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// commandLines returns what may be one: the lines of text blocks, and code in
// the prose.
func (d *document) commandLines() []string {
	var lines []string
	for _, b := range d.blocks {
		if b.lang == "text" {
			for line := range strings.Lines(b.text) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(d.prose, -1) {
		// `myelin config check|print|docs` names three.
		if before, alternatives, ok := strings.Cut(m[1], "|"); ok && strings.HasPrefix(m[1], "myelin ") {
			stem := before[:strings.LastIndexByte(before, ' ')+1]
			lines = append(lines, before)
			for alternative := range strings.SplitSeq(alternatives, "|") {
				lines = append(lines, stem+alternative)
			}
			continue
		}
		lines = append(lines, m[1])
	}
	return lines
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksResolve follows every relative link, to the heading where it names one.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(d.prose, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			checked++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(d.name), path)
			if path == "" {
				target = d.name
			}
			if _, err := os.Stat(filepath.Join(repo, target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", d.name, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s: %s has no heading #%s", d.name, target, anchor)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d links were found", checked)
	}
}

// anchors returns the names by which the headings of a document are linked.
func anchors(t testing.TB, name string) []string {
	t.Helper()
	var all []string
	for _, m := range heading.FindAllStringSubmatch(readDocument(t, name).prose, -1) {
		slug := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}
