package observe

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// family is one metric with all its label values: what the registry collects.
type family struct {
	desc *prometheus.Desc

	mu struct {
		sync.Mutex
		cells []cell
	}
}

// cell is one value of a family.
type cell struct {
	labels []string
	value  value
}

func newFamily(m Metric) *family {
	return &family{desc: prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)}
}

// add adds a value. The caller adds each combination of labels once.
func (f *family) add(v value, labels ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.cells = append(f.mu.cells, cell{labels: labels, value: v})
}

// replace makes v the only value.
func (f *family) replace(v value, labels ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.cells = []cell{{labels: labels, value: v}}
}

// Describe implements prometheus.Collector.
func (f *family) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }

// Collect implements prometheus.Collector. Sending may block, so the cells are
// taken out of the lock first; cells are only ever appended.
func (f *family) Collect(ch chan<- prometheus.Metric) {
	f.mu.Lock()
	cells := f.mu.cells
	f.mu.Unlock()
	for _, c := range cells {
		ch <- c.value.collect(f.desc, c.labels)
	}
}

// vec holds what was resolved for each key, at most max of them and one for
// all others.
type vec[K comparable, V any] struct {
	max int
	// known reports whether a key may have a value of its own.
	known func(K) bool
	// build makes the value of a label value, once for each.
	build func(label string) *V
	label func(K) string

	mu struct {
		sync.RWMutex
		byKey map[K]*V
		rest  *V
	}
}

func newVec[K comparable, V any](limit int, known func(K) bool, label func(K) string, build func(string) *V) *vec[K, V] {
	v := &vec[K, V]{max: limit, known: known, label: label, build: build}
	v.mu.byKey = make(map[K]*V)
	return v
}

// get returns the value of k, the same each time.
func (v *vec[K, V]) get(k K) *V {
	known := v.known(k)
	v.mu.RLock()
	found := v.mu.byKey[k]
	if found == nil && (!known || len(v.mu.byKey) >= v.max) {
		found = v.mu.rest
	}
	v.mu.RUnlock()
	if found != nil {
		return found
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	if found = v.mu.byKey[k]; found != nil {
		return found
	}
	if !known || len(v.mu.byKey) >= v.max {
		if v.mu.rest == nil {
			v.mu.rest = v.build(other)
		}
		return v.mu.rest
	}
	found = v.build(v.label(k))
	v.mu.byKey[k] = found
	return found
}

// newNameVec returns a vec of names, any but "other".
func newNameVec[V any](limit int, build func(string) *V) *vec[string, V] {
	known := func(s string) bool { return s != other }
	return newVec(limit, known, func(s string) string { return s }, build)
}

// newListVec returns a vec of the given names only.
func newListVec[V any](names []string, build func(string) *V) *vec[string, V] {
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	known := func(s string) bool { _, ok := set[s]; return ok }
	return newVec(len(names), known, func(s string) string { return s }, build)
}

// clean returns s as a label value, which Prometheus wants in UTF-8.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
