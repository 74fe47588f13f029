package bench

import (
	"context"
	"time"

	"myelin/bench/swarm"
)

// stormLead is how many publications everybody has seen before the storm, so
// that everybody has a position to recover from.
const stormLead = 10

// storm cuts all connections at once, while publishing goes on, lets all of
// them come back at once, and holds what they recovered against what was sent.
func (r *runner) storm(ctx context.Context) error {
	o := &r.options
	s, err := r.ready(ctx, 1, func(c *swarm.Config) { c.Window, c.Recover = swarm.MaxWindow, true })
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Publish(ctx, stormLead, o.Size); err != nil {
		return err
	}

	s.ResetTally()
	pace := r.startPacing(ctx, s)
	start, end, err := r.cutAndReturn(ctx, s)
	published, paceErr := pace.stop()
	if err != nil {
		return err
	}
	if paceErr != nil {
		return paceErr
	}
	// One more: it shows who has not everything that came before.
	if err := s.Publish(ctx, 1, o.Size); err != nil {
		return err
	}
	t := s.Tally()

	_, server, _ := end.since(start)
	r.samples.add("time_to_all_recovered", "ms", millis(t.Ready.Max()))
	r.latencies("time_to_recovered", &t.Ready)
	r.samples.add("missed_per_connection", "", float64(t.Recovered)/float64(o.Connections))
	r.samples.add("lost", "", float64(t.Lost))
	r.samples.add("twice", "", float64(t.Repeated))
	r.samples.add("unrecovered", "", float64(t.Unrecovered))
	r.cpuPer("reconnect", server, float64(o.Connections))
	if err := r.memory(); err != nil {
		return err
	}
	return r.fence(ctx, s, 1, (published+1)*o.Connections, o.Connections)
}

// cutAndReturn is the storm itself.
func (r *runner) cutAndReturn(ctx context.Context, s *swarm.Swarm) (start, end meter, err error) {
	if err = s.Drop(); err != nil {
		return start, end, err
	}
	if err = r.rest(ctx, s, r.options.Down); err != nil {
		return start, end, err
	}
	if start, err = r.read(); err != nil {
		return start, end, err
	}
	if err = s.Reconnect(ctx); err != nil {
		return start, end, err
	}
	end, err = r.read()
	return start, end, err
}

// pacing publishes by the clock until it is stopped.
type pacing struct {
	quit      chan struct{}
	done      chan struct{} // closed when the goroutine has ended
	err       error         // read after done
	published int           // read after done
}

func (r *runner) startPacing(ctx context.Context, s *swarm.Swarm) *pacing {
	p := &pacing{quit: make(chan struct{}), done: make(chan struct{})}
	go p.run(ctx, s, interval(r.options.Rate), r.options.Size)
	return p
}

func (p *pacing) run(ctx context.Context, s *swarm.Swarm, every time.Duration, size int) {
	defer close(p.done)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if p.err = s.PublishOne(size); p.err != nil {
				return
			}
			p.published++
		case <-p.quit:
			return
		case <-ctx.Done():
			p.err = context.Cause(ctx)
			return
		}
	}
}

// stop waits for the goroutine and says how much was published.
func (p *pacing) stop() (published int, err error) {
	close(p.quit)
	<-p.done
	return p.published, p.err
}
