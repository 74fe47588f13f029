package bench

import (
	"context"
	"time"

	"myelin/bench/swarm"
)

// pacedWindow is how many publications may be outstanding when they are sent
// by the clock: a server this far behind has failed the rate.
const pacedWindow = 4096

// latency publishes by the clock, so slowly that nothing queues.
func (r *runner) latency(ctx context.Context) error {
	o := &r.options
	s, err := r.ready(ctx, 1, func(c *swarm.Config) { c.Window = pacedWindow })
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Publish(ctx, o.Publications/warmUpShare+1, o.Size); err != nil {
		return err
	}

	s.ResetTally()
	start, err := r.read()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(interval(o.Rate))
	defer ticker.Stop()
	for range o.Publications {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.PublishOne(o.Size); err != nil {
			return err
		}
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	end, err := r.read()
	if err != nil {
		return err
	}
	t := s.Tally()

	r.latencies("latency", &t.Latency)
	wall, server, _ := end.since(start)
	r.cpuPer("publication", server, float64(o.Publications))
	r.samples.add("publications_per_second", "1/s", float64(o.Publications)/wall.Seconds())
	return r.fence(ctx, s, 1, o.Publications*o.Connections, o.Connections)
}

// interval between publications at a rate per second.
func interval(rate float64) time.Duration {
	return time.Duration(float64(time.Second) / rate)
}
