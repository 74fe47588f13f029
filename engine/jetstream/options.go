package jetstream

import (
	"log/slog"
	"time"

	"myelin/channel"
	"myelin/mesh"
	"myelin/observe"
)

// What Options stand for where they say nothing.
const (
	// DefaultPublishTimeout is how long a publish waits for a leader and for
	// its acknowledgement.
	DefaultPublishTimeout = 10 * time.Second
	// DefaultMaxMetaTTL is how long the position of an idle channel is kept at
	// most.
	DefaultMaxMetaTTL = 24 * time.Hour
	// DefaultMaxSubscribed is how many channels a node may be subscribed to.
	DefaultMaxSubscribed = 1 << 20
	// DefaultMaxReads is how many reads may be under way at once.
	DefaultMaxReads = 256
	// DefaultMaxIDs is how many message ids of ephemeral channels a node
	// remembers.
	DefaultMaxIDs = 1 << 18
	// DefaultMaxEntries is how many entries a state channel may have.
	DefaultMaxEntries = 100_000
	// DefaultMaxBooks is how many state channels without subscribers a node
	// keeps in memory.
	DefaultMaxBooks = 1024
)

// Options say which network an Engine is on, and its limits. Network is
// required; the rest is good as it is for a node of its own.
type Options struct {
	// Network is the network, which the Engine does not close.
	Network *mesh.Network
	// Namespaces are the policies whose streams are there when Start returns,
	// with just the retention that they ask for. Others come to be with their
	// first use, and are only ever given a longer one.
	Namespaces []*channel.Policy
	// Replicas is on how many nodes each stream is kept; 0 is 1.
	Replicas int
	// Prefix begins the names of subjects and streams; "" takes that
	// of the Network.
	// Engines of one prefix on one network share their channels.
	Prefix string
	// PublishTimeout bounds a publish that finds no leader, and every other
	// request; 0 takes DefaultPublishTimeout.
	PublishTimeout time.Duration
	// MaxMetaTTL bounds the MetaTTL of policies; 0 takes DefaultMaxMetaTTL.
	MaxMetaTTL time.Duration
	// Synced says that every server fsyncs before it acknowledges. Without it
	// the Engine promises no more than DurabilityAsync.
	Synced bool
	// Alone says that no other process has an Engine of this prefix on the
	// network, which then can tell a clean stop from a crash.
	Alone bool
	// MaxBytesPerStream is how many bytes one namespace may keep; publishes
	// beyond are refused. 0 is no limit.
	MaxBytesPerStream int64
	// MaxSubscribed is how many channels may be subscribed to; 0 takes
	// DefaultMaxSubscribed.
	MaxSubscribed int
	// MaxReads is how many reads may be under way; those beyond wait. 0 takes
	// DefaultMaxReads.
	MaxReads int
	// MaxIDs is how many ids of ephemeral channels are remembered; beyond it
	// the oldest goes before its window is over. 0 takes DefaultMaxIDs.
	MaxIDs int
	// MaxEntries is how many entries one state channel may have; 0 takes
	// DefaultMaxEntries.
	MaxEntries int
	// MaxBooks is how many state channels are kept in memory for a quick next
	// use, beside those that are subscribed to; 0 takes DefaultMaxBooks.
	MaxBooks int
	// Logger hears about streams and disturbances; nil hears nothing.
	Logger *slog.Logger
	// Metrics counts limits that were hit; nil counts nothing.
	Metrics *observe.Metrics

	// minAge, laneRoom and rest are the constants of these names, or more or
	// less in tests.
	minAge   time.Duration
	laneRoom int
	rest     time.Duration
	// bootFile holds what names this run of the machine.
	bootFile string
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = o.Network.Prefix()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orElse(&o.Replicas, 1)
	orElse(&o.PublishTimeout, DefaultPublishTimeout)
	orElse(&o.MaxMetaTTL, DefaultMaxMetaTTL)
	orElse(&o.MaxSubscribed, DefaultMaxSubscribed)
	orElse(&o.MaxReads, DefaultMaxReads)
	orElse(&o.MaxIDs, DefaultMaxIDs)
	orElse(&o.MaxEntries, DefaultMaxEntries)
	orElse(&o.MaxBooks, DefaultMaxBooks)
	if o.bootFile == "" {
		o.bootFile = "/proc/sys/kernel/random/boot_id"
	}
	orElse(&o.minAge, minAge)
	orElse(&o.laneRoom, laneRoom)
	orElse(&o.rest, max(rest, 2*o.PublishTimeout))
	return o
}

// orElse sets what is not positive.
func orElse[N int | int64 | time.Duration](value *N, otherwise N) {
	if *value <= 0 {
		*value = otherwise
	}
}
