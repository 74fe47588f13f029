package config

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// assign stores a YAML node in the value at path. It goes on after a problem,
// so that all are found.
func (l *loader) assign(v reflect.Value, f field, path string, n *yaml.Node, o origin) {
	o = o.at(n.Line, n.Column)
	if flt := oddNode(n); flt != nil {
		l.refuse(o, path, flt)
		return
	}
	switch {
	case f.isGroup():
		l.assignGroup(v, f, path, n, o)
	case f.typ.Kind() == reflect.Slice:
		l.assignList(v, f, path, n, o)
	default:
		l.take(v, f, path, o, scalar(f, n), n.Value)
	}
}

// oddNode refuses the parts of YAML that a configuration has no use for.
func oddNode(n *yaml.Node) *fault {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return faultf(noAliases)
	case n.Style&yaml.TaggedStyle != 0:
		return faultf("tags such as %s are not supported; put text in quotes", quote(n.Tag))
	}
	return nil
}

// take stores text, unless there is a fault already.
func (l *loader) take(v reflect.Value, f field, path string, o origin, flt *fault, text string) {
	if flt == nil {
		flt = setText(v, f, text)
	}
	if flt != nil {
		l.refuse(o, path, flt)
		return
	}
	l.origins[path] = o
	delete(l.spoiled, path)
}

// scalar refuses a node that is not one value of the key's type.
func scalar(f field, n *yaml.Node) *fault {
	if n.Kind != yaml.ScalarNode {
		return faultf("expected %s, got %s", f.kind(), describe(n))
	}
	if n.Tag == "!!null" {
		return faultf("the key has no value; expected %s", f.kind())
	}
	text := n.Tag == "!!str"
	switch f.typ {
	case reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[Switch]():
		return nil
	case reflect.TypeFor[Secret]():
		if !text {
			return faultf("expected text; put it in quotes")
		}
		return nil
	}
	switch f.typ.Kind() {
	case reflect.Bool, reflect.Int:
		if text && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			return faultf("expected %s without quotes", f.kind())
		}
		return nil
	default:
		if !text && f.form != "address" {
			return faultf("expected text, got %s; put it in quotes", describe(n))
		}
		return nil
	}
}

// describe names what a node is, in the words of a message. It does not show
// text, which may be a secret in the wrong place.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a group of keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!str":
		return "text"
	default:
		return quote(n.Value)
	}
}

func (l *loader) assignGroup(v reflect.Value, f field, path string, n *yaml.Node, o origin) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.refuse(o, path, faultf("expected a group of keys, got %s", describe(n)))
		return
	}
	l.origins[path] = o
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := o.at(key.Line, key.Column)
		if flt := oddKey(key); flt != nil {
			l.refuse(at, path, flt)
			continue
		}
		full := join(path, key.Value)
		if first := seen[key.Value]; first != nil {
			l.problem(at, full, fmt.Sprintf("the key appears twice, first at %d:%d", first.Line, first.Column), "")
			continue
		}
		seen[key.Value] = key
		if f.typ.Kind() == reflect.Map {
			l.withNamespace(v, f, key.Value, full, at, func(entry reflect.Value, ef field) {
				l.origins[full] = at
				l.assign(entry, ef, full, value, o)
			})
			continue
		}
		child, ok := findField(f.typ, key.Value)
		if !ok {
			l.unknownInFile(at, f, path, key.Value)
			continue
		}
		l.assign(v.Field(child.index), child, full, value, o)
	}
}

func oddKey(key *yaml.Node) *fault {
	if key.Tag == "!!merge" {
		return faultf("merge keys (<<) are not supported; write the values out")
	}
	if flt := oddNode(key); flt != nil {
		return flt
	}
	if key.Kind != yaml.ScalarNode {
		return faultf("a key must be text, got %s", describe(key))
	}
	return nil
}

// withNamespace lets change work on the entry of a namespace, or of another
// named group, which begins with the defaults. Map values cannot be changed in place.
func (l *loader) withNamespace(v reflect.Value, f field, name, path string, o origin, change func(reflect.Value, field)) {
	if flt := checkNamespace(name); flt != nil {
		l.refuse(o, path, flt)
		return
	}
	entry := reflect.New(f.typ.Elem()).Elem()
	if old := v.MapIndex(reflect.ValueOf(name)); old.IsValid() {
		entry.Set(old)
	} else if f.typ.Elem() == reflect.TypeFor[Namespace]() {
		entry.Set(reflect.ValueOf(l.fresh))
	} else {
		fill(entry.Addr().Interface())
	}
	change(entry, field{name: name, typ: f.typ.Elem()})
	v.SetMapIndex(reflect.ValueOf(name), entry)
}

func (l *loader) assignList(v reflect.Value, f field, path string, n *yaml.Node, o origin) {
	if n.Kind != yaml.SequenceNode {
		flt := faultf("expected a list, got %s", describe(n))
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && len(n.Value) < 40 {
			flt.suggestion = "[" + n.Value + "]"
		}
		l.refuse(o, path, flt)
		return
	}
	if len(n.Content) > maxItems {
		l.refuse(o, path, faultf("%d items are too many, at most %d", len(n.Content), maxItems))
		return
	}
	items, good := make([]string, 0, len(n.Content)), true
	for i, item := range n.Content {
		flt := oddNode(item)
		if flt == nil {
			flt = scalar(field{typ: reflect.TypeFor[string]()}, item)
		}
		if flt == nil {
			flt = f.checkItem(items, item.Value)
		}
		if flt != nil {
			l.spoiled[path] = true
			l.problem(o.at(item.Line, item.Column), fmt.Sprintf("%s[%d]", path, i), flt.message, flt.suggestion)
			good = false
			continue
		}
		items = append(items, item.Value)
	}
	if !good {
		return
	}
	if flt := f.checkList(items); flt != nil {
		l.refuse(o, path, flt)
		return
	}
	v.Set(reflect.ValueOf(items))
	l.origins[path] = o
	delete(l.spoiled, path)
}
