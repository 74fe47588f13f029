// Package protocol is the client wire format: commands, replies and pushes of
// the public Centrifugo client protocol, in JSON and in Protobuf.
//
// # Nouns
//
// A client sends a [Command], the server answers with a [Reply] of the same id
// or sends a [Push] of its own accord: inside a Reply to a client that also
// sends (bidirectional), bare to one that only listens (unidirectional). Each
// is a message; a frame is what a transport moves and holds one or more
// messages. In JSON the messages of a frame are separated by a newline; in
// Protobuf each has its length before it as a varint.
//
// # Promises
//
// Append functions append whole messages and never fail. Decode functions
// never panic, whatever the bytes, and report malformed input as an error,
// which is an [ErrMalformed]. Nothing is passed on unchecked: a payload of a
// JSON message is one valid JSON value, all text is UTF-8, and no list or map
// holds a nil message. What is decoded is a copy: the frame may be used again
// as soon as a decode function has returned.
//
// # Limits
//
// A frame holds at most [MaxMessages] messages. Its size is the transport's to
// bound. JSON of a client may be nested at most [MaxDepth] deep.
//
// The schema and the codec are those of github.com/centrifugal/protocol, which
// promises never to renumber. Source: client.proto of that module.
package protocol
