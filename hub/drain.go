package hub

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

const (
	// drainSlack is how much of its pace a drain that was held up makes good at
	// once. More would be the burst that the pace is there to prevent.
	drainSlack = 20 * time.Millisecond
	// drainSigmas is how many standard deviations lie between what comes back
	// in a second on the average and what may at most, see [DrainPause].
	drainSigmas = 4
)

// DrainPause is the time between two goodbyes of a drain, for which at most
// rate clients come back within any one second; 0 where rate is 0, which is no
// bound.
//
// Goodbyes leave evenly, but a client comes back after a random delay of its
// own, and random delays bunch. Whatever their distribution is, as long as each
// client draws its own, the number that comes back within a second is a sum of
// independent coins, one for each client. Its mean m is how many leave in a
// second, with what the slack adds; its variance is less, as a coin's is less
// than its mean. So m + 4*sqrt(m) = rate leaves four deviations, that is
//
//	sqrt(m) = sqrt(rate + 4) - 2
//
// A drain of half a minute exceeds them less than once in fifty times, if the
// delays spread over many seconds. With the first delays of the public SDKs and
// of ours, spread evenly over half a second, it never does: of those that leave
// in the middle of a second it is certain that they come back in it, the
// variance is m/6, and the four deviations are nearly ten.
//
// Below a rate of 8 that leaves little, and a quarter of the rate is taken.
func DrainPause(rate int) time.Duration {
	if rate <= 0 {
		return 0
	}
	const half = drainSigmas / 2.0
	root := math.Sqrt(float64(rate)+half*half) - half
	perSecond := root * root / (1 + drainSlack.Seconds())
	return time.Duration(float64(time.Second) / max(perSecond, float64(rate)/4))
}

// Drain lets no more sessions in and disconnects those that are here, so that at
// most rate of them come back within a second (see [DrainPause]), or all at once
// where rate is 0. They are told to come back, and their positions let them go
// on elsewhere. In which order is random, so that the clients of one user or
// channel do not all go in the same moment. It returns nil when all connections
// are closed, or with the error of ctx.
func (h *Hub) Drain(ctx context.Context, rate int) error {
	h.draining.Store(true)
	pause := DrainPause(rate)
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
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return ctx.Err()
			}
			next = next.Add(pause)
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
