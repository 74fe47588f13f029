package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// spec is an OpenAPI document, with numbers as float64.
type spec struct {
	root map[string]any
}

func readSpec(t *testing.T) *spec {
	t.Helper()
	b, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that values are those of encoding/json.
	s := &spec{}
	if b, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

// at returns what stands at a path, nil where there is nothing.
func at(node any, path ...string) any {
	for _, name := range path {
		m, _ := node.(map[string]any)
		node = m[name]
	}
	return node
}

func object(node any) map[string]any {
	m, _ := node.(map[string]any)
	return m
}

func list(node any) []any {
	l, _ := node.([]any)
	return l
}

// resolve follows a reference within the document.
func (s *spec) resolve(node any) map[string]any {
	m := object(node)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	target := object(at(s.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...))
	if target == nil {
		panic("a reference to nothing: " + ref)
	}
	return s.resolve(target)
}

// keywords are those that validate knows. A schema with another is an error,
// since it would seem to be checked.
var keywords = []string{
	"$ref", "type", "description", "properties", "required", "additionalProperties", "items", "oneOf",
	"minimum", "maximum", "maxLength", "maxItems", "minProperties", "maxProperties",
}

// validate returns what is wrong with a value. closed takes objects for
// complete even where the schema leaves them open.
func (s *spec) validate(schema, value any, closed bool) error {
	m := s.resolve(schema)
	for name := range m {
		if !slices.Contains(keywords, name) {
			return fmt.Errorf("the keyword %q is not checked", name)
		}
	}
	if options := list(m["oneOf"]); options != nil {
		return s.validateOne(options, value, closed)
	}
	switch m["type"] {
	case nil:
		return nil
	case "object":
		return s.validateObject(m, value, closed)
	case "array":
		return s.validateArray(m, value, closed)
	}
	return validateScalar(m, value)
}

func (s *spec) validateOne(options []any, value any, closed bool) error {
	fits, why := 0, ""
	for _, o := range options {
		if err := s.validate(o, value, closed); err != nil {
			why += "; " + err.Error()
			continue
		}
		fits++
	}
	if fits != 1 {
		return fmt.Errorf("fits %d of %d%s", fits, len(options), why)
	}
	return nil
}

func (s *spec) validateObject(m map[string]any, value any, closed bool) error {
	v, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%v is not an object", value)
	}
	for _, name := range list(m["required"]) {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%v is missing", name)
		}
	}
	if low, ok := m["minProperties"].(float64); ok && len(v) < int(low) {
		return fmt.Errorf("%d members", len(v))
	}
	if high, ok := m["maxProperties"].(float64); ok && len(v) > int(high) {
		return fmt.Errorf("%d members", len(v))
	}
	properties := object(m["properties"])
	for _, name := range slices.Sorted(maps.Keys(v)) {
		schema, known := properties[name]
		if !known {
			switch more := m["additionalProperties"].(type) {
			case map[string]any:
				schema = more
			case bool:
				known = more
			default:
				known = !closed
			}
			if schema == nil && !known {
				return fmt.Errorf("%s is not in the schema", name)
			}
		}
		if schema == nil {
			continue
		}
		if err := s.validate(schema, v[name], closed); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *spec) validateArray(m map[string]any, value any, closed bool) error {
	v, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%v is not a list", value)
	}
	if most, ok := m["maxItems"].(float64); ok && len(v) > int(most) {
		return fmt.Errorf("%d items", len(v))
	}
	for i, e := range v {
		if err := s.validate(m["items"], e, closed); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func validateScalar(m map[string]any, value any) error {
	var fits bool
	switch m["type"] {
	case "string":
		text, ok := value.(string)
		most, bounded := m["maxLength"].(float64)
		fits = ok && (!bounded || utf8.RuneCountInString(text) <= int(most))
	case "boolean":
		_, fits = value.(bool)
	case "integer":
		n, ok := value.(float64)
		low, hasLow := m["minimum"].(float64)
		high, hasHigh := m["maximum"].(float64)
		fits = ok && n == float64(int64(n)) && (!hasLow || n >= low) && (!hasHigh || n <= high)
	default:
		return fmt.Errorf("the type %v is not checked", m["type"])
	}
	if !fits {
		return fmt.Errorf("%v is not %v", value, m)
	}
	return nil
}

func TestValidateCanFail(t *testing.T) {
	s := &spec{root: map[string]any{}}
	for schema, values := range map[string][]string{
		`{"type":"string","maxLength":2}`:                                                    {`"abc"`, `1`, `null`},
		`{"type":"integer","minimum":1,"maximum":3}`:                                         {`0`, `4`, `1.5`, `"1"`},
		`{"type":"boolean"}`:                                                                 {`0`},
		`{"type":"array","maxItems":1,"items":{"type":"string"}}`:                            {`{}`, `["a","b"]`, `[1]`},
		`{"type":"object","required":["a"]}`:                                                 {`[]`, `{}`, `{"a":1,"b":1}`},
		`{"type":"object","additionalProperties":false,"properties":{}}`:                     {`{"a":1}`},
		`{"type":"object","additionalProperties":{"type":"string"}}`:                         {`{"a":1}`},
		`{"type":"object","minProperties":1,"maxProperties":1,"properties":{"a":{},"b":{}}}`: {`{}`, `{"a":1,"b":1}`},
		`{"oneOf":[{"type":"string"},{"type":"boolean"}]}`:                                   {`1`},
		`{"oneOf":[{"type":"string"},{"type":"string"}]}`:                                    {`"a"`},
		`{"type":"string","pattern":"a"}`:                                                    {`"a"`},
		`{"type":"number"}`:                                                                  {`1`},
	} {
		for _, value := range values {
			if err := s.validate(parse(t, schema), parse(t, value), true); err == nil {
				t.Errorf("%s fits %s", value, schema)
			}
		}
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
