package channel

import "time"

// Kind is what a channel holds.
type Kind uint8

// The kinds.
const (
	// KindLog is an ordered sequence of publications.
	KindLog Kind = iota
	// KindState is a set of keyed entries and the changes to them.
	KindState
)

// Durability is what an acknowledgement of a publish means.
type Durability uint8

// The durabilities, in rising order.
const (
	// DurabilityMemory: ordered in this process; a restart loses it.
	DurabilityMemory Durability = iota
	// DurabilityAsync: written, and flushed within an interval.
	DurabilityAsync
	// DurabilitySync: on disk, fsynced.
	DurabilitySync
)

// DefaultDedupeWindow is how long a message id is remembered when a policy
// does not say.
const DefaultDedupeWindow = 5 * time.Minute

// DefaultMetaTTL is how long the position of an idle channel is remembered
// when a policy does not say.
const DefaultMetaTTL = 30 * 24 * time.Hour

// Policy is how the channels of one namespace are kept. It is shared by
// pointer and never changed.
type Policy struct {
	// Namespace is the name this policy came from.
	Namespace string
	Kind      Kind
	// Durability is what Publish waits for.
	Durability Durability
	// HistorySize is how many publications are kept per channel; 0 keeps none
	// (the channel is ephemeral: it is ordered, but nothing can be recovered).
	HistorySize int
	// HistoryTTL is how long a publication is kept; 0 is for ever.
	HistoryTTL time.Duration
	// MetaTTL is how long the position of a channel without subscribers and
	// without publications is remembered after its last use; after that its
	// next use starts a new epoch. 0 means DefaultMetaTTL.
	MetaTTL time.Duration
	// KeyTTL is how long an entry of a state channel lives when its publish
	// does not say; 0 is for ever.
	KeyTTL time.Duration
	// MaxKeys is how many entries a state channel may have; 0 leaves that to
	// the engine, which has a limit of its own. A put of another key is refused
	// with ErrLimitExceeded.
	MaxKeys int
	// DedupeWindow is how long a message id is remembered. 0 means
	// DefaultDedupeWindow.
	DedupeWindow time.Duration
}

// MostKeys returns how many entries a state channel may have where the engine
// allows most.
func (p *Policy) MostKeys(most int) int {
	if p.MaxKeys > 0 {
		return min(most, p.MaxKeys)
	}
	return most
}

// Recoverable reports whether missed publications can be read again.
func (p *Policy) Recoverable() bool { return p.HistorySize > 0 }
