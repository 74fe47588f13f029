package channel

import (
	"context"
	"time"
)

// Engine keeps channels: it orders publications, keeps what the policy says,
// and hands every publication of a subscribed channel to its Sink.
//
// Rules that every engine obeys, and that channeltest proves:
//   - Offsets and Prev are as the package comment says, under any number of
//     concurrent publishers.
//   - Subscribe returns the top at that moment: every later publication
//     reaches the Sink, in order, once.
//   - Read starts at the given position, so that its answer proves whether
//     anything after it is gone.
//   - The same message id within the window gives one publication.
//   - An unclean stop bumps the epoch wherever an acknowledged publication may
//     be gone.
//   - Methods may be called from any goroutine. Errors are *Error.
type Engine interface {
	// Start begins delivery to s. It is called once, before anything else. ctx
	// bounds the start, not what follows.
	Start(ctx context.Context, s Sink) error
	// Publish orders and keeps one publication and returns after what the
	// policy's durability asks. The engine owns r.Data, r.Tags and r.Info
	// from here on. A retry after an error is safe only with r.ID set.
	Publish(ctx context.Context, r *PublishRequest) (Ack, error)
	// Subscribe begins delivery of a channel to the Sink and returns its top.
	// Subscribing again is no error and returns the top of that moment.
	Subscribe(ctx context.Context, name string, p *Policy) (Position, error)
	// Unsubscribe ends delivery. A publication in flight may still arrive.
	Unsubscribe(name string)
	// Watch begins delivery of a whole namespace to w, until Unwatch: every
	// publication that is accepted after it returned on a channel of this
	// policy, subscribed or not, reaches w, in order per channel, once. What
	// goes to the Sink goes there all the same. Watching a namespace again puts
	// w in the place of the one before.
	Watch(ctx context.Context, p *Policy, w Watcher) error
	// Unwatch ends it. A publication in flight may still arrive.
	Unwatch(p *Policy)
	// Read returns what is kept after a position.
	Read(ctx context.Context, r *ReadRequest) (ReadResult, error)
	// Snapshot returns a page of the entries of a state channel.
	Snapshot(ctx context.Context, r *SnapshotRequest) (StatePage, error)
	// Remove forgets the kept publications and entries of a channel. Its
	// position goes on: whoever was at the top still is, and whoever was
	// behind finds out by Read.
	Remove(ctx context.Context, name string, p *Policy) error
	// Caps says what this engine can do.
	Caps() Caps
	// Close stops gracefully: what was acknowledged stays, nothing is
	// delivered after it returns.
	Close(ctx context.Context) error
}

// Sink is where an engine delivers, which is the node's hub. Calls come in
// order per channel, from few goroutines. A Sink must not block and must not
// call the engine back from these calls; nor may it take a lock in them that
// anybody holds while calling the engine.
type Sink interface {
	// Deliver hands over one publication of a subscribed channel.
	Deliver(p *Publication)
	// Lost says that the continuity of a channel's feed is unknown from here:
	// the Sink must Read to repair.
	Lost(name string)
	// Cleared says that another node had what was kept of a channel removed:
	// the Sink forgets its copies of what came before. Only an engine that
	// several nodes share calls it; who calls Remove himself knows.
	Cleared(name string)
}

// Watcher is where an engine delivers a namespace that is watched. The rules of
// a Sink hold for it.
type Watcher interface {
	// Watched hands over one publication of any channel of the namespace. Its
	// Prev proves nothing: whether something is missing Gap says. The offsets
	// of a channel of which nothing is kept may be others than the Sink's.
	Watched(p *Publication)
	// Gap says that publications of the namespace may be missing from what was
	// handed over so far.
	Gap()
}

// Caps says what an engine can do.
type Caps struct {
	// Dense: offsets go up by exactly one.
	Dense bool
	// Durable is the highest durability it can promise.
	Durable Durability
	// State: it keeps state channels.
	State bool
	// MultiNode: other nodes see the same channels.
	MultiNode bool
}

// PublishRequest asks an engine to publish.
type PublishRequest struct {
	Channel string
	Policy  *Policy
	// Data and what goes with it, as in Publication.
	Data        []byte
	ContentType string
	Tags        map[string]string
	Info        *ClientInfo
	// ID makes a retry safe: within the policy's window the same ID on the
	// same channel gives the same Ack, whatever else has changed: it is looked
	// at before Expect. Empty means no such promise. At most MaxIDBytes.
	ID string
	// Op, Key, Expect and TTL are for state channels.
	Op  Op
	Key string
	// Expect, when not nil, is the offset the key must have now for the
	// publish to be done, 0 for "no such entry"; otherwise ErrConflict, with
	// the offset it has in Current.
	Expect *uint64
	// TTL is how long the entry lives; 0 takes the policy's KeyTTL.
	TTL time.Duration
	// Expires, Score and Base are as in Publication; the last two are for puts.
	Expires int64
	Score   int64
	Base    int
}

// MaxIDBytes is the longest message id.
const MaxIDBytes = 128

// MaxKeyBytes is the longest key of a state channel.
const MaxKeyBytes = 255

// Ack is what a publish came to.
type Ack struct {
	Position
	// Duplicate: the id was known, and Position is that of the first one.
	Duplicate bool
}

// ReadRequest asks for a part of what is kept of a channel.
type ReadRequest struct {
	Channel string
	Policy  *Policy
	// Since is the position to read after (before it, where Reverse). An
	// empty epoch stands for the current one. The zero Position reads from
	// the first kept publication (the last, where Reverse).
	Since Position
	// Limit is how many publications at most; 0 asks only for the top, a
	// negative one has no limit.
	Limit int
	// MaxBytes is where to stop: an answer holds at most so many bytes of
	// data, but at least one publication. 0 has no limit. An answer that was
	// cut ends before its Top.
	MaxBytes int
	// Reverse reads from new to old.
	Reverse bool
}

// ReadResult is the answer to a ReadRequest.
type ReadResult struct {
	// Pubs in the order asked for, never nil entries; shared, not to be
	// changed. Empty where the epoch differs.
	Pubs []*Publication
	// Top is the position of the last publication of the channel.
	Top Position
	// Complete: nothing after Since was missing from what is kept at the time
	// of the read (Limit aside). It is false where something was evicted or
	// expired, where the epoch differs, and where Since is beyond the top.
	// It speaks of forward reads only.
	Complete bool
}

// SnapshotRequest asks for a page of the entries of a state channel.
type SnapshotRequest struct {
	Channel string
	Policy  *Policy
	// Key asks for the entry of one key: the page holds it, or nothing. Cursor
	// and Limit do not matter then.
	Key string
	// Cursor is "" for the first page, else the Next of the page before. Where
	// the channel was emptied or got a new epoch since the first page, the
	// answer is ErrUnrecoverable and the snapshot begins anew.
	Cursor string
	// Limit is how many entries at most; 0 or less takes the engine's own.
	Limit int
}

// StatePage is a page of entries in order of their keys. All pages of one
// snapshot carry the At of its first page: every change after At either
// reaches the Sink or is found by Read, so entries newer than At may be seen
// twice and none is missed.
type StatePage struct {
	Items []*Publication
	At    Position
	// Next is the cursor of the next page, "" on the last one.
	Next string
}
