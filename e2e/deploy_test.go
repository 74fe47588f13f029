package e2e

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// deployed is the directory of what is deployed with.
const deployed = repo + "/deploy"

// mapping and list are what YAML becomes.
type (
	mapping = map[string]any
	list    = []any
)

// at follows keys and indices into what YAML became; nil where there is nothing.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(mapping)
			v = m[step]
		case int:
			l, _ := v.(list)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

func texts(v any) []string {
	items, _ := v.(list)
	all := make([]string, 0, len(items))
	for _, item := range items {
		text, _ := item.(string)
		all = append(all, text)
	}
	return all
}

// secrets are variables as an operator would set them.
func secrets() []string {
	return []string{
		"MYELIN_CLUSTER__SECRET=0123456789abcdef0123456789abcdef", "MYELIN_API__KEY=a-random-text",
		"MYELIN_AUTH__TOKENS__HMAC_SECRET=0123456789abcdef0123456789abcdef",
	}
}

// loads has the configuration of a node checked: args are those of serve, and
// files says where the paths in them are here.
func loads(t *testing.T, what string, env, args []string, files map[string]string) {
	t.Helper()
	if len(args) == 0 || args[0] != "serve" {
		t.Errorf("%s: it runs myelin %q, want serve", what, args)
		return
	}
	args = append([]string{"config", "check"}, args[1:]...)
	for i, arg := range args {
		if here, ok := files[arg]; ok {
			args[i] = here
		}
	}
	cmd := exec.Command(executable, args...)
	cmd.Env = environment(env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: myelin %q with %q: %v\n%s", what, args, env, err, out)
	}
}

// TestComposeLoads checks the configuration of each container.
func TestComposeLoads(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(deployed + "/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file mapping
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	services, _ := file["services"].(mapping)
	names := map[string]bool{}
	for name, service := range services {
		if !strings.HasPrefix(name, "node-") {
			continue
		}
		var env []string
		variables, _ := at(service, "environment").(mapping)
		for key, value := range variables {
			value, _ := value.(string)
			// What is ${NAME:?...} comes from the operator.
			if !strings.HasPrefix(value, "${") {
				env = append(env, key+"="+value)
			} else if !slices.ContainsFunc(secrets(), func(s string) bool { return strings.HasPrefix(s, key+"=") }) {
				t.Errorf("%s: %s is none of the secrets that the documentation names", name, key)
			}
		}
		if !slices.Contains(texts(at(service, "volumes")), "./myelin.yaml:/etc/myelin/myelin.yaml:ro") {
			t.Errorf("%s: the configuration is not mounted", name)
		}
		names[at(service, "environment", "MYELIN_NODE").(string)] = true
		if want := name + ":8002"; at(service, "environment", "MYELIN_CLUSTER__ADVERTISE") != want {
			t.Errorf("%s: the others do not find it at %s", name, want)
		}
		loads(t, name, append(env, secrets()...), texts(at(service, "command")),
			map[string]string{"/etc/myelin/myelin.yaml": deployed + "/compose/myelin.yaml"})
	}
	if want := map[string]bool{"node-a": true, "node-b": true, "node-c": true}; !maps.Equal(names, want) {
		t.Errorf("the nodes are %v", names)
	}
	config, err := os.ReadFile(deployed + "/compose/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !strings.Contains(string(config), "server "+name+":8000 ") {
			t.Errorf("the balancer does not know %s", name)
		}
	}
}

// TestDockerfileBuilds holds the lines of the image against the repository. The
// image itself needs a network and a daemon.
func TestDockerfileBuilds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(deployed + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(repo + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`(?m)^FROM golang:(\S+) AS build$`).FindSubmatch(text)
	if image == nil || !bytes.Contains(module, append([]byte("\ngo "), image[1]...)) {
		t.Errorf("it is built with %q, and go.mod wants another one", image)
	}
	build := regexp.MustCompile(`CGO_ENABLED=0 go build .* (\./\S+)`).FindSubmatch(text)
	if build == nil {
		t.Fatal("it builds no static binary")
	}
	list := exec.Command("go", "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", string(build[1]))
	list.Dir, list.Env = repo, environment("CGO_ENABLED=0")
	if out, err := list.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("without cgo it cannot be built: %v\n%s", err, out)
	}
	if !bytes.Contains(text, []byte("\nUSER 65532:65532\n")) {
		t.Error("it runs as root")
	}
	command := regexp.MustCompile(`(?m)^CMD \[(.+)\]$`).FindSubmatch(text)
	if command == nil {
		t.Fatal("it has no CMD")
	}
	var args []string
	for arg := range strings.SplitSeq(string(command[1]), ", ") {
		args = append(args, strings.Trim(arg, `"`))
	}
	loads(t, "the image", secrets()[1:], args, nil)
}

// TestUnitLoads checks the unit of systemd, and what it starts.
func TestUnitLoads(t *testing.T) {
	t.Parallel()
	const unit = deployed + "/systemd/myelin.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	here := map[string]string{"/etc/myelin/myelin.yaml": deployed + "/systemd/myelin.yaml"}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/myelin (.+)$`).FindSubmatch(text)
	before := regexp.MustCompile(`(?m)^ExecStartPre=/usr/local/bin/myelin config check (.+)$`).FindSubmatch(text)
	if start == nil || before == nil || string(start[1]) != "serve "+string(before[1]) {
		t.Fatalf("it checks %q and starts %q", before, start)
	}
	loads(t, "the unit", secrets(), strings.Fields(string(start[1])), here)

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze to check the rest with")
	}
	// The binary is elsewhere, and there is no user myelin.
	file := filepath.Join(t.TempDir(), "myelin.service")
	write(t, file, strings.NewReplacer("/usr/local/bin/myelin", executable, "=myelin\nGroup=myelin", "=root").Replace(string(text)))
	for _, args := range [][]string{{"verify", "--man=no", file}, {"security", "--offline=yes", "--threshold=20", file}} {
		out, err := exec.Command(analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && bytes.Contains(out, []byte("myelin.service:")) {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
