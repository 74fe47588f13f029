// Package hub is the truth of one node: who is connected, who listens to what,
// and how each publication reaches them. With a bus it speaks for all nodes of
// a cluster.
//
// # Nouns
//
// A [Session] is one client's connection as the hub sees it, whatever door it
// came by. Its [Conn] moves bytes, its [Form] turns an [Event] into the bytes
// its client understands. A topic is the node's view of one channel that has
// subscribers: the top position, the hot ring of recent publications, the
// members. A shard is a goroutine that owns the output of its sessions. A class
// is what subscriptions to a topic have in common that are served with the same
// bytes: form, filter, whether they take patches, how they know the channel. A
// survey is a question to all other nodes, whose members a roster keeps.
//
// A pattern that has subscribers is a topic, too, whose feed is what a trie
// finds for each publication of the namespaces that it reaches.
//
// # How a publication travels
//
// [Session.Publish] checks right and limits and calls the engine, which orders
// it and calls [Hub.Deliver]. Deliver appends to the topic's ring and puts one
// delivery into the inbox of each shard that has subscribers. The shard takes
// all that is queued, encodes each delivery once per class, joins what is for
// the same subscribers, and does one write per connection.
//
// # State channels
//
// A topic of a state channel keeps a copy of its entries, exact at its top, while
// it has subscribers. A subscription that begins takes the copy and its place in
// the feed in one step, under the topic's lock; the copy is a version of a tree
// that never changes, so a snapshot is a pointer and its pages are of one moment.
// See [Session.SubscribeState] and state.go.
//
// # Promises
//
// Order: a session sees the publications of a channel in the order of their
// offsets, each once, all of them after the reply that begins its subscription
// and before the word or the reply that ends it. Replies leave in the order
// they were handed over, before what waits; publications of the same moment may come after a
// reply that was handed over behind them. Subscribing with a position gives
// exactly what was missed, then what is live, with no gap and no duplicate, or
// says that it could not. A session that may have missed something of a
// channel that keeps history is told: it is unsubscribed with code 2500, or
// disconnected with 3010 where the subscription was the server's. Of a channel
// that keeps none the hub knows only that a new epoch began.
//
// End: a client hears that its subscription or connection has ended when it
// has, so that it may come back at once. When Close returns every connection
// is closed and no goroutine is left.
//
// Cluster: publications reach other nodes by the engine, everything else by the
// bus. Presence, and who is told of joins and leaves, take in the members of all
// nodes that are up, within some milliseconds of each change, and 2 s where the
// bus lost it; a node that dies takes its members along, once each. Where that
// cannot be said presence is an error. An operation on sessions is done on all
// nodes, or the error names one that did not answer within 2 s. A client may
// come back by any node: its position means the same everywhere.
//
// Patterns: a subscription to one brings, of each channel that it matches and
// that the session may subscribe to, everything in order and once; where that is
// not certain it is ended with code 2500. It has no position.
//
// Joins and leaves: who adds up those that he was told comes to the truth. Where
// many come at once they are told in batches, and what cancels out is not.
//
// Lifecycle: with Options.Lifecycle who comes and goes is told in a channel, in
// the order of each session and of this node, without anybody waiting for it;
// see [LifecycleEvent]. In a cluster the node that has been up longest tells of
// channels that are occupied or vacated, and of what a dead node had, which it
// claims by an id, so that it is told once.
//
// Slow clients: one that does not read costs one write and what its queues may
// hold, and nobody else notices. One that reads slowly is left alone. Where a
// queue is full each channel lives by its namespace's rule ([Slow]): nothing is
// left out of one that has none, and where something was left out of another
// its client is told, at that place.
//
// Lanes: among what waits for a session the urgent leaves first ([Lane]), the
// server's own words before all. The order within a channel is kept, including
// the replies that begin and end its subscription. What has expired is handed
// to nobody, and missed by nobody.
//
// Conflated subscriptions get, at their rate, the newest of each key in the
// order of their offsets, and always the last: at each of them recovery is
// exact.
//
// Concurrency: methods of Hub and Session may be called from any goroutine,
// except that a Subscription is used by one. A shard never blocks: it does not
// wait for a socket, an engine or a lock held during I/O. Of a cluster's two
// goroutines one broadcasts what changes here, the other alone changes the
// roster and waits for the shards where thousands come or go.
//
// Limits: see [Limits] and the constants beside it, and those of a cluster in
// cluster.go. What is over a limit is refused with a code, or the session is
// disconnected with one, and counted.
//
// Errors are *channel.Error and [Disconnect].
package hub
