package bench

import (
	"context"
	"time"

	"myelin/bench/swarm"
)

// memoryTick is how often memory is read while the server idles; it goes up
// and down with the server's garbage collector.
const memoryTick = time.Second

// idle connects and subscribes everybody, lets the server rest, and watches
// what it costs to keep them.
func (r *runner) idle(ctx context.Context) error {
	o := &r.options
	s, err := r.open(ctx, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	start, err := r.read()
	if err != nil {
		return err
	}
	if err := s.Subscribe(ctx, r.channels(o.Channels), o.Connections); err != nil {
		return err
	}
	connected, err := r.read()
	if err != nil {
		return err
	}
	if err := r.rest(ctx, s, o.Settle); err != nil {
		return err
	}

	s.ResetTally()
	settled, err := r.read()
	if err != nil {
		return err
	}
	memory, err := r.watch(ctx, s)
	if err != nil {
		return err
	}
	end, err := r.read()
	if err != nil {
		return err
	}

	n := float64(o.Connections)
	if r.server != nil {
		r.samples.add("rss_per_connection", "B", (median(memory)-float64(r.base))/n)
	}
	wall, cpu, _ := end.since(settled)
	r.cpuPer("connection_second", cpu, n*wall.Seconds())
	if r.server != nil {
		r.samples.add("server_rss_base", "MB", megabytes(r.base))
		r.samples.add("server_rss", "MB", median(memory)/1e6)
	}
	r.samples.add("pings_per_connection", "", float64(s.Tally().Pings)/n)
	wall, cpu, _ = connected.since(start)
	r.samples.add("time_to_all_subscribed", "ms", millis(wall))
	r.cpuPer("connect", cpu, n)
	return nil
}

// watch samples the server's memory for the configured duration.
func (r *runner) watch(ctx context.Context, s *swarm.Swarm) (memory []float64, err error) {
	for end := s.Elapsed() + r.options.Duration; ; {
		if r.server != nil {
			rss, err := r.server.rss()
			if err != nil {
				return nil, err
			}
			memory = append(memory, float64(rss))
		}
		left := end - s.Elapsed()
		if left <= 0 {
			return memory, nil
		}
		if err := r.rest(ctx, s, min(left, memoryTick)); err != nil {
			return nil, err
		}
	}
}

// rest waits and then asks whether everybody is still connected.
func (r *runner) rest(ctx context.Context, s *swarm.Swarm, d time.Duration) error {
	if err := wait(ctx, d); err != nil {
		return err
	}
	return s.Err()
}
