package observe_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"myelin/observe"
)

// answer is what a health handler said.
type answer struct {
	code       int
	Status     string            `json:"status"`
	Components map[string]string `json:"components"`
}

func ask(t *testing.T, h http.Handler) answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	a := answer{code: w.Code}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	return a
}

// wantHealth fails unless the three probes answer live, ready and startup, and
// readiness lists the components.
func wantHealth(t *testing.T, h *observe.Health, live, ready, startup int, components map[string]string) {
	t.Helper()
	for name, probe := range map[string]struct {
		handler http.Handler
		want    int
	}{"live": {h.Live(), live}, "ready": {h.Ready(), ready}, "startup": {h.Startup(), startup}} {
		got := ask(t, probe.handler)
		if got.code != probe.want {
			t.Errorf("%s: %d, want %d", name, got.code, probe.want)
		}
		status := "ok"
		if probe.want != http.StatusOK {
			status = "unavailable"
		}
		if got.Status != status {
			t.Errorf("%s: status %q, want %q", name, got.Status, status)
		}
		if !maps.Equal(got.Components, components) {
			t.Errorf("%s: %v, want %v", name, got.Components, components)
		}
	}
}

func TestHealthLife(t *testing.T) {
	const ok, down = http.StatusOK, http.StatusServiceUnavailable
	h := observe.NewHealth()
	wantHealth(t, h, ok, down, down, map[string]string{"server": "starting"})

	h.Set("engine", errors.New("opening"))
	h.Started()
	wantHealth(t, h, ok, down, ok, map[string]string{"engine": "opening"})

	h.Set("engine", nil)
	h.Set("keys", nil)
	wantHealth(t, h, ok, ok, ok, map[string]string{"engine": "ok", "keys": "ok"})

	h.Set("keys", errors.New("no answer"))
	wantHealth(t, h, ok, down, ok, map[string]string{"engine": "ok", "keys": "no answer"})

	h.Set("keys", nil)
	h.Drain()
	wantHealth(t, h, ok, down, ok, map[string]string{"engine": "ok", "keys": "ok", "server": "draining"})
}

func TestHealthOfNothingIsAnObject(t *testing.T) {
	h := observe.NewHealth()
	h.Started()
	w := httptest.NewRecorder()
	h.Ready().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got, want := w.Body.String(), `{"status":"ok","components":{}}`+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHealthComponentsAreBounded(t *testing.T) {
	h := observe.NewHealth()
	h.Started()
	for i := range observe.MaxComponents {
		h.Set(strconv.Itoa(i), nil)
	}
	h.Set("one more", nil)
	if a := ask(t, h.Ready()); a.code != http.StatusOK || len(a.Components) != observe.MaxComponents {
		t.Errorf("%d with %d components, want 200 with %d", a.code, len(a.Components), observe.MaxComponents)
	}
	h.Set("one more", errors.New("broken"))
	h.Set("another", nil)
	if a := ask(t, h.Ready()); a.code != http.StatusServiceUnavailable || a.Components["other"] != "broken" {
		t.Errorf("%d %q, want 503 and the error", a.code, a.Components["other"])
	}
	// A known component still reports.
	h.Set("7", errors.New("seven"))
	if a := ask(t, h.Ready()); a.Components["7"] != "seven" || len(a.Components) != observe.MaxComponents+1 {
		t.Errorf("%d components, 7 says %q", len(a.Components), a.Components["7"])
	}
}

func TestHealthWantsGET(t *testing.T) {
	h := observe.NewHealth()
	for method, want := range map[string]int{
		http.MethodHead: http.StatusOK, http.MethodPost: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed,
	} {
		w := httptest.NewRecorder()
		h.Live().ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
}

func TestNilHealth(t *testing.T) {
	var h *observe.Health
	h.Set("engine", errors.New("x"))
	h.Started()
	h.Drain()
}

func TestHealthConcurrently(t *testing.T) {
	h := observe.NewHealth()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				h.Set(strconv.Itoa(i), errors.New("x"))
				h.Ready().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
				h.Set(strconv.Itoa(i), nil)
			}
		})
	}
	wg.Go(h.Started)
	wg.Wait()
	if a := ask(t, h.Ready()); a.code != http.StatusOK || len(a.Components) != 8 {
		t.Errorf("%d with %d components", a.code, len(a.Components))
	}
}
