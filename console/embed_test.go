package console_test

import (
	"bytes"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"myelin/console"
)

func ask(t *testing.T, method, target string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	maps.Copy(request.Header, header)
	recorder := httptest.NewRecorder()
	console.Handler().ServeHTTP(recorder, request)
	return recorder
}

func TestServesEveryFileWithItsType(t *testing.T) {
	types := map[string]string{
		".html": "text/html; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".svg":  "image/svg+xml",
		".md":   "text/markdown; charset=utf-8",
	}
	etag := regexp.MustCompile(`^"[0-9a-f]{32}"$`)
	root := os.DirFS("dist")
	served := 0
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		want, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		got := ask(t, http.MethodGet, "/"+name, nil)
		if got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), want) {
			t.Errorf("GET /%s: status %d, %d bytes; want 200 and the %d bytes of the file", name, got.Code, got.Body.Len(), len(want))
		}
		extension := name[strings.LastIndex(name, "."):]
		if contentType := got.Header().Get("Content-Type"); contentType == "" || contentType != types[extension] {
			t.Errorf("GET /%s: content type %q, want %q", name, contentType, types[extension])
		}
		if !etag.MatchString(got.Header().Get("ETag")) {
			t.Errorf("GET /%s: ETag %q is not a strong one", name, got.Header().Get("ETag"))
		}
		served++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if served < 4 {
		t.Errorf("dist has %d files, want the page, its script, its style and its icon", served)
	}
}

func TestRootIsThePage(t *testing.T) {
	root, page := ask(t, http.MethodGet, "/", nil), ask(t, http.MethodGet, "/index.html", nil)
	if root.Code != http.StatusOK || !strings.Contains(root.Body.String(), "<title>Myelin console</title>") {
		t.Fatalf("GET /: status %d, body %q", root.Code, root.Body)
	}
	if root.Header().Get("ETag") != page.Header().Get("ETag") || root.Body.String() != page.Body.String() {
		t.Error("/ and /index.html differ")
	}
}

func TestUnchangedFileIsNotSentAgain(t *testing.T) {
	first := ask(t, http.MethodGet, "/app.js", nil)
	etag := first.Header().Get("ETag")
	again := ask(t, http.MethodGet, "/app.js", http.Header{"If-None-Match": {etag}})
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("same ETag: status %d and %d bytes, want 304 and none", again.Code, again.Body.Len())
	}
	if again.Header().Get("ETag") != etag || again.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("304 carries %v, want the ETag and no-cache", again.Header())
	}
	other := ask(t, http.MethodGet, "/app.js", http.Header{"If-None-Match": {`"0"`}})
	if other.Code != http.StatusOK {
		t.Errorf("other ETag: status %d, want 200", other.Code)
	}
}

func TestHeadHasNoBody(t *testing.T) {
	get, head := ask(t, http.MethodGet, "/app.css", nil), ask(t, http.MethodHead, "/app.css", nil)
	if head.Code != http.StatusOK || head.Body.Len() != 0 {
		t.Errorf("HEAD: status %d and %d bytes, want 200 and none", head.Code, head.Body.Len())
	}
	for _, name := range []string{"Content-Length", "Content-Type", "ETag"} {
		if head.Header().Get(name) != get.Header().Get(name) {
			t.Errorf("HEAD says %s %q, GET %q", name, head.Header().Get(name), get.Header().Get(name))
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch} {
		got := ask(t, method, "/", nil)
		if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q; want 405 and GET, HEAD", method, got.Code, got.Header().Get("Allow"))
		}
	}
}

func TestUnknownPathsAndDirectoriesAreNotFound(t *testing.T) {
	for _, target := range []string{"/dist", "/dist/", "/dist/index.html", "/nothing", "/app.js/", "//", "/./app.js", "/../embed.go", "/%2e%2e/embed.go", "/index.html/"} {
		got := ask(t, http.MethodGet, target, nil)
		if got.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", target, got.Code)
		}
		if got.Header().Get("ETag") != "" {
			t.Errorf("GET %s: a 404 carries an ETag", target)
		}
	}
}

func TestEveryAnswerCarriesThePolicy(t *testing.T) {
	for _, target := range []string{"/", "/app.js", "/nothing"} {
		header := ask(t, http.MethodGet, target, nil).Header()
		policy := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "connect-src 'self' ws: wss:", "style-src 'self';", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("GET %s: policy %q lacks %q", target, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy %q allows something unsafe", target, policy)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: nosniff is missing", target)
		}
	}
}

func TestThePageAsksNobodyElse(t *testing.T) {
	page := ask(t, http.MethodGet, "/", nil).Body.String()
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(match[1], "./") {
			t.Errorf("the page refers to %q, want only its own files, relative to itself", match[1])
		}
	}
	style := ask(t, http.MethodGet, "/app.css", nil).Body.String()
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style loads something")
	}
}
