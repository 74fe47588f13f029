package observe

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
)

// MaxComponents is how many components report their health one by one. An
// error of any further one stays under the name "other".
const MaxComponents = 64

// What a health answer says.
const (
	statusOK          = "ok"
	statusUnavailable = "unavailable"
	// componentServer is the name under which the process itself says that it
	// is starting or draining.
	componentServer = "server"
)

// Health gathers what the components of a process say of themselves and
// answers the probes of an orchestrator. The zero value is not ready for use.
type Health struct {
	mu struct {
		sync.Mutex
		components map[string]error
		started    bool
		draining   bool
	}
}

// NewHealth returns the health of a process that is starting.
func NewHealth() *Health {
	h := new(Health)
	h.mu.components = make(map[string]error)
	return h
}

// Set records the health of a component: nil for working, else what is wrong.
// The name "server" is the process's own, for starting and draining. On a nil
// *Health it does nothing.
func (h *Health) Set(component string, err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.mu.components[component]; !known && len(h.mu.components) >= MaxComponents {
		if err == nil {
			return
		}
		component = other
	}
	h.mu.components[component] = err
}

// Started says that the process has come up: it may be ready from here on.
func (h *Health) Started() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.started = true
}

// Drain says that the process is going down: it is not ready from here on, so
// that nothing new is sent to it while it finishes.
func (h *Health) Drain() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.draining = true
}

// Live answers 200 as long as the process can answer at all: whatever else is
// wrong, a restart would not help.
func (h *Health) Live() http.Handler {
	return h.handler(func(s *report) bool { return true })
}

// Ready answers 200 while the process should get traffic: it has started, it
// is not draining, and every component works.
func (h *Health) Ready() http.Handler {
	return h.handler(func(s *report) bool { return s.started && !s.draining && s.healthy })
}

// Startup answers 200 from the moment the process has come up.
func (h *Health) Startup() http.Handler {
	return h.handler(func(s *report) bool { return s.started })
}

// report is the health at one moment.
type report struct {
	started, draining, healthy bool
	components                 map[string]string
}

func (h *Health) report() *report {
	h.mu.Lock()
	components := maps.Clone(h.mu.components)
	r := &report{started: h.mu.started, draining: h.mu.draining, healthy: true}
	h.mu.Unlock()

	r.components = make(map[string]string, len(components)+1)
	for name, err := range components {
		r.components[name] = statusOK
		if err != nil {
			r.components[name] = err.Error()
			r.healthy = false
		}
	}
	switch {
	case r.draining:
		r.components[componentServer] = "draining"
	case !r.started:
		r.components[componentServer] = "starting"
	}
	return r
}

// healthBody is the body of a health answer.
type healthBody struct {
	Status     string            `json:"status"`
	Components map[string]string `json:"components"`
}

func (h *Health) handler(up func(*report) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
			return
		}
		now := h.report()
		status, body := http.StatusOK, healthBody{Status: statusOK, Components: now.components}
		if !up(now) {
			status, body.Status = http.StatusServiceUnavailable, statusUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		// Writing fails only where the prober is gone, who is then not told.
		_ = json.NewEncoder(w).Encode(body)
	})
}
