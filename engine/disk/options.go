package disk

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What Options stand for where they say nothing.
const (
	// DefaultFlushInterval is how much time of acknowledged async publications
	// a crash may take.
	DefaultFlushInterval = 50 * time.Millisecond
	// DefaultMaxIdle is how many channels without subscribers are kept in
	// memory, for a quick next use.
	DefaultMaxIdle = 16_384
	// DefaultMaxEntries is how many entries a state channel may have.
	DefaultMaxEntries = 100_000
	// DefaultMaxMemoryIDs is how many ids of channels of durability memory are
	// remembered.
	DefaultMaxMemoryIDs = 1 << 20
	// DefaultMaxInFlight is how many publications may wait for the disk.
	DefaultMaxInFlight = 4096
	// DefaultMaxInFlightBytes is how many bytes of them may wait.
	DefaultMaxInFlightBytes = 64 << 20
	// DefaultCacheBytes is the size of the cache of blocks read.
	DefaultCacheBytes = 32 << 20
	// DefaultMemtableBytes is how much is gathered in memory before it becomes
	// a table on disk.
	DefaultMemtableBytes = 64 << 20
)

// Options say where an Engine keeps its channels, and its limits. Path is
// required; the rest is good as it is.
type Options struct {
	// Path is the directory: empty or missing, or one that an Engine has made.
	Path string
	// FS is the file system; nil is the real one.
	FS vfs.FS
	// FlushInterval is how often what was acknowledged on async channels is
	// flushed; 0 takes DefaultFlushInterval.
	FlushInterval time.Duration
	// MaxChannels is how many channels may be in memory, which those with
	// subscribers always are; 0 is no limit.
	MaxChannels int
	// MaxIdle is how many channels without subscribers stay in memory; 0 takes
	// DefaultMaxIdle.
	MaxIdle int
	// MaxEntries is how many entries one state channel may have; 0 takes
	// DefaultMaxEntries.
	MaxEntries int
	// MaxHistoryBytes is how many bytes of publications one channel keeps,
	// beside the limits of its policy; it is held within a quarter. 0 is no
	// limit.
	MaxHistoryBytes int64
	// MaxMemoryIDs is how many ids of channels of durability memory are
	// remembered; beyond it those that would go soonest go early. 0 takes
	// DefaultMaxMemoryIDs.
	MaxMemoryIDs int
	// MaxInFlight and MaxInFlightBytes are how many publications, and how many
	// bytes of them, may wait for the disk; a publisher beyond waits for its
	// turn. 0 takes the default.
	MaxInFlight      int
	MaxInFlightBytes int64
	// CacheBytes and MemtableBytes are the memory of the database; 0 takes the
	// default.
	CacheBytes    int64
	MemtableBytes int64
	// Logger hears about the directory and the disk; nil hears nothing.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orElse(&o.FlushInterval, DefaultFlushInterval)
	orElse(&o.MaxIdle, DefaultMaxIdle)
	orElse(&o.MaxEntries, DefaultMaxEntries)
	orElse(&o.MaxMemoryIDs, DefaultMaxMemoryIDs)
	orElse(&o.MaxInFlight, DefaultMaxInFlight)
	orElse(&o.MaxInFlightBytes, DefaultMaxInFlightBytes)
	orElse(&o.CacheBytes, DefaultCacheBytes)
	orElse(&o.MemtableBytes, DefaultMemtableBytes)
	return o
}

// orElse sets what is not positive.
func orElse[N int | int64 | time.Duration](value *N, otherwise N) {
	if *value <= 0 {
		*value = otherwise
	}
}
