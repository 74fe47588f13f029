package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// code is what the packages of the main module declare.
type code struct {
	// members are the fields and methods of each type, by "package.Type".
	members map[string]map[string]bool
	// declared are the functions, types, variables and constants of each
	// package, by its last name.
	declared map[string]map[string]bool
	// names are all of the above, wherever they are.
	names map[string]bool
}

func (c *code) declare(pkg, name string) {
	if c.declared[pkg] == nil {
		c.declared[pkg] = map[string]bool{}
	}
	c.declared[pkg][name] = true
	c.names[name] = true
}

func (c *code) member(pkg, typ, name string) {
	key := pkg + "." + typ
	if c.members[key] == nil {
		c.members[key] = map[string]bool{}
	}
	c.members[key][name] = true
	c.names[name] = true
}

// readCode parses the product code of the main module.
func readCode(t testing.TB) *code {
	t.Helper()
	c := &code{members: map[string]map[string]bool{}, declared: map[string]map[string]bool{}, names: map[string]bool{}}
	err := filepath.WalkDir(repo, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", "testdata", "e2e", ".git"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err == nil {
			c.file(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *code) file(f *ast.File) {
	pkg := f.Name.Name
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				c.declare(pkg, d.Name.Name)
				continue
			}
			receiver := d.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if name, ok := receiver.(*ast.Ident); ok {
				c.member(pkg, name.Name, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					c.declare(pkg, s.Name.Name)
					c.typeMembers(pkg, s)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						c.declare(pkg, name.Name)
					}
				}
			}
		}
	}
}

func (c *code) typeMembers(pkg string, s *ast.TypeSpec) {
	var fields *ast.FieldList
	switch typ := s.Type.(type) {
	case *ast.StructType:
		fields = typ.Fields
	case *ast.InterfaceType:
		fields = typ.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			c.member(pkg, s.Name.Name, name.Name)
		}
	}
}

// elsewhere are types of the standard library that the documents name.
var elsewhere = []string{"RawConn.Read"}

// knows says whether a reference such as hub.(*Session).Publish, topic.repair,
// auth.Rules.Allows or .clock stands for something in the code.
func (c *code) knows(reference string) bool {
	if slices.Contains(elsewhere, reference) {
		return true
	}
	dir, rest := path.Split(reference)
	if dir != "" {
		name, _, _ := strings.Cut(rest, ".")
		if _, err := os.Stat(filepath.Join(repo, dir, name)); err != nil {
			return false
		}
	}
	parts := strings.Split(rest, ".")
	switch {
	case len(parts) == 1, parts[0] == "":
		return c.names[parts[len(parts)-1]]
	case len(parts) == 2 && c.declared[parts[0]][parts[1]]:
		return true
	case len(parts) == 2:
		for key, members := range c.members {
			if strings.HasSuffix(key, "."+parts[0]) && members[parts[1]] {
				return true
			}
		}
		return false
	}
	return len(parts) == 3 && c.members[parts[0]+"."+parts[1]][parts[2]]
}

var (
	// reference is code that names a function, method, field or type.
	reference = regexp.MustCompile(`^[a-z/]*\.?(\(\*?\w+\)|\w+)(\.\w+)*$`)
	// notation is what a reference has around its names.
	notation = strings.NewReplacer("(*", "", "(", "", ")", "", "[i]", "")
	// fileName is a path from the root of the repository.
	fileName = regexp.MustCompile(`^[a-z0-9]+/[\w./{},*-]+$`)
)

// TestArchitectureNamesCode follows the walk of ARCHITECTURE.md through the code.
func TestArchitectureNamesCode(t *testing.T) {
	t.Parallel()
	c := readCode(t)
	text := readDocument(t, "ARCHITECTURE.md").prose
	_, walk, _ := strings.Cut(text, "## One publication")
	walk, _, found := strings.Cut(walk, "## How it is tested")
	if !found {
		t.Fatal("the walk is not where it was")
	}
	checked := 0
	for _, m := range codeSpan.FindAllStringSubmatch(walk, -1) {
		span := m[1]
		if path.IsAbs(span) || !reference.MatchString(strings.ReplaceAll(span, "[i]", "")) {
			continue
		}
		if _, err := os.Stat(filepath.Join(repo, span)); err == nil {
			continue // a room
		}
		name := notation.Replace(span)
		if !strings.Contains(name, ".") && !c.names[name] && !strings.ContainsAny(span, "(") {
			// A word of the protocol or of the system, such as send or poll.
			t.Logf("not looked up: %s", span)
			continue
		}
		checked++
		if !c.knows(name) {
			t.Errorf("ARCHITECTURE.md: there is no %s in the code", span)
		}
	}
	if checked < 25 {
		t.Errorf("only %d references were found", checked)
	}
}

// TestPathsExist looks up the files and rooms that the prose names.
func TestPathsExist(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, d := range documents(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(d.prose, -1) {
			first, _, _ := strings.Cut(m[1], " ")
			top, _, _ := strings.Cut(first, "/")
			if info, err := os.Stat(filepath.Join(repo, top)); err != nil || !info.IsDir() || !fileName.MatchString(first) {
				continue
			}
			if strings.Contains(path.Base(first), ".(") || regexp.MustCompile(`\.\(?[*A-Z]`).MatchString(first) {
				continue // a reference into the code
			}
			for _, name := range alternatives(first) {
				checked++
				if found, err := filepath.Glob(filepath.Join(repo, name)); err != nil || len(found) == 0 {
					t.Errorf("%s: there is no %s", d.name, name)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d paths were found", checked)
	}
}

// alternatives spells out a/{b,c}.
func alternatives(name string) []string {
	before, rest, ok := strings.Cut(name, "{")
	inside, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{name}
	}
	var all []string
	for word := range strings.SplitSeq(inside, ",") {
		all = append(all, before+word+after)
	}
	return all
}
