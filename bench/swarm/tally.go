package swarm

import (
	"math"
	"math/bits"
	"time"
)

// Tally is what the members counted since the last reset.
type Tally struct {
	// Latency is the time from writing a publication to reading its delivery.
	Latency Latencies
	// Ready is the time from the start of Subscribe or Reconnect until a
	// member's subscription was confirmed.
	Ready Latencies
	// Deliveries is how many publications arrived in order.
	Deliveries int64
	// Recovered is how many of them came with a subscription's answer.
	Recovered int64
	// Lost is how many did not arrive although a later one did.
	Lost int64
	// Repeated is how many arrived again, or after a later one.
	Repeated int64
	// Skipped is how many did not arrive after the server said that it could
	// not recover.
	Skipped int64
	// Unrecovered is how many subscriptions the server said it could not recover.
	Unrecovered int64
	// Reads is how many times a subscriber's socket was read.
	Reads int64
	// Bytes is how much was read.
	Bytes int64
	// Messages is how many WebSocket messages subscribers got.
	Messages int64
	// Pings is how many pings, of either kind, were answered.
	Pings int64
}

// Add adds what another loop counted.
func (t *Tally) Add(other *Tally) {
	t.Latency.Add(&other.Latency)
	t.Ready.Add(&other.Ready)
	t.Deliveries += other.Deliveries
	t.Recovered += other.Recovered
	t.Lost += other.Lost
	t.Repeated += other.Repeated
	t.Skipped += other.Skipped
	t.Unrecovered += other.Unrecovered
	t.Reads += other.Reads
	t.Bytes += other.Bytes
	t.Messages += other.Messages
	t.Pings += other.Pings
}

// The histogram's resolution: 2^subBits buckets for each doubling, so that a
// quantile is at most 1/64 above the true value.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// Latencies is a histogram of durations with buckets that grow with the value.
// The zero value is empty.
type Latencies struct {
	counts [buckets]uint64
	total  uint64
	max    time.Duration
}

// Record counts one duration; a negative one counts as zero.
func (l *Latencies) Record(d time.Duration) {
	d = max(d, 0)
	l.counts[bucket(uint64(d))]++
	l.total++
	l.max = max(l.max, d)
}

// Add adds what another histogram counted.
func (l *Latencies) Add(other *Latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.total += other.total
	l.max = max(l.max, other.max)
}

// Count is the number of recorded durations.
func (l *Latencies) Count() uint64 { return l.total }

// Max is the longest recorded duration.
func (l *Latencies) Max() time.Duration { return l.max }

// Quantile is the duration that the share q, from 0 to 1, of all recorded ones
// does not exceed, by the nearest rank; 0 when nothing was recorded.
func (l *Latencies) Quantile(q float64) time.Duration {
	if l.total == 0 {
		return 0
	}
	rank := min(max(uint64(math.Ceil(q*float64(l.total))), 1), l.total)
	var seen uint64
	for i, n := range l.counts {
		if seen += n; seen >= rank {
			return min(time.Duration(ceiling(i)), l.max)
		}
	}
	return l.max
}

// bucket is the index for a value: linear below 2^subBits, then the leading
// subBits+1 bits of the value choose.
func bucket(v uint64) int {
	shift := bits.Len64(v) - subBits - 1
	if shift < 0 {
		return int(v)
	}
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// ceiling is the largest value of a bucket.
func ceiling(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i%subBuckets+subBuckets)+1)<<shift - 1
}
