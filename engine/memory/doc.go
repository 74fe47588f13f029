// Package memory is the engine that keeps channels in the memory of one
// process: the fastest one, which survives nothing.
//
// # Nouns
//
// An [Engine] is a set of shards; a shard maps names to books. A book is all
// that is kept of one channel: its epoch, its top, a ring of the last
// publications and, for a state channel, its entries. The sweeper is the one
// goroutine, which lets go of what has outlived its time.
//
// # Promises
//
// It keeps the contract of [channel.Engine], with dense offsets: Prev is
// always offset-1. A channel is remembered from its first publication on, and
// goes when nobody subscribes to it, nothing of it is kept and the policy's
// MetaTTL has passed since its last use. A channel without publications costs
// nothing but while it is subscribed to: its epoch is derived from a secret of
// the engine, its name and the season, so it is the same one whenever it is
// asked for. The season goes up whenever a channel that had publications is
// forgotten, so that no derived epoch comes back with other content; then who
// was at offset 0 of a channel of the same shard that nobody subscribes to is
// told to begin anew, at worst.
//
// A log channel that is ephemeral (HistorySize 0) goes when its last
// subscriber does; while it has none, each of its publications is acknowledged
// at offset 1 of an epoch of its own, and who was there before finds another
// epoch. It is another channel than the one of that name that is kept.
//
// The policy of a channel is the one it came to be with; another one takes
// effect when the channel comes to be anew. What has outlived its time is
// never seen: every call first settles what is due on its channel. The
// sweeper only makes sure that it happens without calls too: expired keys
// within 10 ms, the memory of expired publications and ids within a second.
// An engine with nothing due does nothing.
//
// A namespace that is watched is delivered to its watcher, too, from under the
// same lock; where nobody watches that costs one load for each publish.
//
// A channel that would pass [channel.MaxOffset] starts a new epoch: its Sink
// hears Lost, its kept publications go, its entries stay with the positions
// they have.
//
// # Concurrency
//
// All methods may be called from any goroutine. Publications of one channel
// are ordered and delivered under the lock of its book, so a Sink that blocks
// blocks that channel, and one that calls the engine back may deadlock; so may
// one whose Deliver takes a lock that is held while the engine is called.
// Different channels do not wait for each other.
//
// # Limits
//
// Ids are remembered up to [Options.MaxIDsPerChannel] and [Options.MaxIDs];
// beyond, the oldest is forgotten before its window is over. Channels, entries
// and bytes beyond their limits are refused with [channel.ErrLimitExceeded].
// No durability above [channel.DurabilityMemory] is promised: a policy that
// asks for one is refused with [channel.ErrUnsupported].
package memory
