// Package e2e holds the tests of the whole: the real binary, started as a user
// would start it, driven from outside by its command line, by HTTP clients and
// by the blocks of its own documentation. The directory js beside it drives the
// same binary with the public JavaScript clients and a browser.
//
// # Nouns
//
// A process is a running `myelin serve` or `myelin demo`, with the addresses it
// took and all it wrote. A script is a file in testdata/script: one command of
// the command line, in the words of its users. A block is a fenced piece of the
// documentation, which is run, loaded or looked up.
//
// # Promises
//
// Every process listens on loopback, on ports that the system chose, and ends
// with its test. Tests wait for what they wait for, with a bound that only a
// broken server reaches, and assert no elapsed time but where pacing is itself
// the promise, and then loosely.
package e2e
