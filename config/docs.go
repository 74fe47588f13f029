package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Docs writes the reference, docs/config.md, from the struct tags, the rules
// and the development preset.
func Docs() ([]byte, error) {
	if err := checkSchema(rootField(), ""); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(docsIntro)
	b.WriteString(docsExamples)
	b.WriteString("## Keys\n\n")
	root := rootField()
	b.WriteString(tableHead)
	for _, f := range fieldsOf(root.typ) {
		if !f.isGroup() {
			writeRow(&b, f)
		}
	}
	b.WriteString("\n")
	for _, f := range fieldsOf(root.typ) {
		if f.isGroup() {
			writeGroup(&b, f, f.name)
		}
	}
	b.WriteString(docsWho)
	writeRules(&b)
	writeDev(&b)
	return []byte(b.String()), nil
}

// checkSchema refuses a key that nobody explained or that no value fits.
func checkSchema(f field, path string) error {
	group := f.typ
	switch group.Kind() {
	case reflect.Map:
		group = group.Elem()
	case reflect.Struct:
	default:
		return nil
	}
	for _, child := range fieldsOf(group) {
		full := join(path, child.name)
		if child.name == "" || child.doc == "" || !strings.HasSuffix(child.doc, ".") {
			return fmt.Errorf("config: key %q has no name, or no doc that ends with a period", full)
		}
		if err := checkSchema(child, full); err != nil {
			return err
		}
	}
	return nil
}

const tableHead = "| key | value | default | meaning |\n|---|---|---|---|\n"

func writeGroup(b *strings.Builder, f field, path string) {
	group := f.typ
	if group.Kind() == reflect.Map {
		group = group.Elem()
		path += ".<name>"
	}
	fmt.Fprintf(b, "### `%s`\n\n%s\n\n", path, f.doc)
	var rows strings.Builder
	for _, child := range fieldsOf(group) {
		if !child.isGroup() {
			writeRow(&rows, child)
		}
	}
	if rows.Len() > 0 {
		b.WriteString(tableHead + rows.String() + "\n")
	}
	for _, child := range fieldsOf(group) {
		if child.isGroup() {
			writeGroup(b, child, join(path, child.name))
		}
	}
}

func writeRow(b *strings.Builder, f field) {
	def := f.def
	switch {
	case f.typ.Kind() == reflect.Slice:
		def = "[" + def + "]"
	case def == "":
		def = `""`
	}
	fmt.Fprintf(b, "| `%s` | %s | `%s` | %s |\n", f.name, f.allowed(), def, strings.ReplaceAll(f.doc, "*", `\*`))
}

// allowed words what a key accepts.
func (f field) allowed() string {
	var s string
	switch {
	case f.typ == reflect.TypeFor[Duration]():
		s = "duration, "
	case f.typ == reflect.TypeFor[Size]():
		s = "size, "
	case f.typ == reflect.TypeFor[Secret]():
		return "secret"
	case f.typ.Kind() == reflect.Int:
		s = "number, "
	case f.typ.Kind() == reflect.Slice && f.enum != nil:
		return "list of " + either(f.enum)
	case f.typ.Kind() == reflect.Slice:
		return "list of " + f.form + "s"
	case f.enum != nil:
		return either(f.enum)
	case f.form == "address" || f.form == "peer":
		s = "host:port"
	case f.form == "url":
		s = "URL"
	default:
		s = f.kind()
	}
	if f.min != "" {
		return s + f.span()
	}
	if f.zero != "" {
		return s + `, or "" (` + f.zero + ")"
	}
	return s
}

func writeRules(b *strings.Builder) {
	b.WriteString("## What contradicts\n\nThe server does not start on settings that cannot be meant together:\n\n")
	for _, r := range rules() {
		fmt.Fprintf(b, "- %s\n", r.doc)
	}
	b.WriteString("\n")
}

// writeDev lists what Dev changes, by comparing.
func writeDev(b *strings.Builder) {
	plain, dev := Default(), Default()
	dev.Dev()
	before := map[string]string{}
	leaves(reflect.ValueOf(plain).Elem(), rootField(), "", func(path, text string) { before[path] = text })
	b.WriteString("## The development preset\n\n" +
		"`myelin serve --dev` starts from other defaults; file, environment and `--set` still win over them. " +
		"The listeners must be loopback addresses.\n\n| key | default | with --dev |\n|---|---|---|\n")
	leaves(reflect.ValueOf(dev).Elem(), rootField(), "", func(path, text string) {
		if text != before[path] {
			fmt.Fprintf(b, "| `%s` | `%s` | `%s` |\n", strings.Replace(path, "."+DefaultNamespace+".", ".<name>.", 1), before[path], text)
		}
	})
}

// leaves visits every key with its value.
func leaves(v reflect.Value, f field, path string, visit func(path, text string)) {
	switch f.typ.Kind() {
	case reflect.Struct:
		for _, child := range fieldsOf(f.typ) {
			leaves(v.Field(child.index), child, join(path, child.name), visit)
		}
	case reflect.Map:
		for _, name := range entriesOf(v) {
			leaves(v.MapIndex(reflect.ValueOf(name)), field{typ: f.typ.Elem()}, join(path, name), visit)
		}
	case reflect.Slice:
		visit(path, "["+strings.Join(v.Interface().([]string), ", ")+"]")
	default:
		visit(path, fmt.Sprint(v.Interface()))
	}
}
