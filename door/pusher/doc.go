// Package pusher is the door for clients and servers of the Pusher Channels
// protocol, version 7: the WebSocket at /app/{key} and the signed HTTP API below
// /apps/{id}/, so that applications of Pusher, Soketi or Reverb move over with
// another host name.
//
// # Nouns
//
// A [Door] is one application: an id, a key that everybody may know and a
// secret that only its servers do. A Pusher channel is a channel of one of two
// namespaces, under its whole name: "orders" is "pusher:orders", while
// "private-orders" and "presence-room" are in the private one. An event is a
// publication whose tag "event" is its name. A member is a user of a presence
// channel, however many connections he has.
//
// # Promises
//
// The namespaces' rules hold, as for every door: the key makes an anonymous
// client, the signature of the application's server is to a private channel
// what a subscription token is, and client events need the right to publish.
// They come from subscribers of private channels only, never return to their
// sender, and are not taken for an event of the server: what a client published
// by another door is called client- here.
//
// Data is what Pusher says it is, a string. In the channel it is the JSON it
// holds, or that string where it holds none, and then the tag "text" is "1".
//
// A subscription is answered before what comes after it. A client that may have
// missed something is sent away with a code by which it comes back at once; it
// cannot say what it has, so nothing is replayed, but for the last event of a
// cache channel.
//
// Where the user's backend says who connects it is asked before the client is
// told that it is connected. Channels that it gives are there from the start,
// but for presence channels, whose members the client would not know.
//
// A user is online, to who watches him, while a connection of his is in his own
// channel.
//
// A member is added with the first of his connections and removed with the
// last, on all nodes; nobody hears of himself. Anonymous clients of other doors
// are no members.
//
// Requests of the HTTP API are signed, at most 10 minutes old, and their bodies
// are what was signed. They may be sent again within that time, as with Pusher.
//
// # Limits
//
// Beside those of the hub: [Options] has what is configured, limits.go the
// rest. A message that is not understood is answered with pusher:error.
package pusher
