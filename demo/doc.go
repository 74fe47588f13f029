// Package demo feeds a server with something real to show: a patient's heart,
// this machine's telemetry and a chat room.
//
// # Nouns
//
// A feed is an ordinary client of the server, no more. The patient is a bedside
// device that plays a recorded ECG at its true pace and derives a heart rate.
// The machine publishes what its operating system says of itself. The host of
// the chat room greets who comes and answers a few commands.
//
//	ward:bed1.ecg   ten times a second, 36 samples each
//	ward:bed1.hr    at every R peak that follows another
//	host:telemetry  once a second
//	chat:lobby      when there is something to say
//
// # Promises
//
// The patient publishes exactly ten batches a second, by absolute time, so that
// nothing drifts. While the server is away it keeps the last [SpoolTime] and
// sends them, in order and each once, when the server is back: through the
// idempotent method myelin.publish, one at a time, repeating what was not
// acknowledged under the same id. What is older is dropped, oldest first. The
// machine keeps nothing: old telemetry is of no use.
//
// # Limits
//
// The spool, the batches made up at once after a stall, the chat's inbox and the
// rate at which the host of the chat speaks are bounded by constants. Run waits
// for every goroutine that it starts.
//
// The recording is record 208 of the MIT-BIH Arrhythmia Database; see
// data/README.md for its attribution and licence.
package demo
