// Package websocket is the door for WebSocket clients (RFC 6455): two-way at
// /connection/websocket, one-way at /connection/uni_websocket.
//
// # Nouns
//
// A [Door] is an http.Handler that upgrades requests. A socket is an upgraded
// connection on plain TCP: it waits for bytes without holding a buffer, and is
// written to straight from the hub's shard. A stream is one over TLS or HTTP/2
// (RFC 8441): it reads and writes through buffers of its own. A worker is a
// pooled goroutine that handles what sockets have read, so that the stack of
// the one that waits stays small.
//
// # Promises
//
// Messages of a client are handled in their order, one at a time. Text is
// checked for UTF-8 as its fragments arrive. A broken frame is answered with
// the close code of RFC 6455 section 7.4.1 and touches nobody else; nothing is
// sent behind a close frame and nothing behind one is read. A client that is
// told to go is given lingerTimeout to take its goodbye. A handshake that is
// refused is answered by HTTP, the body {"error":{"code","message"}}.
//
// A one-way client connects by its query (cf_connect, channel, token) or by
// its first message; what it says after is not listened to.
//
// # Limits
//
// A message holds at most MessageBytes, over all its fragments; at most
// maxWorkers messages are handled at once. Pings count as commands. No
// extension is negotiated.
package websocket
