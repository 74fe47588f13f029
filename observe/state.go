package observe

// The limits of keyed state.
const (
	// LimitStateBytes counts what was refused because the entries of state
	// channels take all the memory they may; LimitStateKeys puts of one more key
	// than a channel may have; LimitSnapshots snapshots that were refused because
	// too many are being read, or given up because their reader was too slow;
	// LimitLeases entries that were to go with their session and were too many.
	LimitStateBytes = "state_bytes"
	LimitStateKeys  = "state_keys"
	LimitSnapshots  = "state_snapshots"
	LimitLeases     = "state_leases"

	stateLimitNames = LimitStateBytes + ", " + LimitStateKeys + ", " + LimitSnapshots + ", " + LimitLeases
)
