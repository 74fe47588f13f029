package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// spec is docs/openapi.yaml and a server to hold it against.
type spec struct {
	t      *testing.T
	doc    *openapi3.T
	server *process
}

func newSpec(t *testing.T, server *process) *spec {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(repo, "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("docs/openapi.yaml is not an OpenAPI document: %v", err)
	}
	return &spec{t, doc, server}
}

// call sends a body to a method and holds both ways against the document. It
// returns the status and the answer.
func (s *spec) call(httpMethod, path, body string, wellFormed bool, header ...string) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, httpMethod, s.server.http(path), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	item := s.doc.Paths.Find(path)
	if item == nil || item.Post == nil {
		s.t.Fatalf("there is no POST %s in the document", path)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req,
		Route:   &routers.Route{Spec: s.doc, Path: path, PathItem: item, Method: http.MethodPost, Operation: item.Post},
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true,
		},
	}
	if wellFormed {
		if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
			s.t.Errorf("%s %s is no request of the document: %v", path, body, err)
		}
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	err = openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(answer)), Options: input.Options,
	})
	if err != nil {
		s.t.Errorf("%s %s is answered with %s %s, which is no response of the document: %v", path, body, resp.Status, answer, err)
	}
	return resp.StatusCode, string(answer)
}

// TestOpenAPIExamples sends every example request to the binary: each must be
// done, and answered as the document says.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()
	s := newSpec(t, serve(t, "", "--dev"))
	paths := s.doc.Paths.Keys()
	slices.Sort(paths)
	// What the others read has to be there first, and goes last.
	first, last := []string{"/api/publish", "/api/broadcast", "/api/consumer_create"}, "/api/consumer_delete"
	paths = append(first, slices.DeleteFunc(paths, func(p string) bool { return p == last || slices.Contains(first, p) })...)
	paths = append(paths, last)
	if len(paths) < 13 {
		t.Errorf("only %d methods are in the document", len(paths))
	}
	for _, path := range paths {
		item := s.doc.Paths.Find(path)
		if item.Post == nil {
			t.Errorf("%s has no POST", path)
			continue
		}
		examples := item.Post.RequestBody.Value.Content.Get("application/json").Examples
		if len(examples) == 0 {
			t.Errorf("%s has no example", path)
		}
		for name, example := range examples {
			body, err := json.Marshal(example.Value.Value)
			if err != nil {
				t.Fatal(err)
			}
			status, answer := s.call(http.MethodPost, path, string(body), true)
			if status != http.StatusOK || strings.HasPrefix(answer, `{"error"`) {
				t.Errorf("the example %s of %s is answered with %d %s", name, path, status, answer)
			}
		}
	}
}

// TestOpenAPIErrors provokes what can go wrong: the document has the answers.
func TestOpenAPIErrors(t *testing.T) {
	t.Parallel()
	s := newSpec(t, serve(t, openConfig))
	key := []string{"X-API-Key", apiKey}
	transport := append([]string{"X-Centrifugo-Error-Mode", "transport"}, key...)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		says                     string
	}{
		{"failed", "POST", "/api/publish", `{"channel":"x:y","data":1}`, key, 200, `{"error":{"code":102,`},
		{"failed in the status", "POST", "/api/publish", `{"channel":"x:y","data":1}`, transport, 404, `"code":102,`},
		{"unknown field", "POST", "/api/publish", `{"chanel":"news","data":1}`, key, 400, "did you mean channel"},
		{"unknown field in the status", "POST", "/api/publish", `{"chanel":"news","data":1}`, transport, 400, "did you mean channel"},
		{"not JSON", "POST", "/api/history", `{`, key, 400, `"code":107`},
		{"no key", "POST", "/api/info", `{}`, nil, 401, `"code":101`},
		{"wrong key", "POST", "/api/info", `{}`, []string{"X-API-Key", "x"}, 401, `"code":101`},
		{"not POST", "GET", "/api/info", "", key, 405, "use POST"},
		{"too large", "POST", "/api/publish", `{"data":"` + strings.Repeat("x", 4<<20) + `"}`, key, 413, `"code":1004`},
		{"not announced as JSON", "POST", "/api/info", `{}`, append([]string{"Content-Type", "text/csv"}, key...), 415, "application/json"},
		{"batch", "POST", "/api/batch", `{"commands":[{"publish":{"channel":"x:y","data":1}},{"info":{}}]}`, key, 200, `"code":102`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &spec{t, s.doc, s.server}
			status, answer := s.call(c.method, c.path, c.body, false, c.header...)
			if status != c.status || !strings.Contains(answer, c.says) {
				t.Errorf("answered with %d %s, want %d and %q", status, answer, c.status, c.says)
			}
		})
	}
	off := newSpec(t, serve(t, "auth: {anonymous: true}"))
	if status, answer := off.call(http.MethodPost, "/api/info", `{}`, true); status != 404 || !strings.Contains(answer, "the HTTP API is off") {
		t.Errorf("without api.key it is answered with %d %s", status, answer)
	}
}
