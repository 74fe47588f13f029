// Package swarm is many clients of the client protocol in few threads: the
// load generator's side of the wire.
//
// Nouns. A [Swarm] is a set of members and the loops that carry them. A member
// is one WebSocket connection with one subscription. A loop is one goroutine
// that waits for the sockets of its members and owns everything about them; no
// member has a goroutine, a timer or a buffer of its own while it is idle. The
// publisher is one more connection, on the first loop, that sends numbered
// publications. A stamp is what a publication carries: run, number and sending
// time, at a place that can be found without parsing JSON. The ledger knows
// which publications are outstanding. A [Tally] is what was counted.
//
// Promises.
//   - Every delivery is checked: a member expects its numbers in order, each
//     exactly once. A jump counts as lost, a number that was already passed as
//     repeated, a number that was never sent fails the swarm.
//   - A publication is outstanding from the moment it is written until its
//     acknowledgement and the delivery to every member that expects it have
//     been read. Publication n is sent when publication n-window no longer is.
//   - Server pings are answered, the protocol's and WebSocket's.
//   - Methods of Swarm are called from one goroutine at a time, but for
//     PublishOne, which may run beside Drop and Reconnect. The first error of
//     any member (refused, disconnected, broken frame) is kept and returned by
//     whatever waits.
//
// Limits: [MaxMembers] connections, [MaxMessage] bytes in one message,
// [MaxWindow] publications outstanding, ws:// only (no TLS), and Linux only:
// elsewhere [Open] answers errors.ErrUnsupported.
package swarm
