// Package client is the Go client of the Centrifugo client protocol over
// WebSocket, in JSON or Protobuf.
//
// # Nouns
//
// A [Client] keeps one connection to a server and makes a new one whenever it
// is lost. A [Subscription] is the wish to receive a channel; the client
// carries the wish out again after every reconnect. A [Publication] is what a
// channel carries; a [Position] (epoch and offset) says where in the channel a
// subscription is. [API] is the other way in: a server's HTTP API.
//
// # Order and concurrency
//
// All methods may be called from any goroutine. All callbacks of a client are
// called one after another from one goroutine, in the order in which the server
// sent what caused them. A callback may call every method except Close, which
// waits for callbacks. While a callback runs, further events wait in a bounded
// queue; when that is full the client stops reading, and the server sees a slow
// consumer. A callback that waits for a reply while that queue is full waits
// until its context ends.
//
// # Reconnect and recovery
//
// A lost connection is retried with full-jitter exponential backoff until
// [Client.Close] or a terminal code: 3500 to 3999, 4500 to 4999, or a permanent
// error of the connect command. A subscription that recovers asks for what it
// missed since its last position. Offsets grow but need not be dense, so a gap
// is never guessed from them: OnSubscribed says whether the server recovered.
// A publication at or before the position is a duplicate and is dropped.
//
// Commands wait while there is no connection, until their context ends. A
// command that was sent and whose reply was lost with the connection fails with
// [ErrConnectionLost] and is not repeated, because it may have been executed.
//
// # Errors
//
// An error reply of the server is an [*Error]. A client that has ended fails
// every call with a [*Disconnected].
//
// # Limits
//
// The size of a frame, the commands under way, the bytes waiting to be sent,
// the events waiting for callbacks and the subscriptions are bounded by
// [Options]. Every goroutine that a client starts has ended when Close returns.
package client
