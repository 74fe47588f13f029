// Package bench measures servers that speak the client protocol over
// WebSocket: ours and any other, with the same client and in the same run.
//
// Nouns. A scenario is one way to load a server: idle, fanout, latency, many,
// storm, and floor, which has no server and measures a bare write loop to hold
// the others against. A run is a scenario carried out once; a [Report] has as
// many as were asked for, and for each [Metric] their median and spread. The
// clients are a swarm (package bench/swarm).
//
// Promises.
//   - The server's CPU is user plus system time of the whole process, all
//     threads, from /proc/<pid>/stat, which counts in hundredths of a second;
//     its memory is VmRSS. Without a pid the metrics that need it are left out.
//   - fanout, latency, many and storm check every delivery: each publication
//     exactly once per subscriber, in order. If one is missing, repeated or
//     late, [Run] returns an [*Incorrect] beside the report.
//   - Outstanding means: written, but not yet acknowledged and delivered to
//     every subscriber. With a limit of eight, publication n is sent when
//     publication n-8 is no longer outstanding.
//   - Nothing here judges by time: what is fast enough is for the reader.
//
// Limits: those of bench/swarm; Linux only, elsewhere Run answers
// errors.ErrUnsupported.
package bench
