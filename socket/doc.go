// Package socket serves WebSockets (RFC 6455): the handshake, the frames, and
// the bytes of any number of clients. What they say it leaves to dialogues.
//
// # Nouns
//
// A [Server] turns requests into connections. A socket is one on plain TCP: it
// waits for bytes without holding a buffer, and is written to straight with a
// system call. A stream is one over TLS or HTTP/2 (RFC 8441): it reads and
// writes through buffers of its own. A worker is a pooled goroutine that
// handles what sockets have read, so that the stack of the one that waits stays
// small. A [Dialogue] is what one client says and is told.
//
// # Promises
//
// Messages of a client are handed to its dialogue in their order, one at a
// time. Text is checked for UTF-8 as its fragments arrive. A broken frame is
// answered with the close code of RFC 6455 section 7.4.1 and touches nobody
// else; nothing behind a close frame is read. A client that is told to go is
// given lingerTimeout to take its goodbye. Gone is called once, last, for each
// dialogue that was opened.
//
// # Limits
//
// A message holds at most Opening.Limit bytes, over all its fragments; at most
// maxWorkers messages are handled at once. No extension is negotiated.
package socket
