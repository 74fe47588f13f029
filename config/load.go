package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"strings"
)

// Source is what a configuration is loaded from.
type Source struct {
	// Path is the file. Empty: no file, unless Bytes says otherwise.
	Path string
	// Bytes is the file's text, when the caller has read it; Path then only
	// names it.
	Bytes []byte
	// Env is the environment in the form of os.Environ. Variables that do not
	// begin with MYELIN_ are none of ours.
	Env []string
	// Reserved names variables that begin with MYELIN_ and belong to somebody
	// else, such as the command line.
	Reserved []string
	// Set holds the overrides a.b=v, the last one wins.
	Set []string
	// Dev starts from the development preset, see Config.Dev.
	Dev bool
}

// Load builds a configuration: defaults, file, environment, overrides. The
// error is an *Errors that holds everything wrong.
func Load(src Source) (*Config, error) {
	l := newLoader(src)
	l.file(src)
	l.environment(src.Env, src.Reserved)
	l.overrides(src.Set)
	l.findings()
	if err := l.errs.result(); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// loader carries one Load.
type loader struct {
	cfg   *Config
	fresh Namespace
	errs  Errors

	layers  int
	origins map[string]origin // where each path was last set
	spoiled map[string]bool   // paths whose value was refused or misspelled
	// general is where a problem of no key in particular is reported.
	general string
}

func newLoader(src Source) *loader {
	l := &loader{
		cfg: Default(), fresh: defaultNamespace(), general: "defaults",
		origins: map[string]origin{}, spoiled: map[string]bool{},
	}
	if src.Dev {
		l.cfg.Dev()
		l.fresh = l.fresh.dev()
	}
	return l
}

func (l *loader) root() reflect.Value { return reflect.ValueOf(l.cfg).Elem() }

func (l *loader) problem(o origin, path, message, suggestion string) {
	l.errs.add(Problem{Where: o.String(), Path: path, Message: message, Suggestion: suggestion, from: o})
}

// refuse reports a value that was not taken over.
func (l *loader) refuse(o origin, path string, flt *fault) {
	l.spoiled[path] = true
	l.problem(o, path, flt.message, flt.suggestion)
}

func (l *loader) file(src Source) {
	text := src.Bytes
	if src.Path == "" && text == nil {
		return
	}
	o := origin{name: src.Path, inFile: true}
	if src.Path == "" {
		o.name = "config"
	}
	l.general = o.name
	if text == nil {
		var err error
		if text, err = readFile(src.Path); err != nil {
			l.refuse(o, "", faultf("cannot read the file: %v", err))
			return
		}
	}
	doc, err := parseDocument(text)
	if err != nil {
		l.refuse(o.at(err.line, err.column), "", &err.fault)
		return
	}
	if doc != nil {
		l.assign(l.root(), rootField(), "", doc, o)
	}
}

// readFile reads at most one byte more than is allowed, so that an endless
// file ends.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return text, nil
}

// findings reports what Validate finds, at the origin of the key concerned. A
// finding about a key that is reported already would only be noise.
func (l *loader) findings() {
	for _, f := range l.cfg.findings() {
		if l.anySpoiled(f.about) {
			continue
		}
		o := l.locate(f.about)
		l.problem(o, f.path(), f.message, f.suggestion)
	}
}

func (l *loader) anySpoiled(about []string) bool {
	if l.spoiled[""] {
		return true
	}
	for _, path := range about {
		for path != "" {
			if l.spoiled[path] {
				return true
			}
			path = parent(path)
		}
	}
	return false
}

// locate finds the first of the paths that somebody set.
func (l *loader) locate(about []string) origin {
	for _, path := range about {
		if o, ok := l.origins[path]; ok {
			return o
		}
	}
	return origin{layer: math.MaxInt, name: l.general}
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}
