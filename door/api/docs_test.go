package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"myelin/door/api"
	"myelin/hub"
)

// sample is a command in docs/api.md and the answer that stands below it, ""
// for none.
type sample struct{ verb, method, body, answer string }

// curl matches the commands of the docs: no more of curl is understood.
var curl = regexp.MustCompile(`(?s)^curl -s (-X (POST) )?http://127\.0\.0\.1:8000/api/(\w+)( -d '([^']*)')?$`)

// samples reads docs/api.md.
func samples(t *testing.T) []sample {
	t.Helper()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for i, block := range strings.Split(string(b), "```") {
		lang, text, _ := strings.Cut(block, "\n")
		switch {
		case i%2 == 0:
		case lang == "json":
			all[len(all)-1].answer = text
		case lang == "sh":
			for command := range strings.SplitSeq(strings.TrimSpace(text), "\ncurl ") {
				m := curl.FindStringSubmatch("curl " + strings.TrimPrefix(command, "curl "))
				if m == nil {
					t.Fatalf("not understood: %s", command)
				}
				s := sample{verb: m[2], method: m[3], body: m[5]}
				if m[4] != "" {
					s.verb = "POST"
				}
				all = append(all, s)
			}
		}
	}
	return all
}

// TestDocsRun does what docs/api.md says, in its order, and compares the
// answers with what stands there.
func TestDocsRun(t *testing.T) {
	r := newRig(t, hub.Limits{})
	door := api.New(api.Options{Hub: r.hub, Consumers: r.consumers, Insecure: true})
	seen := make(map[string]bool)
	for _, s := range samples(t) {
		req := httptest.NewRequest(s.verb, api.Prefix+s.method, strings.NewReader(s.body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		door.ServeHTTP(w, req)
		seen[s.method] = true
		if s.answer == "" {
			continue
		}
		if err := alike(parse(t, w.Body.String()), parse(t, s.answer)); err != nil {
			t.Errorf("%s %s: %v in %s", s.method, s.body, err, w.Body)
		}
	}
	for _, method := range api.Methods() {
		if !seen[method] {
			t.Errorf("the docs do not show %s", method)
		}
	}
}

// varying are fields that are another each time.
var varying = []string{"epoch", "uid", "name", "version", "uptime"}

// alike returns how two answers differ in what does not vary.
func alike(got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		if len(got) != len(want) {
			return fmt.Errorf("%d members, not %d", len(got), len(want))
		}
		for name := range want {
			if err := alike(got[name], want[name]); err != nil && !slices.Contains(varying, name) {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			return fmt.Errorf("%d items, not %d", len(got), len(want))
		}
		for i := range want {
			if err := alike(got[i], want[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	default:
		if got != want {
			g, _ := json.Marshal(got)
			return fmt.Errorf("%s, not %v", g, want)
		}
	}
	return nil
}

// TestDocsNameTheBounds holds the numbers of the docs against the code.
func TestDocsNameTheBounds(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for row, bound := range map[string]int{
		"channels of a broadcast": api.MaxBroadcastChannels, "commands of a batch": api.MaxBatchCommands,
		"clients in a whitelist": api.MaxWhitelist, "channels listed": api.MaxListedChannels,
		"clients in presence": hub.MaxPresence, "JSON nesting": api.MaxDepth, "requests at a time": api.MaxInFlight,
		"what the answers to one request hold": api.MaxAnswerBytes >> 20, "body": api.BodyBytes(0) >> 20,
	} {
		if want := fmt.Sprintf("| %s | %d", row, bound); !strings.Contains(string(b), want) {
			t.Errorf("no %q", want)
		}
	}
}
