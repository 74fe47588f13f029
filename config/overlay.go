package config

import (
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins every variable that is ours.
const envPrefix = "MYELIN_"

// spelling is how a layer writes a path.
type spelling int

const (
	// dotted is limits.message, as in the file and --set.
	dotted spelling = iota
	// shouted is MYELIN_LIMITS__MESSAGE, as in the environment.
	shouted
)

func (s spelling) write(path string) string {
	if s == dotted {
		return path
	}
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

// setting is one override on its way to its key.
type setting struct {
	spelling spelling
	name     string // as written, for messages
	text     string
	from     origin
}

// environment applies the variables in the order of their names, so that a
// group comes before the keys in it.
func (l *loader) environment(env, reserved []string) {
	ours := map[string]string{}
	for _, pair := range env {
		name, text, found := strings.Cut(pair, "=")
		if !found || !strings.HasPrefix(name, envPrefix) || slices.Contains(reserved, name) || serviceLink(name, text) {
			continue
		}
		ours[name] = text
	}
	sorted := make([]string, 0, len(ours))
	for name := range ours {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		l.layers++
		s := setting{
			spelling: shouted, name: name, text: ours[name],
			from: origin{layer: l.layers, name: "env " + name},
		}
		l.override(s, strings.Split(strings.TrimPrefix(name, envPrefix), "__"))
	}
}

// serviceLink recognizes what Kubernetes puts into the environment of every
// pod beside a Service whose name begins with myelin; a strict loader would
// otherwise refuse to start there.
func serviceLink(name, text string) bool {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") {
		return true
	}
	for _, protocol := range []string{"_TCP", "_UDP", "_SCTP"} {
		if strings.Contains(name, "_PORT_") && strings.Contains(name, protocol) {
			return true
		}
	}
	return strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

// overrides applies --set, the last one wins.
func (l *loader) overrides(set []string) {
	for _, pair := range set {
		l.layers++
		path, text, found := strings.Cut(pair, "=")
		from := origin{layer: l.layers, name: "--set"}
		if !found || path == "" {
			l.refuse(from, "", faultf("expected key=value, such as limits.message=128KiB"))
			continue
		}
		from.name = "--set " + shorten(path)
		l.override(setting{spelling: dotted, name: path, text: text, from: from}, strings.Split(path, "."))
	}
}

func (l *loader) override(s setting, segments []string) {
	l.descend(l.root(), rootField(), "", s, segments)
}

// descend walks down to the key that the segments name.
func (l *loader) descend(v reflect.Value, f field, path string, s setting, segments []string) {
	if len(segments) == 0 {
		l.assignText(v, f, path, s)
		return
	}
	segment, rest := segments[0], segments[1:]
	switch f.typ.Kind() {
	case reflect.Struct:
		name := segment
		if s.spelling == shouted {
			name = strings.ToLower(segment)
		}
		child, ok := findField(f.typ, name)
		if !ok {
			l.unknownInPath(s, f, path, name, rest)
			return
		}
		l.descend(v.Field(child.index), child, join(path, name), s, rest)
	case reflect.Map:
		name := segment
		if s.spelling == shouted {
			name = envEntry(v, segment)
		}
		full := join(path, name)
		l.withNamespace(v, f, name, full, s.from, func(entry reflect.Value, ef field) {
			l.descend(entry, ef, full, s, rest)
		})
	default:
		l.refuse(s.from, join(path, segment), faultf("there are no keys below %s, which is %s", path, f.kind()))
	}
}

// envEntry reads the name of a namespace, or of another named group, from a
// variable: as written if there is such a one or if it has a small letter, else
// in small letters.
func envEntry(v reflect.Value, segment string) string {
	if v.MapIndex(reflect.ValueOf(segment)).IsValid() || segment != strings.ToUpper(segment) {
		return segment
	}
	return strings.ToLower(segment)
}

// assignText stores an override's text. Groups and lists may be written as
// they would be in the file: {size: 100, ttl: 5m} or [user, token].
func (l *loader) assignText(v reflect.Value, f field, path string, s setting) {
	trimmed := strings.TrimSpace(s.text)
	flow := f.isGroup() && strings.HasPrefix(trimmed, "{") ||
		f.typ.Kind() == reflect.Slice && strings.HasPrefix(trimmed, "[")
	switch {
	case flow:
		doc, err := parseDocument([]byte(s.text))
		if err != nil {
			l.refuse(s.from.at(err.line, err.column), path, &err.fault)
			return
		}
		l.assign(v, f, path, doc, s.from)
	case f.isGroup():
		example := s.spelling.write(join(path, "KEY"))
		if s.spelling == dotted {
			example = join(path, "key")
		}
		l.refuse(s.from, path, faultf("expected a group of keys; set one of them as in %s=value, or several as in %s={key: value}", example, s.name))
	default:
		l.take(v, f, path, s.from, nil, s.text)
	}
}

// unknownInFile reports a key that group f at path does not have. The one
// that was probably meant is marked, so that it is not reported as missing.
func (l *loader) unknownInFile(o origin, f field, path, name string) {
	full := join(path, name)
	if l.errs.full() { // nobody would read the suggestion, and looking for one is what costs
		l.problem(o, shorten(full), "unknown key", "")
		return
	}
	suggestion := nearest(name, names(fieldsOf(f.typ)))
	if suggestion != "" {
		l.spoiled[join(path, suggestion)] = true
	} else if suggestion = elsewhere(full); suggestion != "" {
		l.spoiled[suggestion] = true
	}
	l.problem(o, shorten(full), "unknown key", suggestion)
}

// unknownInPath does so for an override, where all of the path is written out.
func (l *loader) unknownInPath(s setting, f field, path, name string, rest []string) {
	full := join(path, name)
	below := strings.Join(append([]string{""}, rest...), ".")
	if s.spelling == shouted {
		below = strings.ToLower(below)
	}
	if l.errs.full() {
		l.problem(s.from, shorten(full+below), "unknown key", "")
		return
	}
	suggestion := elsewhere(full + below)
	if sibling := nearest(name, names(fieldsOf(f.typ))); suggestion == "" && sibling != "" {
		suggestion = join(path, sibling) + below
	}
	if suggestion != "" {
		l.spoiled[suggestion] = true
		suggestion = s.spelling.write(suggestion)
	}
	l.problem(s.from, shorten(full+below), "unknown key", suggestion)
}

// elsewhere looks for a key in the whole tree: ping_interval at the top is
// client.ping_interval, api_key is api.key.
func elsewhere(path string) string {
	all := fixedPaths(rootField(), "")
	if near := nearest(path, all); near != "" {
		return near
	}
	last := func(path string) string { return squash(path[strings.LastIndexByte(path, '.')+1:]) }
	found := slices.DeleteFunc(all, func(p string) bool { return last(p) != last(path) })
	if len(found) == 1 {
		return found[0]
	}
	return ""
}

// fixedPaths lists every key outside namespaces.
func fixedPaths(f field, path string) []string {
	if f.typ.Kind() != reflect.Struct {
		return []string{path}
	}
	var all []string
	for _, child := range fieldsOf(f.typ) {
		all = append(all, fixedPaths(child, join(path, child.name))...)
	}
	return all
}

// shorten keeps what a stranger wrote from flooding a report.
func shorten(path string) string {
	const most = 80
	if r := []rune(path); len(r) > most {
		return string(r[:most]) + "..."
	}
	return path
}
