// Package websocket is the door for WebSocket clients (RFC 6455): two-way at
// /connection/websocket, one-way at /connection/uni_websocket.
//
// # Nouns
//
// A [Door] is an http.Handler that upgrades requests. Package socket moves the
// bytes; what they say is a conversation's.
//
// # Promises
//
// Messages of a client are handled in their order, one at a time. Nothing is
// sent behind a close frame. A handshake that is refused is answered by HTTP,
// the body {"error":{"code","message"}}.
//
// A one-way client connects by its query (cf_connect, channel, token) or by
// its first message; what it says after is not listened to.
//
// # Limits
//
// A message holds at most MessageBytes, over all its fragments. Pings count as
// commands. See package socket for the rest.
package websocket
