package hub

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"myelin/channel"
	"myelin/internal/ordered"
	"myelin/observe"
)

const (
	// maxPending is how many keys may change while the entries of a channel are
	// read from the engine; beyond it they are read again.
	maxPending = 1 << 16
	// loadTimeout is how long reading them may take.
	loadTimeout = 15 * time.Second
	// maxLoads is how often one who subscribes waits for them to be read, and
	// loadPause how long before the next time.
	maxLoads  = 10
	loadPause = 50 * time.Millisecond
	// entryOverhead is about what an entry takes beside its data.
	entryOverhead = 256
)

// entries is what a state channel holds at one position. It never changes: a
// change makes another one, which shares with it what is the same.
type entries struct {
	byKey ordered.Tree[*channel.Publication]
	// byScore is by score, then key, where the namespace wants that order.
	byScore ordered.Tree[*channel.Publication]
	scored  bool
	bytes   int64
}

func compareKeys(a, b *channel.Publication) int { return strings.Compare(a.Key, b.Key) }

func compareScores(a, b *channel.Publication) int {
	return cmp.Or(cmp.Compare(a.Score, b.Score), strings.Compare(a.Key, b.Key))
}

// newEntries returns those of a snapshot, in the order of their keys.
func newEntries(items []*channel.Publication, scored bool) entries {
	e := entries{byKey: ordered.FromSorted(compareKeys, items), scored: scored}
	for _, p := range items {
		e.bytes += entryBytes(p)
	}
	if scored {
		items = slices.Clone(items)
		slices.SortFunc(items, compareScores)
		e.byScore = ordered.FromSorted(compareScores, items)
	}
	return e
}

func entryBytes(p *channel.Publication) int64 {
	return int64(len(p.Key) + len(p.Data) + entryOverhead)
}

// get returns the entry of a key, nil for none.
func (e entries) get(key string) *channel.Publication {
	p, _ := e.byKey.Get(&channel.Publication{Key: key})
	return p
}

// with returns the entries after p.
func (e entries) with(p *channel.Publication) entries {
	old := e.get(p.Key)
	if old != nil {
		if old.Offset >= p.Offset {
			return e // it is in there already
		}
		e.bytes -= entryBytes(old)
		if e.scored {
			e.byScore = e.byScore.Without(old)
		}
	}
	if p.Op != channel.OpPut {
		e.byKey = e.byKey.Without(p)
		return e
	}
	e.bytes += entryBytes(p)
	e.byKey = e.byKey.With(p)
	if e.scored {
		e.byScore = e.byScore.With(p)
	}
	return e
}

// order returns the entries in the order of the namespace.
func (e entries) order() ordered.Tree[*channel.Publication] {
	if e.scored {
		return e.byScore
	}
	return e.byKey
}

// inOrder returns all entries in the order in which they were put.
func (e entries) inOrder() []*channel.Publication {
	all := slices.Collect(e.byKey.All())
	slices.SortFunc(all, func(a, b *channel.Publication) int { return cmp.Compare(a.Offset, b.Offset) })
	return inTime(all)
}

// stateCopy is the entries of a topic's channel, kept as long as it has
// subscribers. All of it is under the topic's lock.
type stateCopy struct {
	entries entries
	// pending is the newest change of each key since reading began; nil once
	// it has ended. again says that it could not hold them.
	pending map[string]*channel.Publication
	again   bool
	// reach is where the topic has to come to before the copy is exact: what
	// was read was no newer.
	reach uint64
	ready bool
	// done closes when the copy is ready, or given up for err.
	done chan struct{}
	err  error
}

// isState reports whether the channels of a namespace hold entries.
func (ns *Namespace) isState() bool { return ns.Policy.Kind == channel.KindState }

// withState waits until the topic knows the entries of its channel, and has fn
// called with its lock held at a moment when it does. There is no gap between
// those and what is delivered afterwards.
func (t *topic) withState(ctx context.Context, fn func(e entries)) error {
	for range maxLoads {
		t.mu.Lock()
		c := t.mu.state
		if c == nil {
			c = &stateCopy{pending: make(map[string]*channel.Publication), done: make(chan struct{})}
			t.mu.state = c
			t.hub.task(func() { t.load(c) })
		}
		if c.ready {
			fn(c.entries)
			t.mu.Unlock()
			return nil
		}
		t.mu.Unlock()
		if err := t.hub.await(ctx, c.done, nil); err != nil {
			return err
		}
		if c.err != nil && c.err != errChanged { //nolint:errorlint // that very one
			return c.err
		}
		if c.err != nil {
			if err := t.hub.await(ctx, nil, time.After(loadPause)); err != nil {
				return err
			}
		}
	}
	return channel.ErrUnavailable.With("the channel changes too much to be read, try again")
}

// await waits for either, unless that is over before.
func (h *Hub) await(ctx context.Context, done <-chan struct{}, pause <-chan time.Time) error {
	select {
	case <-done:
	case <-pause:
	case <-ctx.Done():
		return channel.ErrUnavailable.Wrap(ctx.Err())
	case <-h.ctx.Done():
		return channel.ErrUnavailable.With("the server is shutting down")
	}
	return nil
}

// errChanged gives up a copy that another try may bring about.
var errChanged = channel.ErrUnavailable.With("the channel changed while it was read")

