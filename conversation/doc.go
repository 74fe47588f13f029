// Package conversation is one client's dialogue in the client protocol:
// commands become hub operations, events become replies and pushes. Doors only
// move its bytes.
//
// # Nouns
//
// A [Host] holds what all conversations of a node share. A [Conversation] is
// one client's: it has one hub session. A [Wire] is how a door frames messages
// in one format; it is the form under which the hub caches encoded events, so
// a door makes each of its wires once. A [Stream] is a conversation whose
// messages go out by one long HTTP response; what differs between the doors of
// that kind is its [Look].
//
// # Promises
//
// Commands of a conversation are handled one after the other and answered in
// their order, but for subscriptions and reads that take their time: an engine or
// a hook that is slow about one channel does not hold up the others. The first
// must be connect, and only the first. What breaks the protocol ends the session with a published disconnect code; what is merely
// refused is answered with a published error code and changes nothing. Who
// comes with a token that is bad or expired is refused, never let in as
// somebody else.
//
// A one-way conversation has no commands: it is connected by a request and
// then listens. A resumable one is recoverable in every channel that can be,
// and each of its messages tells by a resume token where its client stands.
//
// # Limits
//
// Commands are bounded in size by the door, in rate by the hub, in number per
// frame by package protocol. A subscription and a history wait for their engine
// as long as [patience]; what is behind waits for [asideAfter] at most, unless
// [maxAside] are under way. After [maxRefusals] commands refused for their
// rate in a row the session ends. A refused connect is the last command. The
// body of a request has [bodyTimeout] to come; a stream whose client does not
// read holds twice [streamBytes] beside the hub's queue, for [streamTimeout].
package conversation
