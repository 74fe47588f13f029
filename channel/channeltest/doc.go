// Package channeltest is the suites that every engine and every bus must pass:
// what [channel.Engine] and [channel.Bus] promise, as checks that can fail.
//
// # Nouns
//
// A [Factory] makes the engine under test and says what it can take. A check
// is one promise, known by a name such as "order/one-channel". [Run] runs all
// checks as subtests, [Examine] runs one and returns what it found as an
// error, so that the suite itself can be held against engines with planted
// faults. [Benchmark] measures what an engine's hot paths cost beside a bare
// hand-off between goroutines. A [Network] joins buses in memory, a [MemBus]
// each, for tests of what runs on several nodes; it loses, delays, cuts, pauses
// and kills as it is told.
//
// For a bus there are [BusFactory], [RunBus] and [ExamineBus] likewise; a
// [BusWorld] is a network under test, with what can be done to its nodes.
// [Network] is one in memory, for tests of those who live on a bus.
//
// # Promises
//
// Every check makes its own engine and closes it. Unless the factory says
// otherwise a check runs in a testing/synctest bubble: its time is virtual,
// and a goroutine that outlives the engine fails it. Where an answer has an
// exact edge, as history sizes have, the check stands on both sides of it;
// where it depends on time, there is half a window of room on either side.
//
// # Limits
//
// The suite knows nothing of disks, networks and clusters. What it can ask of
// them it asks through the factory's Restart and Cut.
package channeltest