// load reads the entries from the engine.
func (t *topic) load(c *stateCopy) {
	ctx, cancel := context.WithTimeout(t.hub.ctx, loadTimeout)
	defer cancel()
	var taken int64
	items, at, reach, err := t.readEntries(ctx, &taken)
	t.mu.Lock()
	switch {
	case t.mu.state != c: // given up meanwhile
	case err != nil:
		t.dropStateLocked(err)
	case c.again:
		t.dropStateLocked(errChanged)
	case at.Epoch != t.mu.top.Epoch:
		// Which of the two is newer the engine knows.
		t.repairLocked()
		t.dropStateLocked(errChanged)
	default:
		c.entries = newEntries(items, t.ns.ByScore)
		for _, p := range c.pending {
			if p.Epoch == at.Epoch && p.Offset > at.Offset {
				c.entries = c.entries.with(p)
			}
		}
		c.pending, c.reach = nil, reach
		taken -= c.entries.bytes // those stay
		t.settleStateLocked()
	}
	t.hub.stateBytes.Add(-taken)
	t.mu.Unlock()
	t.catchUpState(ctx, c)
}

// catchUpState waits for the feed to bring the topic to where its copy is.
func (t *topic) catchUpState(ctx context.Context, c *stateCopy) {
	for {
		select {
		case <-c.done:
			return
		case <-time.After(repairPause):
		case <-ctx.Done():
		}
		t.mu.Lock()
		switch {
		case t.mu.state != c || c.ready:
		case ctx.Err() != nil:
			t.dropStateLocked(channel.ErrUnavailable.Wrap(ctx.Err()))
		default:
			t.repairLocked()
		}
		t.mu.Unlock()
	}
}

// readEntries reads all entries, page by page. They are those at a position
// but for changes after it; and no change of theirs is after reach. It adds the
// room that it took to taken, whatever came of it.
func (t *topic) readEntries(ctx context.Context, taken *int64) (items []*channel.Publication, at channel.Position, reach uint64, err error) {
	r := &channel.SnapshotRequest{Channel: t.name, Policy: t.ns.Policy}
	for {
		page, err := t.hub.engine.Snapshot(ctx, r)
		if errors.Is(err, channel.ErrUnrecoverable) {
			err = errChanged
		}
		if err != nil {
			return nil, at, 0, err
		}
		at = page.At
		var bytes int64
		for _, p := range page.Items {
			bytes += entryBytes(p)
		}
		*taken += bytes
		if err := t.hub.takeStateRoom(bytes); err != nil {
			return nil, at, 0, err
		}
		items = append(items, page.Items...)
		if r.Cursor = page.Next; r.Cursor == "" {
			break
		}
	}
	top, err := t.hub.engine.Read(ctx, &channel.ReadRequest{Channel: t.name, Policy: t.ns.Policy})
	if err == nil && top.Top.Epoch != at.Epoch {
		err = errChanged
	}
	return items, at, top.Top.Offset, err
}

// takeStateRoom counts so many more bytes of entries, and refuses to keep them
// where that is too much. They are to be given back in any case.
func (h *Hub) takeStateRoom(bytes int64) error {
	if h.stateBytes.Add(bytes) <= h.opts.Limits.StateBytes {
		return nil
	}
	h.opts.Metrics.Limit(observe.LimitStateBytes).Inc()
	return channel.ErrLimitExceeded.With("the entries of the channels in use take all the memory they may (limits.state)")
}

// taggedLocked returns p, with the tags of the entry that it ends: who saw that
// through a filter is to hear of its end.
func (t *topic) taggedLocked(p *channel.Publication) *channel.Publication {
	c := t.mu.state
	if c == nil || p.Op == channel.OpPut || p.Tags != nil && !t.ns.TagKeys {
		return p
	}
	if c.pending != nil {
		return p
	}
	old := c.entries.get(p.Key)
	if old == nil || old.Tags == nil {
		return p
	}
	tagged := *p
	tagged.Tags = endTags(old, t.ns.TagKeys)
	return &tagged
}

// endTags returns the tags of the end of an entry, which may repeat its key.
func endTags(old *channel.Publication, key bool) map[string]string {
	if key {
		return tagKey(old.Tags, old.Key, true)
	}
	return old.Tags
}

// retaggedLocked returns the entry that p is about to replace, nil where there
// is none or it has the same tags: then who sees the one sees the other.
func (t *topic) retaggedLocked(p *channel.Publication) *channel.Publication {
	c := t.mu.state
	if c == nil || c.pending != nil || p.Op != channel.OpPut {
		return nil
	}
	old := c.entries.get(p.Key)
	if old == nil || maps.Equal(old.Tags, p.Tags) {
		return nil
	}
	return old
}

// takeStateLocked makes the change that p says.
func (t *topic) takeStateLocked(p *channel.Publication) {
	c := t.mu.state
	switch {
	case c == nil:
	case c.pending != nil:
		if len(c.pending) >= maxPending {
			c.again = true
			clear(c.pending)
		}
		c.pending[p.Key] = p
	default:
		before := c.entries.bytes
		c.entries = c.entries.with(p)
		total := t.hub.stateBytes.Add(c.entries.bytes - before)
		t.settleStateLocked()
		if total > t.hub.opts.Limits.StateBytes && c.entries.bytes > before {
			// Who is subscribed goes on; who comes is refused until there is room.
			t.hub.opts.Metrics.Limit(observe.LimitStateBytes).Inc()
			t.dropStateLocked(errChanged)
		}
	}
}

// settleStateLocked makes the copy ready once the topic has come far enough.
func (t *topic) settleStateLocked() {
	c := t.mu.state
	if c.pending == nil && !c.ready && t.mu.top.Offset >= c.reach {
		c.ready = true
		close(c.done)
	}
}

// dropStateLocked gives the copy up; the next one who needs it begins anew.
func (t *topic) dropStateLocked(why error) {
	c := t.mu.state
	if c == nil {
		return
	}
	t.mu.state = nil
	t.hub.stateBytes.Add(-c.entries.bytes)
	if !c.ready {
		c.err = why
		close(c.done)
	}
}

// dropState is dropStateLocked for a topic that ends.
func (t *topic) dropState() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropStateLocked(errChanged)
}
