package disk

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

const (
	// DefaultPage is how many entries a page of a snapshot has when the
	// request does not say.
	DefaultPage = 1000
	// MaxPage is the most entries of a page.
	MaxPage = 10_000
)

// cursor is where the next page of a snapshot begins.
type cursor struct {
	at       channel.Position
	removals uint64
	// key is the last one of the page before.
	key string
}

func (c cursor) String() string {
	b := append(make([]byte, 0, epochLen+2*binary.MaxVarintLen64+len(c.key)), c.at.Epoch...)
	b = binary.AppendUvarint(b, c.at.Offset)
	b = binary.AppendUvarint(b, c.removals)
	b = append(b, c.key...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (c cursor, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < epochLen {
		return c, false
	}
	r := reader{b: b[epochLen:]}
	c.at.Epoch = string(b[:epochLen])
	c.at.Offset, c.removals = r.uvarint(), r.uvarint()
	c.key = string(r.b)
	return c, !r.bad
}

var errNoState = channel.ErrBadRequest.With("a log channel has no entries; read its history")

// Snapshot returns a page of the entries of a state channel. A page is that
// of its own moment; At is that of the first page. Where something is on its
// way to the disk, it waits until that is there: no entry is shown that a
// crash could take back.
func (e *Engine) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if err := e.begin(ctx); err != nil {
		return channel.StatePage{}, err
	}
	defer e.end()
	if err := admit(r.Channel, r.Policy); err != nil {
		return channel.StatePage{}, err
	}
	if r.Policy.Kind != channel.KindState {
		return channel.StatePage{}, errNoState
	}
	if err := e.settleEntries(r.Policy); err != nil {
		return channel.StatePage{}, err
	}
	b, err := e.open(r.Channel, r.Policy, false)
	if err != nil {
		return channel.StatePage{}, err
	}
	c, t, err := e.look(b, r)
	e.leave(b)
	if err != nil {
		return channel.StatePage{}, e.failed(r.Channel, err)
	}
	if t == nil {
		return channel.StatePage{At: c.at}, nil
	}
	if err := e.await(ctx, t); err != nil {
		if errors.Is(err, channel.ErrUnknownOutcome) {
			err = channel.ErrUnavailable.With("the channel has changes under way to the disk").Wrap(err)
		}
		if !t.taken.CompareAndSwap(false, true) {
			<-t.done
			if t.iter != nil {
				err = errors.Join(err, t.iter.Close())
			}
		}
		return channel.StatePage{}, e.failed(r.Channel, err)
	}
	page, err := readPage(t.iter, c, pageLimit(r.Limit), e.clock.now())
	if err != nil {
		return channel.StatePage{}, e.failed(r.Channel, err)
	}
	for _, p := range page.Items {
		p.Channel, p.Epoch = r.Channel, c.at.Epoch
	}
	return page, nil
}

// look asks for an iterator that sees the channel up to its top and nothing
// that may be lost. It returns no ticket where there are no entries.
func (e *Engine) look(b *book, r *channel.SnapshotRequest) (cursor, *ticket, error) {
	begun := r.Cursor
	if r.Key != "" {
		begun = ""
	}
	if b.mu.policy.Kind != channel.KindState {
		return cursor{}, nil, errNoState
	}
	c := cursor{at: channel.Position{Epoch: b.mu.epoch, Offset: b.mu.top}, removals: b.mu.meta.removals}
	if begun != "" {
		was, ok := parseCursor(begun)
		if !ok {
			return c, nil, channel.ErrBadRequest.With("the cursor is not one of a page before")
		}
		if was.at.Epoch != c.at.Epoch || was.removals != c.removals {
			return c, nil, channel.ErrUnrecoverable.With("the channel was emptied since the first page; begin anew")
		}
		c = was
	}
	if b.mu.meta.id == 0 {
		return c, nil, nil
	}
	from := entryKey(b.mu.meta.id, c.key)
	if begun != "" {
		from = append(from, 0)
	}
	to, s := after(numbered(keyEntry, b.mu.meta.id)), b.mu.store
	if r.Key != "" {
		from = entryKey(b.mu.meta.id, r.Key)
		to = append(slices.Clip(from), 0)
	}
	t := newTicket()
	t.look = func() (*pebble.Iterator, error) { return s.iterate(from, to) }
	if b.underWay() == 0 {
		var err error
		t.iter, err = t.look()
		t.taken.Store(true)
		close(t.done)
		return c, t, err
	}
	t.book = b
	return c, t, e.send(b, t)
}

// readPage reads a page from an iterator and closes it.
func readPage(i *pebble.Iterator, c cursor, limit int, now int64) (channel.StatePage, error) {
	page := channel.StatePage{At: c.at}
	for i.First(); i.Valid(); i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return page, errors.Join(err, i.Close())
		}
		s, rest, err := parseStake(value)
		if err != nil {
			return page, errors.Join(err, i.Close())
		}
		if s.ended(now) {
			continue
		}
		if len(page.Items) == limit {
			c.key = page.Items[limit-1].Key
			page.Next = c.String()
			break
		}
		p, _, err := parsePub(rest)
		if err != nil {
			return page, errors.Join(err, i.Close())
		}
		p.Offset, p.Prev = s.offset, s.offset-1
		page.Items = append(page.Items, p)
	}
	return page, errors.Join(i.Error(), i.Close())
}

func pageLimit(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}
