package client

import (
	"math/rand/v2"
	"time"
)

// backoff returns a random delay before attempt n (from 0): full jitter, so that
// the clients of a restarted server do not come back all at once.
func backoff(lowest, highest time.Duration, n int) time.Duration {
	ceiling := highest
	if n < 32 && lowest<<n > 0 && lowest<<n < highest {
		ceiling = lowest << n
	}
	return rand.N(ceiling + 1)
}

// refreshDelay returns when to refresh something that expires after ttl seconds:
// early enough for a round trip and some retries.
func refreshDelay(ttl uint32) time.Duration {
	d := time.Duration(ttl) * time.Second
	margin := min(max(d/10, time.Second), 30*time.Second)
	return max(d-margin, d/2)
}
