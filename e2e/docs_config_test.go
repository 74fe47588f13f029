package e2e

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"myelin/config"
)

// defaults returns every key of the configuration with its default, by
// reflection: namespaces.default.history.size is "0".
func defaults() map[string]string {
	all := map[string]string{}
	collect(all, "", reflect.ValueOf(config.Default()).Elem())
	return all
}

func collect(all map[string]string, path string, v reflect.Value) {
	if v.Kind() == reflect.Struct {
		for field, value := range v.Fields() {
			if name := field.Tag.Get("yaml"); name != "" && name != "-" {
				collect(all, path+"."+name, value)
			}
		}
		return
	}
	if v.Kind() == reflect.Map {
		for _, name := range v.MapKeys() {
			collect(all, path+"."+name.String(), v.MapIndex(name))
		}
		return
	}
	all[strings.TrimPrefix(path, ".")] = fmt.Sprint(v.Interface())
}

// limitRow is a row of the table of configured limits: keys, default, what then.
var limitRow = regexp.MustCompile("(?m)^\\| (`[^|]+) \\| ([^|]+) \\|")

// TestLimitsAreTheDefaults holds the table of docs/limits.md against the code.
// A key after a comma shares the path of the one before it.
func TestLimitsAreTheDefaults(t *testing.T) {
	t.Parallel()
	known := defaults()
	configured, _, _ := strings.Cut(readDocument(t, "docs/limits.md").text, "## Built in")
	rows := limitRow.FindAllStringSubmatch(configured, -1)
	if len(rows) < 8 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	documented := map[string]bool{}
	for _, row := range rows {
		values := strings.Split(row[2], ", ")
		parent := ""
		for i, m := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			key := strings.Replace(m[1], "namespaces.*.", "namespaces.default.", 1)
			if i > 0 {
				key = parent + "." + key
			}
			parent = key[:max(strings.LastIndexByte(key, '.'), 0)]
			documented[key] = true
			switch want, ok := known[key]; {
			case !ok:
				t.Errorf("docs/limits.md: there is no key %s", key)
			case i >= len(values) || values[i] != want:
				t.Errorf("docs/limits.md: the defaults of %s are %s, want %s for %s", row[1], row[2], want, key)
			}
		}
	}
	for key := range known {
		if strings.HasPrefix(key, "limits.") && !documented[key] {
			t.Errorf("docs/limits.md does not tell of %s", key)
		}
	}
}

// TestKeysInProseExist looks up every dotted key that the prose names.
func TestKeysInProseExist(t *testing.T) {
	t.Parallel()
	known := defaults()
	groups := map[string]bool{}
	for key := range known {
		for i := range key {
			if key[i] == '.' {
				groups[key[:i]] = true
			}
		}
	}
	group := regexp.MustCompile(`^(admin|tls|auth|api|engine|namespaces|client|limits|drain|log)\.[a-z_.*]+$`)
	checked := 0
	for _, d := range documents(t) {
		if strings.HasSuffix(d.name, "moving-from-centrifugo.md") {
			// Its table has the keys of both.
			_, d.prose, _ = strings.Cut(d.prose, "## What differs")
		}
		for _, m := range codeSpan.FindAllStringSubmatch(d.prose, -1) {
			key, _, _ := strings.Cut(m[1], ":")
			if !group.MatchString(key) {
				continue
			}
			checked++
			key = anyNamespace.ReplaceAllLiteralString(key, "namespaces.default.")
			if _, ok := known[key]; !ok && !groups[key] {
				t.Errorf("%s: there is no key %s", d.name, key)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d keys were found", checked)
	}
}

// anyNamespace is the beginning of a key that every namespace has.
var anyNamespace = regexp.MustCompile(`^namespaces\.(\*|state)\.`)

// ourKey is the right column of the table of configuration keys.
var ourKey = regexp.MustCompile(`(?m)^\| .+ \| (.+) \|$`)

// TestMovingNamesOurKeys looks up the keys that the table for those who come
// from Centrifugo sends them to.
func TestMovingNamesOurKeys(t *testing.T) {
	t.Parallel()
	known := defaults()
	text := readDocument(t, "docs/moving-from-centrifugo.md").text
	_, table, _ := strings.Cut(text, "## Configuration")
	table, _, _ = strings.Cut(table, "\n## ")
	names := map[string]bool{}
	for key := range known {
		for part := range strings.SplitSeq(key, ".") {
			names[part] = true
		}
		names[key] = true
	}
	rows := ourKey.FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	for _, row := range rows {
		for _, m := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			key, _, _ := strings.Cut(m[1], ":")
			if regexp.MustCompile(`^[a-z_.]+$`).MatchString(key) && !names[key] && key != "namespaces.default" {
				t.Errorf("docs/moving-from-centrifugo.md: there is no key %s", key)
			}
		}
	}
}
