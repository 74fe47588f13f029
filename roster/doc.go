// Package roster is who is in which channel on the other nodes of a cluster: a
// node's journal of its own members, and its copy of everybody else's. It moves
// no bytes and starts no goroutine: frames go in and come out.
//
// # Nouns
//
// A [Member] is one subscription that presence shows or that others are told
// of. A [Journal] is a node's own members: it numbers what changes into frames
// for all other nodes, and answers who asks for the whole in pages. A [Roster]
// holds the members of all peers. What it lacks it asks for by a [Fetch], and
// what its watchers have to be told is an [Event].
//
// # How a copy stays right
//
// A member has a ticket, a number that its node never gives again in the same
// incarnation. A frame holds joins and leaves in their order and has a number,
// one more than that of the frame before. Every two seconds or so a digest
// tells the last number, how many members there are and the sum of their
// hashed tickets. A number that is missing, or a digest that does not match,
// makes the roster fetch the whole, page by page, while frames go on to come:
//
//   - A page carries the number of the last frame it surely includes. The
//     frames behind the number of the first page have to arrive without a gap,
//     otherwise the copy begins anew with the next digest.
//   - Who left while pages were under way does not come back by a page.
//   - Whom no page has shown, and no frame behind the first page's, is gone.
//
// # Promises
//
// Each member is told as joined at most once and then as left exactly once:
// because it left, because it was gone when a copy was made, or because its
// node went. A roster that missed nothing is exact; one that missed something
// is exact again with the next whole copy. [Roster.Members] never shows the
// members of a node that is down.
//
// Frames of any content are survived. A frame that cannot be read counts as
// missing.
//
// # Concurrency
//
// A Journal may be used by any number of goroutines, its Flush by one. What
// changes a Roster is called by one goroutine; Members, Missing and Len by any.
//
// # Limits
//
// A frame or page holds [MaxFrame] bytes, an entry [MaxEntry]: a member larger
// than that is not told to others. A journal that is not flushed keeps
// maxPending bytes, and then drops them and has everybody copy. A roster holds
// as many members as it is told when it is made; where that does not do it
// says so, see [Roster.Missing]. Members that leave while a copy is made are
// remembered up to the same number.
package roster
