package memory

import (
	"context"
	"encoding/base64"
	"encoding/binary"

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
	c.at.Epoch, b = string(b[:epochLen]), b[epochLen:]
	for _, field := range []*uint64{&c.at.Offset, &c.removals} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return c, false
		}
		*field, b = v, b[n:]
	}
	c.key = string(b)
	return c, true
}

// Snapshot returns a page of the entries of a state channel. A page is that
// of its own moment; At is that of the first page. Where the channel was
// removed or got a new epoch since then, the answer is ErrUnrecoverable and
// the snapshot has to begin anew.
func (e *Engine) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if err := alive(ctx); err != nil {
		return channel.StatePage{}, err
	}
	t, err := e.open(r.Channel, r.Policy, toLook)
	if err != nil {
		return channel.StatePage{}, err
	}
	p, c, entries := r.Policy, cursor{at: t.vacant}, (*state)(nil)
	if b := t.b; b != nil {
		defer e.leave(t)
		p, c.at, entries = b.mu.policy, b.position(), b.mu.state
		c.removals = entries.removalCount()
	}
	if p.Kind != channel.KindState {
		return channel.StatePage{}, errNoState
	}
	if r.Key != "" {
		return entries.one(c.at, r.Key), nil
	}
	first := r.Cursor == ""
	if !first {
		begun, ok := parseCursor(r.Cursor)
		if !ok {
			return channel.StatePage{}, channel.ErrBadRequest.With("the cursor is not one of a page before")
		}
		if begun.at.Epoch != c.at.Epoch || begun.removals != c.removals {
			return channel.StatePage{}, channel.ErrUnrecoverable.With("the channel was emptied since the first page; begin anew")
		}
		c = begun
	}
	return entries.page(c, first, pageLimit(r.Limit)), nil
}

var errNoState = channel.ErrBadRequest.With("a log channel has no entries; read its history")

// one returns the page of a single key.
func (s *state) one(at channel.Position, key string) channel.StatePage {
	page := channel.StatePage{At: at}
	if e := s.get(key); e != nil {
		page.Items = []*channel.Publication{&e.pub.Publication}
	}
	return page
}

func (s *state) page(c cursor, first bool, limit int) channel.StatePage {
	page := channel.StatePage{At: c.at}
	if s == nil {
		return page
	}
	entries, more := s.entries.after(c.key, first, limit)
	page.Items = make([]*channel.Publication, len(entries))
	for i, en := range entries {
		page.Items[i] = &en.pub.Publication
	}
	if more {
		c.key = entries[len(entries)-1].pub.Key
		page.Next = c.String()
	}
	return page
}

func (s *state) removalCount() uint64 {
	if s == nil {
		return 0
	}
	return s.removals
}

func pageLimit(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}
