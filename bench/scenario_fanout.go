package bench

import (
	"context"

	"myelin/bench/swarm"
)

// warmUpShare of the publications are sent before anything is measured, so
// that buffers, heaps and code paths are in the state they stay in.
const warmUpShare = 10

// fanout publishes from one connection to one channel with many subscribers.
func (r *runner) fanout(ctx context.Context) error {
	return r.flood(ctx, 1, "delivery")
}

// many publishes to many channels in turn, each with a single subscriber.
func (r *runner) many(ctx context.Context) error {
	return r.flood(ctx, r.options.Connections, "publication")
}

// flood keeps the window of outstanding publications full. CPU is reported per
// what, of which there is one for each delivery.
func (r *runner) flood(ctx context.Context, channels int, what string) error {
	o := &r.options
	s, err := r.ready(ctx, channels, nil)
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
	if err := s.Publish(ctx, o.Publications, o.Size); err != nil {
		return err
	}
	end, err := r.read()
	if err != nil {
		return err
	}
	t := s.Tally()

	each := o.Connections / channels
	r.flooded(t, start, end, what)
	if err := r.memory(); err != nil {
		return err
	}
	return r.fence(ctx, s, channels, o.Publications*each, each)
}

// flooded notes the figures of a flood.
func (r *runner) flooded(t *swarm.Tally, start, end meter, what string) {
	wall, server, own := end.since(start)
	deliveries := float64(t.Deliveries)
	r.cpuPer(what, server, deliveries)
	r.samples.add("deliveries_per_second", "1/s", deliveries/wall.Seconds())
	r.latencies("latency", &t.Latency)
	r.samples.add("deliveries_per_message", "", deliveries/float64(max(t.Messages, 1)))
	r.samples.add("deliveries_per_read", "", deliveries/float64(max(t.Reads, 1)))
	r.samples.add("bytes_per_delivery", "B", float64(t.Bytes)/deliveries)
	r.samples.add("generator_cpu_per_delivery", "µs", micros(own)/deliveries)
}

// fence sends one more publication to each channel: what was delivered twice
// arrives before it. Then everything is counted.
func (r *runner) fence(ctx context.Context, s *swarm.Swarm, channels, deliveries, each int) error {
	if err := s.Publish(ctx, channels, r.options.Size); err != nil {
		return err
	}
	r.check(s.Tally(), deliveries+channels*each)
	return nil
}
