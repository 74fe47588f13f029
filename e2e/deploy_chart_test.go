package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v4"
)

// renderer makes manifests of a chart as Helm does, as far as ours goes.
type renderer struct {
	t    *testing.T
	all  *template.Template
	root mapping
}

// newRenderer reads the chart. change sets values, by their path with dots.
func newRenderer(t *testing.T, change mapping) *renderer {
	t.Helper()
	dir := filepath.Join(deployed, "helm", "myelin")
	var chart, values mapping
	for file, into := range map[string]*mapping{"Chart.yaml": &chart, "values.yaml": &values} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	for path, value := range change {
		group, keys := values, strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			group = group[key].(mapping)
		}
		group[keys[len(keys)-1]] = value
	}
	r := &renderer{t: t, root: mapping{
		"Values":  values,
		"Chart":   mapping{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
		"Release": mapping{"Name": "live", "Namespace": "web", "Service": "Helm"},
	}}
	r.all = template.New("").Funcs(r.functions()).Option("missingkey=zero")
	if _, err := r.all.ParseGlob(filepath.Join(dir, "templates", "*")); err != nil {
		t.Fatal(err)
	}
	return r
}

// functions are those of Helm that the chart uses.
func (r *renderer) functions() template.FuncMap {
	indent := func(n int, text string) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
	}
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := r.all.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"toYaml": func(v any) (string, error) {
			text, err := yaml.Dump(v, yaml.WithIndent(2))
			return strings.TrimSuffix(string(text), "\n"), err
		},
		"nindent":    func(n int, text string) string { return "\n" + indent(n, text) },
		"quote":      func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"trim":       strings.TrimSpace,
		"trunc":      func(n int, text string) string { return text[:min(n, len(text))] },
		"trimSuffix": func(suffix, text string) string { return strings.TrimSuffix(text, suffix) },
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"sha256sum":  func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) },
		"int":        func(v int) int { return v },
		"div":        func(a, b int) int { return a / b },
		"list":       func(items ...any) list { return items },
		"has":        func(item any, items list) bool { return slices.Contains(items, item) },
		"hasKey":     func(m mapping, key string) bool { _, ok := m[key]; return ok },
		"fail":       func(why string) (string, error) { return "", errors.New(why) },
		"until": func(n int) []int {
			all := make([]int, n)
			for i := range all {
				all[i] = i
			}
			return all
		},
		"dict": func(pairs ...any) mapping {
			m := mapping{}
			for i := 0; i+1 < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			return m
		},
		"default": func(otherwise, v any) any {
			if v == nil || reflect.ValueOf(v).IsZero() {
				return otherwise
			}
			return v
		},
		"required": func(why string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, errors.New(why)
			}
			return v, nil
		},
	}
}

// render returns the manifests by kind and name.
func (r *renderer) render() (map[string]mapping, error) {
	manifests := map[string]mapping{}
	for _, one := range r.all.Templates() {
		if !strings.HasSuffix(one.Name(), ".yaml") {
			continue
		}
		var b strings.Builder
		if err := one.Execute(&b, r.root); err != nil {
			return nil, err
		}
		for text := range strings.SplitSeq(b.String(), "\n---\n") {
			var m mapping
			if err := yaml.Unmarshal([]byte(text), &m); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", one.Name(), err, text)
			}
			if len(m) > 0 {
				manifests[fmt.Sprint(m["kind"], " ", at(m, "metadata", "name"))] = m
			}
		}
	}
	return manifests, nil
}

// TestChart renders the chart and has the configuration of its pods checked.
func TestChart(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]mapping{
		"open":    {"clusterTLS.insecure": true},
		"tls":     {"clusterTLS.secretName": "certs", "replicas": 5, "more": 2, "ingress.enabled": true, "ingress.host": "a.example"},
		"one":     {"clusterTLS.insecure": true, "replicas": 1, "networkPolicy.metricsNamespaces": list{"monitoring"}},
		"changed": {"clusterTLS.insecure": true, "config": mapping{"namespaces": mapping{"a": mapping{"history": mapping{"size": 5}}}}},
	} {
		r := newRenderer(t, change)
		manifests, err := r.render()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := at(manifests["ConfigMap live-myelin"], "data", "myelin.yaml").(string)
		file := filepath.Join(t.TempDir(), "myelin.yaml")
		write(t, file, text)
		sets := 0
		for kind, m := range manifests {
			if strings.HasPrefix(kind, "StatefulSet ") {
				sets++
				checkPods(t, name+", "+kind, m, file)
			}
		}
		if more, _ := change["more"].(int); sets != 1+min(more, 1) {
			t.Errorf("%s: there are %d sets of pods", name, sets)
		}
		for _, kind := range []string{"Service live-myelin", "Service live-myelin-nodes", "PodDisruptionBudget live-myelin", "NetworkPolicy live-myelin"} {
			if manifests[kind] == nil {
				t.Errorf("%s: there is no %s", name, kind)
			}
		}
		if at(manifests["Service live-myelin-nodes"], "spec", "publishNotReadyAddresses") != true {
			t.Errorf("%s: pods that start cannot find each other", name)
		}
	}
}

// checkPods checks the pods of a set.
func checkPods(t *testing.T, what string, m mapping, file string) {
	t.Helper()
	pod := at(m, "spec", "template", "spec")
	container := at(pod, "containers", 0)
	env := secrets()
	variables, _ := at(container, "env").(list)
	for _, v := range variables {
		value, ok := at(v, "value").(string)
		if !ok {
			value = fmt.Sprint(at(m, "metadata", "name"), "-0")
		}
		env = append(env, fmt.Sprintf("%v=%s", at(v, "name"), strings.ReplaceAll(value, "$(MYELIN_NODE)", fmt.Sprint(at(m, "metadata", "name"), "-0"))))
	}
	loads(t, what, env, texts(at(container, "args")), map[string]string{"/etc/myelin/myelin.yaml": file})
	for probe, path := range map[string]string{
		"startupProbe": "/health/startup", "livenessProbe": "/health/live", "readinessProbe": "/health/ready",
	} {
		if got := at(container, probe, "httpGet", "path"); got != path {
			t.Errorf("%s: the %s asks %v, want %s", what, probe, got, path)
		}
	}
	grace, _ := at(pod, "terminationGracePeriodSeconds").(int)
	if grace < 45 {
		t.Errorf("%s: its end may be cut off after %d s", what, grace)
	}
	if at(m, "spec", "podManagementPolicy") != "Parallel" {
		t.Errorf("%s: the first pod would wait for the second for ever", what)
	}
	if at(pod, "enableServiceLinks") != false || at(pod, "securityContext", "runAsNonRoot") != true {
		t.Errorf("%s: the pod gets what it must not have", what)
	}
}

// TestChartRefuses tries values that cannot work.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]mapping{
		"clusterTLS.insecure=true":  {},
		"are 1, 3 or 5":             {"clusterTLS.insecure": true, "replicas": 2},
		"config.cluster":            {"clusterTLS.insecure": true, "config": mapping{"cluster": mapping{"name": "x"}}},
		"name the host that client": {"clusterTLS.insecure": true, "ingress.enabled": true},
	} {
		if _, err := newRenderer(t, change).render(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", change, err, says)
		}
	}
}
