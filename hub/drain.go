package hub

import (
	"context"
	"math/rand/v2"
	"time"
)

// drainSlack is how much of its pace a drain that was held up makes good at
// once. More would be the burst that the pace is there to prevent.
const drainSlack = 20 * time.Millisecond

// Drain lets no more sessions in and disconnects those that are here, rate of
// them a second, or all at once where rate is 0. They are told to come back,
// and their positions let them go on elsewhere. In which order is random, so
// that the clients of one user or channel do not all go in the same moment. It
// returns nil when all connections are closed, or with the error of ctx.
func (h *Hub) Drain(ctx context.Context, rate int) error {
	h.draining.Store(true)
	pause := time.Duration(0)
	if rate > 0 {
		pause = time.Second / time.Duration(rate)
	}
	all := h.clients.close()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	next := time.Now()
	for _, s := range all {
		if s.closed() {
			continue // it has gone by itself
		}
		if pause > 0 {
			if late := time.Now().Add(-drainSlack); next.Before(late) {
				next = late
			}
			next = next.Add(pause)
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.Close(DisconnectShutdown)
	}
	select {
	case <-h.clients.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
