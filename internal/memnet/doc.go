// Package memnet is a network inside the process: listeners, and connections
// whose bytes never leave memory, for tests in virtual time.
//
// # Nouns
//
// A [Listener] accepts what is dialled on it. A [Conn] is one end of a
// connection; the ends are joined by two streams, one for each direction, that
// hold what was written and not yet read.
//
// # Promises
//
// Behaviour is that of TCP where a program can tell: bytes arrive in order; a
// write returns as soon as the stream has room for it, and waits while the peer
// does not read; after Close the peer reads what is left and then io.EOF, and
// its writes fail; CloseWrite ends one direction; deadlines work and may be
// moved while a call waits. Errors are a *net.OpError around net.ErrClosed,
// os.ErrDeadlineExceeded, syscall.EPIPE or syscall.ECONNREFUSED.
//
// Everything waits durably in the sense of testing/synctest: with the listener,
// the servers and the clients all made inside a bubble, virtual time advances
// while they wait for each other. There is no goroutine inside.
//
// All methods may be called from several goroutines.
//
// Limits: a stream holds [Options.Buffer] bytes, no more. A dial waits for its
// accept; there is no backlog.
package memnet
