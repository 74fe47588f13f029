package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"myelin/bench/swarm"
)

// Incorrect says that publications were not delivered as they should be.
type Incorrect struct {
	// Scenario is where it happened.
	Scenario string
	// Failures are all that went wrong, a line each.
	Failures []string
}

// Error lists the failures.
func (e *Incorrect) Error() string {
	return fmt.Sprintf("%s: wrong deliveries: %s", e.Scenario, strings.Join(e.Failures, "; "))
}

// Run carries out a scenario as often as asked for. An [*OptionError] comes
// without a report. When a run ends early, or deliveries were wrong (an
// [*Incorrect]), the report has what was measured until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	server, err := openProcess(o.PID)
	if err != nil {
		return nil, err
	}
	r := &runner{options: o, server: server, report: newReport(&o, server)}
	if server != nil {
		// Read once: memory of an earlier run is not a base for the next.
		if r.base, err = server.rss(); err != nil {
			return nil, err
		}
	}
	err = r.repeat(ctx)
	r.report.Metrics = r.samples.metrics()
	if err == nil && len(r.report.Failures) > 0 {
		err = &Incorrect{Scenario: o.Scenario, Failures: r.report.Failures}
	}
	return r.report, err
}

// runner carries what the runs of one scenario share.
type runner struct {
	server  *process // nil without a pid
	report  *Report
	options Options
	samples samples
	base    int64  // the server's memory before the first run
	run     uint32 // marks the publications of the run in progress
}

func (r *runner) repeat(ctx context.Context) error {
	scenario := map[string]func(context.Context) error{
		Idle: r.idle, Fanout: r.fanout, Latency: r.latency, Many: r.many, Storm: r.storm, Floor: r.floor,
	}[r.options.Scenario]
	for i := range r.options.Repeat {
		r.run = rand.Uint32()
		if err := scenario(ctx); err != nil {
			return fmt.Errorf("%s, run %d of %d: %w", r.options.Scenario, i+1, r.options.Repeat, err)
		}
	}
	return nil
}

// open makes a swarm with the options of the run.
func (r *runner) open(ctx context.Context, change func(*swarm.Config)) (*swarm.Swarm, error) {
	o := &r.options
	config := swarm.Config{
		URL: o.URL, Token: o.Token, Protobuf: o.Protobuf, Run: r.run,
		Loops: o.Loops, Dialing: o.Dialing, Window: o.Outstanding, Stall: o.Stall,
	}
	if change != nil {
		change(&config)
	}
	return swarm.Open(ctx, config)
}

// channels names n channels of this run.
func (r *runner) channels(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s.%s.%08x.%d", r.options.Channel, r.options.Scenario, r.run, i)
	}
	return names
}

// ready opens a swarm whose subscribers are spread over that many channels,
// and its publisher. The caller closes it.
func (r *runner) ready(ctx context.Context, channels int, change func(*swarm.Config)) (*swarm.Swarm, error) {
	s, err := r.open(ctx, change)
	if err != nil {
		return nil, err
	}
	err = s.Subscribe(ctx, r.channels(channels), r.options.Connections)
	if err == nil {
		err = s.OpenPublisher(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// check holds the tally against the deliveries there should have been.
func (r *runner) check(t *swarm.Tally, deliveries int) {
	fail := func(format string, args ...any) {
		r.report.Failures = append(r.report.Failures, fmt.Sprintf(format, args...))
	}
	if t.Lost > 0 {
		fail("%d deliveries were lost", t.Lost)
	}
	if t.Repeated > 0 {
		fail("%d deliveries came twice or out of order", t.Repeated)
	}
	if t.Unrecovered > 0 {
		fail("%d subscriptions could not recover, which skipped %d deliveries", t.Unrecovered, t.Skipped)
	}
	if arrived := t.Deliveries + t.Lost + t.Skipped; arrived != int64(deliveries) {
		fail("%d deliveries, want %d", arrived, deliveries)
	}
}

// meter reads a clock and two CPU counters; readings are subtracted.
type meter struct {
	at     time.Time
	server time.Duration
	own    time.Duration
}

func (r *runner) read() (m meter, err error) {
	if r.server != nil {
		if m.server, err = r.server.cpu(); err != nil {
			return meter{}, err
		}
	}
	if m.own, err = ownCPU(); err != nil {
		return meter{}, err
	}
	m.at = time.Now()
	return m, nil
}

// since is what passed between two readings.
func (m meter) since(start meter) (wall, server, own time.Duration) {
	return m.at.Sub(start.at), m.server - start.server, m.own - start.own
}

// cpuPer notes a share of the server's CPU in microseconds, if it is known.
func (r *runner) cpuPer(what string, cpu time.Duration, count float64) {
	if r.server != nil {
		r.samples.add("server_cpu_per_"+what, "µs", micros(cpu)/count)
	}
}

// memory notes the server's memory after a run, if it is known.
func (r *runner) memory() error {
	if r.server == nil {
		return nil
	}
	rss, err := r.server.rss()
	if err != nil {
		return err
	}
	r.samples.add("server_rss", "MB", megabytes(rss))
	return nil
}

// latencies notes the quantiles of a histogram.
func (r *runner) latencies(name string, l *swarm.Latencies) {
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.50}, {"p90", 0.90}, {"p99", 0.99}} {
		r.samples.add(name+"_"+q.name, "µs", micros(l.Quantile(q.share)))
	}
	r.samples.add(name+"_max", "µs", micros(l.Max()))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// wait until a time has passed, the swarm failed or the context ended.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newReport describes what will be run.
func newReport(o *Options, server *process) *Report {
	report := &Report{Scenario: o.Scenario, URL: o.URL, Encoding: "json", Started: time.Now().UTC(), Machine: thisMachine()}
	if o.Protobuf && o.Scenario != Floor {
		report.Encoding = "protobuf"
	}
	if o.Scenario == Floor {
		report.URL = ""
	}
	switch {
	case server != nil:
		report.Server = server.name()
	case o.Scenario != Floor:
		report.Notes = append(report.Notes, "no pid was given: the server's CPU and memory are not known")
	}
	set := func(name string, value any, scenarios ...string) {
		for _, s := range scenarios {
			if s == o.Scenario {
				report.Settings = append(report.Settings, Setting{name, fmt.Sprint(value)})
			}
		}
	}
	set("connections", o.Connections, Scenarios()...)
	set("channels", o.Channels, Idle)
	set("publications", o.Publications, Fanout, Latency, Many, Floor)
	set("bytes", o.Size, Fanout, Latency, Many, Storm, Floor)
	set("outstanding", o.Outstanding, Fanout, Many, Floor)
	set("rate", o.Rate, Latency, Storm)
	set("duration", o.Duration, Idle)
	set("settle", o.Settle, Idle)
	set("down", o.Down, Storm)
	set("runs", o.Repeat, Scenarios()...)
	set("loops", o.Loops, Scenarios()...)
	return report
}
