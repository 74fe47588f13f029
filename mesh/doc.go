// Package mesh is the NATS network that a node is part of: a server inside this
// process or connections to servers elsewhere, and the bus over it.
//
// # Nouns
//
// A [Network] is one node's part. Embedded, the nodes are a cluster of their
// own: each runs a NATS server that listens for its peers and for nobody else,
// and the node itself is its only client. Nodes with storage keep the streams
// among them; others use those. External, a Network is a few connections to
// servers that somebody else runs. A [Disturbance] is a moment around which
// messages may have been lost. A [Bus] carries what the nodes tell each other;
// a frame is one message of it, the roster knows who is there.
//
// # Life
//
// [Open] returns when this node can talk, [Network.Ready] when the storage
// answers. [Network.Retire] hands over what this node leads, before a planned
// stop; [Network.Close] stops. [Network.Healthy] is for readiness. A node that
// was killed instead of retired costs who publishes to streams it led the four
// to nine seconds of an election.
//
// The first start of a cluster needs all of its storage nodes: a vote without
// data counts only when everybody has voted. From then on most of them will do.
// A cluster with one storage node only is possible; it waits for a first
// connection to another node.
//
// # Promises
//
//   - A connection reconnects for ever, keeps nothing that is published while it
//     is down, and gives up a server that is silent for six seconds; so do
//     routes between embedded servers.
//   - Whoever called [Network.Watch] is told of every disturbance: a lost and a
//     found connection, a subscription that was too slow, and connections
//     between embedded servers that came and went, the latter once more two
//     seconds later, when the nodes know again what each of them listens to. With
//     servers elsewhere nobody tells us about the connections between them.
//   - A question to a stream that has no leader at the moment is not answered at
//     all. Whoever asks JetStream needs a short deadline and has to ask again.
//   - The directory of an embedded server belongs to one process, one node name
//     and one cluster name; what another program, another node or a newer
//     version has written is refused and stays as it is. A directory of a node
//     alone is not that of a node of a cluster: NATS would throw away what is in
//     it.
//   - A node alone that died while it made or changed a stream starts again: what
//     the server left half written is made whole or made anew. One that has
//     messages and whose description is damaged is refused, with words.
//   - Peers need the secret, the cluster's name, a node name that nobody else
//     has and, with TLS, a certificate of the same authority. Whoever does not
//     is refused, and both sides say why in words, once a minute at most.
//   - A node with storage that comes with an empty directory to a cluster that
//     has all of its storage nodes takes itself out again, and Ready says why: a
//     member too many makes a quorum larger than it should be. Who comes under
//     the name of a member takes its place. Where there are too many members all
//     the same, the log says so once a minute.
//   - A replica that lacks messages that a majority has is noticed while all of
//     that majority are there, and [Network.Damage] says so for good: the
//     directory is refused until it is empty. Differences that pass, as purges
//     make them, are not taken for it. What a server keeps is verified when it
//     starts, not while it runs.
//   - Errors are [channel.Error]. Everything may be called from any goroutine.
//
// # The bus
//
// It obeys [channel.Bus], over core NATS: messages on <prefix>.bus.all and
// <prefix>.bus.node.<id>, signs of life beside them on <prefix>.bus.beat and
// <prefix>.bus.beat.<id>, so that no flood drowns them. A node says every second that it is alive, and is
// gone five seconds after its last word. One goroutine reads frames, keeps the
// roster and beats, and calls nobody. One calls watchers and listeners, so that
// events and messages have one order. One sends. Answers run beside each other.
// A process that was paused takes nobody for dead. Of two live processes of one
// name the later one is refused; if the first one was away when the later one
// came, it is the first one that has to go, and [Network.Healthy] says so. Nodes
// that speak another version of the bus are named in the log and left out.
// Whoever may publish on the subjects of the bus on servers elsewhere is
// trusted: give Myelin an account of its own there.
//
// # Limits
//
// [MaxPeers] other nodes; 4,096 messages and 16 MiB of one topic that wait for
// listeners, the rest is dropped and counted; 8,192 messages and 32 MiB that
// wait to be sent, more are refused; 256 requests answered at a time, 4,096
// waited for; messages of [channel.MaxBusMessage]. Events are not bounded by a
// number: there are two of a peer in six seconds at most.
//
// One goroutine of the embedded server of a cluster never ends: without a
// listener for clients the server waits for one before it listens for routes,
// and we go around it.
package mesh
