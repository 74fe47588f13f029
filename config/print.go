package config

import (
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// YAML writes the whole configuration with every key. Redacted, secrets are
// replaced by a placeholder that Load refuses; otherwise Load gives the same
// configuration back, apart from DevMode.
func (c *Config) YAML(redact bool) ([]byte, error) {
	out, err := yaml.Dump(node(reflect.ValueOf(c).Elem(), rootField(), redact), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("config: write YAML: %w", err)
	}
	return out, nil
}

func node(v reflect.Value, f field, redact bool) *yaml.Node {
	switch f.typ.Kind() {
	case reflect.Struct:
		group := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, child := range fieldsOf(f.typ) {
			group.Content = append(group.Content, textNode(child.name), node(v.Field(child.index), child, redact))
		}
		return group
	case reflect.Map:
		group := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, name := range entriesOf(v) {
			entry := v.MapIndex(reflect.ValueOf(name))
			group.Content = append(group.Content, textNode(name), node(entry, field{typ: f.typ.Elem()}, redact))
		}
		return group
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		for _, item := range v.Interface().([]string) {
			list.Content = append(list.Content, textNode(item))
		}
		return list
	default:
		return valueNode(v, redact)
	}
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func valueNode(v reflect.Value, redact bool) *yaml.Node {
	plain := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	}
	switch x := v.Interface().(type) {
	case Secret:
		if redact {
			return textNode(x.String())
		}
		return textNode(string(x))
	case Duration:
		return textNode(x.String())
	case Size:
		if text := x.String(); plainDigits(text) {
			return plain("!!int", text)
		}
		return textNode(x.String())
	case Switch:
		if x == Auto {
			return textNode(string(x))
		}
		return plain("!!bool", string(x))
	case bool:
		return plain("!!bool", strconv.FormatBool(x))
	case int:
		return plain("!!int", strconv.Itoa(x))
	default:
		return textNode(v.String())
	}
}
