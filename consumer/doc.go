// Package consumer is channels read with acknowledgements: for each consumer
// the server remembers what has been acknowledged, and delivers the rest again.
//
// # Nouns
//
// A consumer is a named, durable place in one channel that keeps history. Its
// deliveries come on a channel of its own, "$consumers:NAME~CHANNEL"; who
// subscribes to that takes a seat and shares the work with the others. The
// ledger is a consumer's books. Its record is what is kept of them, in the
// engine. A worker owns one consumer: it alone reads the channel, delivers and
// writes the record. A dead letter tells of a publication that was given up.
//
// # Promises
//
// At least once: whatever the channel kept until it was delivered is delivered
// until it is acknowledged, has been delivered MaxAttempts times, or has
// expired; the latter two become dead letters. What the channel did not keep
// for long enough is counted as lost, and told by a dead letter. An answer to
// an acknowledgement says that it is kept, as safely as the engine can: the
// publication is not delivered again. Publications of a first delivery come in
// order to a consumer of one seat; with Ordered always, one at a time.
//
// One node of a cluster owns a consumer. When it is gone another takes over:
// the record is written by compare-and-set, so of two that believe to own it
// one stops with its next write, and meanwhile some things may come twice.
//
// # Concurrency
//
// Methods of a [Manager] may be called from any goroutine. Each worker is one
// goroutine with an inbox, and so is each channel with seats on this node.
//
// # Limits
//
// See [Settings] for what may be unacknowledged, [Limits] for how many
// consumers there may be, and the constants of the ledger. Every refusal is an
// *channel.Error.
package consumer
