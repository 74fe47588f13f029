// Package faults breaks things under running servers and judges what their
// clients were told: the real binary, on one node and on three, under load, with
// kill -9, SIGSTOP, partitions one-way and two-way, slow links, a full disk,
// damaged files, a clock that jumps and restarts one after another.
//
// # Nouns
//
// A node is one `myelin serve`, with its directory and what a test does to it. A
// crowd is the load: publishers and subscribers, each of which writes down what
// it is told in the words of package history. Among the subscribers are clients
// that nobody here wrote. A fault is done to a node and undone again. A scenario
// is a list of faults under load, and its verdict is what
// [myelin/e2e/faults/history.Check] finds. A relay is a TCP relay of the test's
// own, that can hold, delay and slow what goes through it. A yard is three network
// namespaces on a bridge. A liar is a connection that changes what the server
// says: a planted bug, which the verdict must name.
//
// # Promises
//
// Everything that is started ends with its test; what a test that crashed left
// behind (network namespaces, mounts) is removed by the next one. Servers die
// with the test process. All of it needs Linux; what needs root or amd64 besides is
// skipped elsewhere, with words. A history that breaks a promise is saved, and the place of it
// said. No test asserts how long anything took: outages are measured and
// printed.
//
// # How to run it
//
// `go test ./faults` takes about a minute. MYELIN_FAULT_SECONDS=60 lets every
// scenario run that long, and -update writes docs/faults.md; `make faults` does
// both.
package faults
