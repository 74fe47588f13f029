package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// field is one key of the schema, read from a struct tag.
type field struct {
	name, doc, def, form string
	enum, later          []string
	min, max, zero       string
	index                int
	typ                  reflect.Type
}

// rootField describes the tree itself.
func rootField() field { return field{typ: reflect.TypeFor[Config]()} }

// fieldsOf lists the keys of a group in the order of the struct.
func fieldsOf(group reflect.Type) []field {
	fields := make([]field, 0, group.NumField())
	for i := range group.NumField() {
		sf := group.Field(i)
		name := sf.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		fields = append(fields, field{
			name: name, index: i, typ: sf.Type,
			doc:   sf.Tag.Get("doc"),
			def:   sf.Tag.Get("default"),
			form:  sf.Tag.Get("form"),
			enum:  words(sf.Tag.Get("enum")),
			later: words(sf.Tag.Get("later")),
			min:   sf.Tag.Get("min"),
			max:   sf.Tag.Get("max"),
			zero:  sf.Tag.Get("zero"),
		})
	}
	return fields
}

func findField(group reflect.Type, name string) (field, bool) {
	fields := fieldsOf(group)
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

func words(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, "|")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// isGroup says whether the field holds further keys.
func (f field) isGroup() bool {
	return f.typ.Kind() == reflect.Struct || f.typ.Kind() == reflect.Map
}

// kind names the type in the words of messages and documentation.
func (f field) kind() string {
	switch f.typ {
	case reflect.TypeFor[Duration]():
		return "a duration such as 30s or 5m"
	case reflect.TypeFor[Size]():
		return "a size such as 64KiB"
	case reflect.TypeFor[Switch]():
		return "auto, true or false"
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a group of keys"
	default:
		return "text"
	}
}

// fill sets every key below the pointer to its default. A default that does
// not parse is a mistake in the tags, so it panics.
func fill(pointer any) {
	group := reflect.ValueOf(pointer).Elem()
	for _, f := range fieldsOf(group.Type()) {
		v := group.Field(f.index)
		switch {
		case f.typ.Kind() == reflect.Struct:
			fill(v.Addr().Interface())
		case f.typ.Kind() == reflect.Map:
		default:
			if flt := setText(v, f, f.def); flt != nil {
				panic(fmt.Sprintf("config: default of %s: %s", f.name, flt.message))
			}
		}
	}
}

// setText parses text by the key's type, checks it and only then stores it.
func setText(v reflect.Value, f field, text string) *fault {
	parsed := reflect.New(f.typ).Elem()
	flt := parse(parsed, text)
	if flt == nil {
		flt = f.check(parsed)
	}
	if flt == nil {
		v.Set(parsed)
	}
	return flt
}

func parse(v reflect.Value, text string) *fault {
	switch p := v.Addr().Interface().(type) {
	case *Duration:
		d, flt := parseDuration(text)
		*p = d
		return flt
	case *Size:
		s, flt := parseSize(text)
		*p = s
		return flt
	case *int:
		n, flt := parseInt(text)
		*p = int(n)
		return flt
	case *bool:
		b, flt := parseBool(text)
		*p = b
		return flt
	case *[]string:
		*p = splitList(text)
		return nil
	default:
		v.SetString(text)
		return nil
	}
}

// splitList reads a list as environment variables and --set write it: a,b,c.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return []string{}
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// check holds a parsed value against the key's tags.
func (f field) check(v reflect.Value) *fault {
	switch f.typ.Kind() {
	case reflect.Int, reflect.Int64:
		return f.checkRange(v)
	case reflect.String:
		return f.checkText(v.String())
	case reflect.Slice:
		return f.checkList(v.Interface().([]string))
	default:
		return nil
	}
}

func (f field) checkRange(v reflect.Value) *fault {
	if f.zero != "" && v.Int() == 0 {
		return nil
	}
	low, high := reflect.New(f.typ).Elem(), reflect.New(f.typ).Elem()
	if f.min == "" || parse(low, f.min) != nil || parse(high, f.max) != nil {
		return faultf("the schema gives no range for %s", f.name)
	}
	if low.Int() <= v.Int() && v.Int() <= high.Int() {
		return nil
	}
	return faultf("%v is out of range, expected %s", v.Interface(), f.span())
}

// span words the range of a number.
func (f field) span() string {
	span := f.min + " to " + f.max
	if f.zero != "" {
		span = "0 (" + f.zero + ") or " + span
	}
	return span
}

func (f field) checkText(text string) *fault {
	if f.enum != nil {
		return f.checkWord(text)
	}
	if text == "" && (f.zero != "" || !slices.Contains([]string{"filled", "address", "prefix"}, f.form)) {
		return nil
	}
	return checkForm(f.form, text)
}

func (f field) checkWord(word string) *fault {
	switch {
	case slices.Contains(f.enum, word):
		return nil
	case slices.Contains(f.later, word):
		return faultf("%q is not available in this build; use %s", word, either(f.enum))
	}
	return faultf("unknown value %s, expected %s", quote(word), either(f.enum)).suggest(nearest(word, f.enum))
}

func (f field) checkList(items []string) *fault {
	if f.enum != nil && len(items) == 0 && f.zero == "" {
		return faultf("the list is empty; to refuse everybody say [nobody]")
	}
	if len(items) > maxItems {
		return faultf("%d items are too many, at most %d", len(items), maxItems)
	}
	for i, item := range items {
		if flt := f.checkItem(items[:i], item); flt != nil {
			return flt
		}
	}
	return nil
}

// checkItem checks one item of a list, given those before it.
func (f field) checkItem(before []string, item string) *fault {
	if slices.Contains(before, item) {
		return faultf("%s is listed twice", quote(item))
	}
	if f.enum != nil {
		return f.checkWord(item)
	}
	return checkForm(f.form, item)
}

// either words a choice: a, b or c.
func either(choices []string) string {
	last := len(choices) - 1
	if last < 1 {
		return strings.Join(choices, "")
	}
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}
