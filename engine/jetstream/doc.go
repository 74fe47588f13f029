// Package jetstream is the engine that several nodes share: what is kept lives
// in the streams of NATS JetStream, and what is not travels by core NATS. The
// servers are embedded in the nodes or stand elsewhere; see package mesh.
//
// # Nouns
//
// A stream keeps the channels of one namespace, of one kind, in memory or on
// file. An offset is a sequence of the stream, so offsets strictly increase and
// are sparse. A frame is one publication, or a marker, as bytes. A feed is what
// comes of one subscribed channel; feeds share a few lanes, each with one
// goroutine that delivers. A breeze carries the channels that nothing keeps. A
// book is what a node knows of one state channel. A tick is a small message that
// tells how far back a stream reaches, an anchor one that remembers the position
// of a quiet channel, and a removal leaves one that says so. A life is the time
// for which the memory of the servers goes on. The keeper is the goroutine that
// looks after ticks, anchors and disturbances.
//
// # The way of a publication
//
// A publisher's node sends the frame to the stream's subject and waits for the
// stream's acknowledgement. The stream's leader orders it, has the replicas
// write it, acknowledges, and sends it on to the nodes whose feeds listen, the
// publisher's own among them: there is one way, so there is one order. The
// acknowledgement may overtake the delivery.
//
// # What is proven
//
// An answer to Read says that it is complete only where that can be shown, from
// the messages alone:
//
//   - By number: a stream evicts the oldest message of a channel first, so an
//     answer that begins with the publication at Since lacks nothing after it. A
//     stream keeps two messages more than the history, one of which shows that
//     nothing came between.
//   - By age: a tick that is still kept shows that nothing behind it has gone by
//     age. Streams keep messages for at least as long as ids and positions are to
//     be known; HistorySize and HistoryTTL are applied when somebody reads.
//   - Who asks for the top only, without a position, is not told whether anything
//     is gone.
//   - From a replica: the leader says where a channel is, and an answer of
//     another that does not reach there is asked for again; what a replica has
//     before the leader waits for it.
//
// In a feed every message says which one of its channel was before it; so a
// hole shows as Prev. What shows nothing, like a last message that is lost with
// the leader, is looked for after every disturbance: a connection, a route
// between servers or a leader that was lost, a lane that was full. Lost is called
// for the channels that are behind, and no others.
//
// A watched namespace has one subscription to all its subjects, beside the feeds,
// and what comes of it is in the order of the stream's sequences. What may be
// missing from it nobody can tell, so after every disturbance its watcher hears
// of a gap.
//
// A state channel's change is only taken by the stream where the writer knows
// the last message of the whole channel, over all its keys. So links are exact,
// a compare-and-set is decided by a book that the write proves current, and the
// end of an entry is published once, by whichever node with a subscriber comes
// first. The price is one round trip for each change of a channel.
//
// # Durability and epochs
//
// The epoch of a channel changes with its stream, where a stream is found to have
// given sequences twice, and:
//
//   - sync, where all servers fsync first: never else. It survives the loss of a
//     minority of the replicas, and a restart of all.
//   - async: whenever all replicas were down at once, as nobody can tell what was
//     not flushed. A node alone that was stopped as it should goes on, on Linux,
//     until its machine is started anew.
//   - memory: whenever all replicas were down at once.
//
// An ephemeral channel has an epoch on each node and offsets of that node; its
// order is that of each publisher, not one for all nodes. What is published
// elsewhere around a disturbance may not arrive, and nobody is told. Its message
// ids are known to the node that they were published on.
//
// # Errors
//
// Without a leader publishes wait, up to [Options.PublishTimeout], and then come
// to ErrUnavailable. When an acknowledgement stays out the same message is sent
// again only where an id makes that harmless, otherwise the outcome is unknown; an
// acknowledgement may then call the publisher's own first attempt a duplicate. A
// stream that is full refuses. One that is not Myelin's, or of a newer format, is
// left alone; a message of a newer version is never taken for another one.
//
// A leader that is cut off from the others answers from what it has for some
// seconds, until it notices; so does who asks it. When it is found, the feeds of
// its node are looked at.
//
// # Limits
//
// See [Options]. The positions of state channels are kept for as long as their
// stream. Names, keys and ids have the limits of package channel; a publication
// and its headers must fit into one NATS message. A stream's retention is only
// ever raised, but by a node that is alone on its network: shorten it when all
// nodes are stopped. The clocks of nodes may differ by two seconds.
//
// # Concurrency
//
// All methods may be called from any goroutine. Deliveries of one channel are
// made under the lock of its feed, by its lane, or by the publisher where nothing
// keeps the channel; so a Sink that calls the engine back may deadlock, and one
// that blocks stops a lane.
package jetstream
