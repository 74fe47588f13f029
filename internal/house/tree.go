package house

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A tree is everything the rules look at, read once.
type tree struct {
	root     string
	module   string
	fset     *token.FileSet
	packages []*pkg
	files    []*source
}

// A pkg is one package of the main module.
type pkg struct {
	// path is relative to the module: "door/sse"; the root package is ".".
	path  string
	name  string
	files []*source
}

// isTest reports whether the whole package exists for tests: its name ends in
// "test", like channeltest.
func (p *pkg) isTest() bool {
	return strings.HasSuffix(p.path, "test")
}

// A source is one file.
type source struct {
	name  string // relative to the root, with slashes
	text  []byte
	lines int
	// pkg is nil for files of nested modules and for what is not Go.
	pkg *pkg
	// syntax is nil for what is not Go.
	syntax    *ast.File
	generated bool
}

func (s *source) isGo() bool { return strings.HasSuffix(s.name, ".go") }

// isTest reports whether the file is compiled for tests only.
func (s *source) isTest() bool {
	return strings.HasSuffix(s.name, "_test.go") || s.pkg != nil && s.pkg.isTest()
}

// listed is what we ask go list for.
type listed struct {
	Dir        string
	ImportPath string
	Name       string
	Module     struct{ Path, Dir string }
}

// readTree reads the main module at root, and the sources of the modules nested
// below it.
func readTree(ctx context.Context, root string, report *Report) (*tree, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// go list prints real paths.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	t := &tree{root: root, fset: token.NewFileSet()}
	byDir, err := t.listPackages(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.readFiles(byDir, report); err != nil {
		return nil, err
	}
	report.Packages, report.Files = len(t.packages), len(t.files)
	return t, nil
}

// listPackages asks the go command which directories are packages of the main
// module. -find keeps it from resolving imports, -e lets it go on past
// packages that do not compile.
func (t *tree) listPackages(ctx context.Context) (map[string]*pkg, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-find", "-e", "-json=Dir,ImportPath,Name,Module", "./...")
	cmd.Dir = t.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w: %s", t.root, err, bytes.TrimSpace(stderr.Bytes()))
	}
	byDir := map[string]*pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		t.module = l.Module.Path
		rel, err := filepath.Rel(t.root, l.Dir)
		if err != nil {
			return nil, err
		}
		p := &pkg{path: filepath.ToSlash(rel), name: l.Name}
		byDir[p.path] = p
		t.packages = append(t.packages, p)
	}
	return byDir, nil
}

// sourceKinds are the endings of the files that a person writes and reads.
var sourceKinds = []string{".go", ".ts", ".tsx", ".js", ".mjs", ".css", ".sh"}

// skippedDirs hold what nobody here wrote, or what is meant to be odd.
var skippedDirs = []string{"testdata", "node_modules", "dist", "vendor"}

func (t *tree) readFiles(byDir map[string]*pkg, report *Report) error {
	return filepath.WalkDir(t.root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Somebody else's test or build cleaned up behind us.
			return nil
		case err != nil:
			return err
		case d.IsDir() && name != t.root && skipDir(d.Name()):
			return filepath.SkipDir
		case !d.Type().IsRegular() || !slices.Contains(sourceKinds, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		rel, err := filepath.Rel(t.root, name)
		if err != nil {
			return err
		}
		s := &source{name: filepath.ToSlash(rel), text: text, lines: countLines(text)}
		if s.isGo() {
			t.parse(s, byDir[filepath.ToSlash(filepath.Dir(rel))], report)
		}
		t.files = append(t.files, s)
		return nil
	})
}

func skipDir(name string) bool {
	return name[0] == '.' || name[0] == '_' || slices.Contains(skippedDirs, name)
}

func (t *tree) parse(s *source, p *pkg, report *Report) {
	var err error
	s.syntax, err = parser.ParseFile(t.fset, s.name, s.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		report.violate(s.name, 0, "syntax", "%v", err)
	}
	if s.syntax == nil {
		s.syntax = &ast.File{Name: ast.NewIdent("_")}
	}
	s.generated = ast.IsGenerated(s.syntax)
	if p != nil {
		s.pkg = p
		p.files = append(p.files, s)
	}
}

func countLines(text []byte) int {
	n := bytes.Count(text, []byte("\n"))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		n++
	}
	return n
}

func (t *tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }
