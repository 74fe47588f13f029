package channel

// MaxOffset is the largest offset: 2^53, the last integer that a JSON client
// can hold exactly. An engine that would pass it starts a new epoch.
const MaxOffset = 1 << 53

// Position is a place in a channel's sequence. The zero Position is before
// everything and claims no epoch.
type Position struct {
	// Epoch names a span of unbroken continuity of one channel: 1 to 64
	// letters, digits, "-" and "_".
	Epoch string
	// Offset is that of the last publication seen; 0 is before the first.
	Offset uint64
}

// IsZero reports whether p claims nothing.
func (p Position) IsZero() bool { return p == Position{} }
