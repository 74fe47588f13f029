package config

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// syntaxError is a document that cannot be read at all.
type syntaxError struct {
	fault
	line, column int
}

// parseDocument reads one YAML document into its tree. The tree is nil for an
// empty document. Aliases are not followed, so the tree is no larger than the
// text.
func parseDocument(text []byte) (*yaml.Node, *syntaxError) {
	if err := checkBytes(text); err != nil {
		return nil, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithPlugin(depthLimit{}))
	if err != nil {
		return nil, yamlError(err, text)
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, yamlError(err, text)
	}
	err = loader.Load(&second)
	switch {
	case err == nil:
		flt := faultf("the file holds a second document; keep one")
		return nil, &syntaxError{*flt, second.Line, second.Column}
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err, text)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, &syntaxError{*faultf("not a YAML document"), 1, 1}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Anchor == "" {
		return nil, nil
	}
	return root, nil
}

// checkBytes refuses what is too large and what is not text, with a position,
// which the parser would not give.
func checkBytes(text []byte) *syntaxError {
	if len(text) > maxBytes {
		return &syntaxError{*faultf("the file is larger than 1 MiB, which no configuration needs"), 1, 1}
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return &syntaxError{*faultf("the file is UTF-16; save it as UTF-8"), 1, 1}
	}
	line, column := 1, 1
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return &syntaxError{*faultf("byte 0x%02x is not valid UTF-8; save the file as UTF-8", rest[0]), line, column}
		case !printable(r):
			return &syntaxError{*faultf("control character U+%04X is not allowed", r), line, column}
		}
		rest = rest[size:]
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return nil
}

// printable is the character set of YAML.
func printable(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r' || r == 0x85:
		return true
	case r < 0x20 || 0x7f <= r && r < 0xa0 || r == 0xfffe || r == 0xffff:
		return false
	}
	return true
}

// yamlError words the parser's error.
func yamlError(err error, text []byte) *syntaxError {
	out := &syntaxError{line: 1, column: 1}
	message := err.Error()
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		message = le.Message
		if le.ContextMsg != "" {
			message = le.ContextMsg + ": " + message
		}
		if le.Mark.Line > 0 {
			out.line, out.column = le.Mark.Line, le.Mark.Column
		}
	}
	switch {
	case strings.Contains(message, tooDeep):
		out.message = tooDeep
	case strings.Contains(message, "cannot start any token") && strings.Contains(lineOf(text, out.line), "\t"):
		out.message = "not valid YAML: a tab cannot indent; use spaces"
	case strings.Contains(message, "mapping values are not allowed"):
		out.message = "not valid YAML: a key is not expected here; check the indentation, and quote a value that holds a colon"
	case strings.Contains(message, "unknown anchor"):
		out.message = noAliases
	default:
		out.message = "not valid YAML: " + message
	}
	return out
}

func lineOf(text []byte, line int) string {
	for ; line > 1; line-- {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return string(first)
}

const (
	tooDeep   = "nested deeper than 32 levels"
	noAliases = "anchors and aliases (&name, *name) are not supported; write the value out"
)

var errTooDeep = errors.New(tooDeep)

// depthLimit bounds the parser's recursion.
type depthLimit struct{}

// CheckDepth implements yaml.LoaderLimitsPlugin.
func (depthLimit) CheckDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return errTooDeep
	}
	return nil
}

// CheckAlias implements yaml.LoaderLimitsPlugin. A tree of nodes expands no
// alias, so there is nothing to limit.
func (depthLimit) CheckAlias(int, int) error { return nil }
