// Package api is the door for the application's own servers: the HTTP API at
// /api/<method>, shaped as Centrifugo's, so that its libraries work unchanged.
//
// # Nouns
//
// A [Door] is an http.Handler for the subtree [Prefix]. A method is one name
// under it; its request is a JSON object whose shape is known: the names, and
// what may stand there. An answer is {"result":{...}} or
// {"error":{"code","message"}}; of batch it is {"replies":[...]}.
//
// # Promises
//
// A request is read as a whole before anything is done. What cannot be read is
// refused with HTTP 400: bytes that are not one JSON object in UTF-8, names the
// method does not know, names that stand there twice, values of a wrong type.
// What was read and failed is answered with HTTP 200 and an error, as
// Centrifugo does; with the header X-Centrifugo-Error-Mode: transport the
// status says it too. A field that is known but that this server cannot do is
// an error, never ignored. docs/openapi.yaml describes every method.
//
// A caller is let in by its key, compared in constant time, before its body is
// read. Whoever mounts a door without a key sees to it that no web page
// reaches it.
//
// The commands of a batch are done in order, or side by side where it says
// parallel; each is answered on its own. A broadcast has no order between its
// channels. Answers do not wait for subscribers: what a publish waits for is
// the engine, and room in the hub.
//
// A Door may be called from any goroutine.
//
// # Limits
//
// See the constants: [MaxBroadcastChannels], [MaxBatchCommands],
// [MaxListedChannels], [MaxWhitelist], [MaxAnswerBytes], [MaxInFlight]. A body
// holds at most [BodyBytes], and the data and tags of a publication
// limits.message.
package api
