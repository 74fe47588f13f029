package consumer

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// censusAge is how long a count of all consumers is good for. Reading the index
// takes milliseconds where there are thousands, and whoever may make consumers
// may also ask for them a thousand times a second.
const censusAge = time.Second

// listed is what the index says of a consumer.
type listed struct {
	// By is the user whose client made it, nil for the server's side.
	By *string `json:"by,omitempty"`
}

// census counts consumers. Who has turn has the rest of it.
type census struct {
	turn chan struct{}
	// gone: one was deleted here since the last count.
	gone      atomic.Bool
	at        time.Time
	all       int
	ofChannel map[string]int
	ofUser    map[string]int
}

// reserve counts one consumer more, or says why there may be none. by is the
// user whose client wants it, nil for the server's side. One that is not made
// after all is counted until the next count. Nodes that make some within
// censusAge of each other may come to a few more than there may be.
func (m *Manager) reserve(ctx context.Context, source string, by *string) error {
	c := &m.census
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return channel.ErrUnavailable.Wrap(ctx.Err())
	}
	defer func() { <-c.turn }()
	if c.gone.Swap(false) || c.at.IsZero() || time.Since(c.at) >= censusAge {
		c.at = time.Time{} // where this fails it is counted anew
		c.all, c.ofChannel, c.ofUser = 0, make(map[string]int), make(map[string]int)
		err := m.registry.each(ctx, func(full string, l listed) {
			if _, of, err := parse(full); err == nil {
				c.add(of, l.By)
			}
		})
		if err != nil {
			return err
		}
		c.at = time.Now()
	}
	var reason string
	switch {
	case c.all >= m.limits.Consumers:
		reason = fmt.Sprintf("there may be %d consumers (consumers.max)", m.limits.Consumers)
	case c.ofChannel[source] >= m.limits.PerChannel:
		reason = fmt.Sprintf("a channel may have %d consumers (consumers.per_channel)", m.limits.PerChannel)
	case by != nil && c.ofUser[*by] >= m.limits.PerUser:
		reason = fmt.Sprintf("clients of one user may make %d consumers (consumers.per_user)", m.limits.PerUser)
	default:
		c.add(source, by)
		return nil
	}
	m.metrics.Limit(observe.LimitConsumers).Inc()
	return channel.ErrLimitExceeded.With(reason)
}

func (c *census) add(source string, by *string) {
	c.all++
	c.ofChannel[source]++
	if by != nil {
		c.ofUser[*by]++
	}
}

// each tells of all consumers, in the order of their names.
func (r *registry) each(ctx context.Context, tell func(full string, l listed)) error {
	for cursor := ""; ; {
		page, err := r.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: index, Policy: r.policy, Cursor: cursor})
		if err != nil {
			return err
		}
		for _, p := range page.Items {
			var l listed
			if p.Key == secretKey {
				continue
			}
			if err := json.Unmarshal(p.Data, &l); err != nil {
				return channel.ErrInternal.Wrap(err)
			}
			tell(p.Key, l)
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
