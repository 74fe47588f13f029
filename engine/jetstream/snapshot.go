package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"

	"myelin/channel"
)

// pageSize is how many entries a page has where the request does not say.
const pageSize = 1000

// cursor is where a snapshot goes on.
type cursor struct {
	Epoch string `json:"e"`
	// At is the offset of the first page, and After the key of the last entry.
	At    uint64 `json:"a"`
	After []byte `json:"k"`
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// maxCursor is how many bytes a cursor may have.
const maxCursor = 1024

func parseCursor(text string) (c cursor, err error) {
	if len(text) <= maxCursor {
		var b []byte
		if b, err = base64.RawURLEncoding.DecodeString(text); err == nil {
			err = json.Unmarshal(b, &c)
		}
	}
	if err != nil || c.Epoch == "" || len(c.After) == 0 {
		return cursor{}, channel.ErrBadRequest.With("the cursor is not one of a page; begin without one")
	}
	return c, nil
}

// Snapshot returns a page of the entries of a state channel.
func (e *Engine) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if err := e.enter(ctx, r.Channel, r.Policy); err != nil {
		return channel.StatePage{}, err
	}
	defer e.calls.end()
	if r.Policy.Kind != channel.KindState {
		return channel.StatePage{}, channel.ErrBadRequest.With("a log channel has no entries; read its history")
	}
	var from cursor
	if r.Cursor != "" && r.Key == "" {
		var err error
		if from, err = parseCursor(r.Cursor); err != nil {
			return channel.StatePage{}, err
		}
	}
	s, err := e.streams.of(ctx, r.Policy, false)
	if err != nil {
		return channel.StatePage{}, err
	}
	b, err := e.books.current(ctx, bookKey{s, r.Channel})
	if err != nil {
		return channel.StatePage{}, err
	}
	defer e.books.close(b)
	return b.page(r, from)
}

// page returns the entries after a cursor.
func (b *book) page(r *channel.SnapshotRequest, from cursor) (channel.StatePage, error) {
	page := channel.StatePage{At: b.position()}
	if r.Key != "" {
		if p := b.entries[r.Key]; p != nil {
			page.Items = []*channel.Publication{p}
		}
		return page, nil
	}
	keys := b.keys()
	if r.Cursor != "" {
		if from.Epoch != b.epoch || from.At < b.cleared || from.At > b.last {
			return channel.StatePage{}, channel.ErrUnrecoverable.With("the channel was emptied since the first page; begin again")
		}
		page.At.Offset = from.At
		i, found := slices.BinarySearch(keys, string(from.After))
		if found {
			i++
		}
		keys = keys[i:]
	}
	limit := r.Limit
	orElse(&limit, pageSize)
	if len(keys) > limit {
		keys = keys[:limit]
		page.Next = cursor{Epoch: b.epoch, At: page.At.Offset, After: []byte(keys[limit-1])}.String()
	}
	for _, k := range keys {
		page.Items = append(page.Items, b.entries[k])
	}
	return page, nil
}
