package observe

import (
	"math"
	"sort"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter counts what only grows. A nil Counter counts nothing.
type Counter struct{ n atomic.Int64 }

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n. A counter does not go down: a negative n adds nothing.
func (c *Counter) Add(n int64) {
	if c != nil && n > 0 {
		c.n.Add(n)
	}
}

// Value returns the count so far.
func (c *Counter) Value() int64 {
	if c == nil {
		return 0
	}
	return c.n.Load()
}

// Gauge is a value that goes up and down. A nil Gauge stays 0.
type Gauge struct{ n atomic.Int64 }

// Inc adds one.
func (g *Gauge) Inc() { g.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.Add(-1) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) {
	if g != nil {
		g.n.Add(n)
	}
}

// Set makes the value n.
func (g *Gauge) Set(n int64) {
	if g != nil {
		g.n.Store(n)
	}
}

// Value returns the value now.
func (g *Gauge) Value() int64 {
	if g == nil {
		return 0
	}
	return g.n.Load()
}

// bucketCount is how many finite buckets a histogram has.
const bucketCount = 19

// maxObserved is the largest value a histogram adds to its sum, in seconds.
const maxObserved = 1e6

// buckets returns the upper bounds of the buckets of every histogram, in
// seconds: 10 microseconds to 10 seconds, three for each power of ten.
func buckets() [bucketCount]float64 {
	return [bucketCount]float64{
		10e-6, 25e-6, 50e-6,
		100e-6, 250e-6, 500e-6,
		1e-3, 2.5e-3, 5e-3,
		10e-3, 25e-3, 50e-3,
		100e-3, 250e-3, 500e-3,
		1, 2.5, 5,
		10,
	}
}

// Histogram counts durations by size. A nil Histogram counts nothing.
type Histogram struct {
	bounds [bucketCount]float64
	// counts holds one more than bounds: what is larger than the last bound.
	counts [bucketCount + 1]atomic.Uint64
	// nanos is the sum, an integer so that adding needs no retry.
	nanos atomic.Int64
}

func newHistogram() *Histogram { return &Histogram{bounds: buckets()} }

// Observe counts one duration, in seconds. What is not a number or negative,
// as after a clock step, counts as 0.
func (h *Histogram) Observe(seconds float64) {
	if h == nil {
		return
	}
	if math.IsNaN(seconds) || seconds < 0 {
		seconds = 0
	}
	h.counts[sort.SearchFloat64s(h.bounds[:], seconds)].Add(1)
	h.nanos.Add(int64(min(seconds, maxObserved) * 1e9))
}

// Count returns how many durations were observed.
func (h *Histogram) Count() int64 {
	if h == nil {
		return 0
	}
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return int64(n)
}

// value is what the registry reads.
type value interface {
	collect(d *prometheus.Desc, labels []string) prometheus.Metric
}

func (c *Counter) collect(d *prometheus.Desc, labels []string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(c.Value()), labels...)
}

func (g *Gauge) collect(d *prometheus.Desc, labels []string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(g.Value()), labels...)
}

func (h *Histogram) collect(d *prometheus.Desc, labels []string) prometheus.Metric {
	cumulative, n := make(map[float64]uint64, bucketCount), uint64(0)
	for i, bound := range h.bounds {
		n += h.counts[i].Load()
		cumulative[bound] = n
	}
	n += h.counts[bucketCount].Load()
	return prometheus.MustNewConstHistogram(d, n, float64(h.nanos.Load())/1e9, cumulative, labels...)
}
