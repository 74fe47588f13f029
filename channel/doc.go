// Package channel is the vocabulary of Myelin: what a channel is, what travels
// on it, and the contracts that the things around it keep.
//
// # Nouns
//
// A channel is a named, ordered sequence of publications. Its name is
// "namespace:rest"; without a colon it lives in the default namespace. A
// [Policy] says what is kept and how safely; it belongs to the namespace and
// does not change while an epoch lives. A [Publication] has a [Position]: the
// epoch of its channel and an offset in it. An [Engine] orders and keeps
// publications and hands each to a [Sink]. A [Bus] carries messages between
// nodes.
//
// # Promises
//
// Offsets strictly increase within (channel, epoch) and need not be dense:
// every publication carries Prev, the offset of the one before it, and a gap
// is Prev != last seen. Offsets never exceed [MaxOffset]. The epoch changes
// exactly when continuity may have been lost, never otherwise.
//
// # Errors
//
// Everything refused is an [*Error] with a [Code] from one append-only table,
// whose numbers are on the wire. errors.Is compares codes only, so the
// sentinels (ErrUnknownChannel and its family) match any detail.
//
// # Concurrency
//
// Values of this package are plain data. A Publication is immutable once an
// engine has seen it and may be shared by any number of goroutines.
package channel
