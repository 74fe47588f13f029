// Package history holds what clients of a server were told while things broke,
// and judges it: was every promise kept?
//
// # Nouns
//
// A [History] is everything that was told: each try to publish as a [Publish],
// what each subscriber saw of a channel as a [Subscriber] with its [Step]s, what
// was read as a [Reading], and what was broken meanwhile as a [Fault]. A [Rule]
// is what a channel promised. A [PublisherLog] or a [SubscriberLog] writes down what
// one client is told; a [Recorder] hands them out. A [Violation] is a broken promise, with the first
// example of it in words. An [Outage] is the longest time without an
// acknowledgement around a fault. An epoch's "line" is its publications in the
// order of their offsets, as far as anybody saw them.
//
// # Promises
//
// [Check] is a pure function: the same history gives the same verdict. It holds
// a server to the contract of the product and to no more: offsets need not be
// dense, who publishes may be left without an answer, who subscribes may be
// told that recovery failed. It holds against a server only what the history
// proves: a hole is known by what somebody else saw in it.
//
// [Linear] and [Registers] ask porcupine whether there is one order of
// all calls that explains every answer.
//
// A log belongs to one client and is safe for its goroutines; logs share nothing
// with each other but the clock. A Recorder's histories are complete once the
// clients have ended.
//
// # Limits
//
// A log takes [MaxSteps] entries; what is more fails the check rather than
// going unseen. A file is read up to [MaxLine] bytes a line.
package history
