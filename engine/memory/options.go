package memory

// What Options stand for where they say nothing.
const (
	// DefaultMaxEntries is how many entries a state channel may have.
	DefaultMaxEntries = 100_000
	// DefaultMaxIDsPerChannel is how many ids a channel remembers.
	DefaultMaxIDsPerChannel = 1 << 16
	// DefaultMaxIDs is how many ids all channels remember together, at about
	// 250 bytes each.
	DefaultMaxIDs = 1 << 20
)

// Options are the limits of an Engine. The zero value is a good one.
type Options struct {
	// MaxChannels is how many channels may be kept; 0 is no limit.
	MaxChannels int
	// MaxBytes is how many bytes kept publications and entries may take, with
	// what goes around them; 0 is no limit. One that is both in the history
	// and an entry counts twice. A publish that would keep more is refused.
	MaxBytes int64
	// MaxEntries is how many entries one state channel may have; 0 takes
	// DefaultMaxEntries.
	MaxEntries int
	// MaxIDsPerChannel is how many ids one channel remembers; 0 takes
	// DefaultMaxIDsPerChannel.
	MaxIDsPerChannel int
	// MaxIDs is how many ids are remembered in all; 0 takes DefaultMaxIDs.
	// Beyond it the oldest id in the same shard makes room, so the number may
	// be passed by one per shard.
	MaxIDs int
}

func (o Options) withDefaults() Options {
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxIDsPerChannel <= 0 {
		o.MaxIDsPerChannel = DefaultMaxIDsPerChannel
	}
	if o.MaxIDs <= 0 {
		o.MaxIDs = DefaultMaxIDs
	}
	return o
}

// Stats tells how much an Engine keeps.
type Stats struct {
	// Channels is how many channels are kept.
	Channels int64
	// Bytes is what Options.MaxBytes limits.
	Bytes int64
	// IDs is how many message ids are remembered.
	IDs int64
}

// Stats returns what is kept now.
func (e *Engine) Stats() Stats {
	return Stats{Channels: e.channels.Load(), Bytes: e.bytes.Load(), IDs: e.ids.Load()}
}
