package hub

import (
	"context"
	"encoding/base64"
	"encoding/binary"

	"myelin/channel"
)

// scoreCursor is where a list by score goes on: behind this entry.
type scoreCursor struct {
	score int64
	key   string
}

func (c scoreCursor) String() string {
	return base64.RawURLEncoding.EncodeToString(append(binary.AppendVarint(nil, c.score), c.key...))
}

func parseScoreCursor(text string) (c scoreCursor, err error) {
	bad := channel.ErrBadRequest.With("the cursor is not one of a page before")
	if len(text) > 2*(channel.MaxKeyBytes+binary.MaxVarintLen64) {
		return c, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c, bad
	}
	score, n := binary.Varint(b)
	if n <= 0 || n == len(b) {
		return c, bad
	}
	return scoreCursor{score, string(b[n:])}, nil
}

// listScored returns a page in the order of the scores. It is read from the
// copy that serves the subscribers of the channel, which is in that order
// already, so that a page costs what it holds.
func (h *Hub) listScored(ctx context.Context, ns *Namespace, r *ListRequest) (channel.StatePage, error) {
	if !ns.ByScore {
		return channel.StatePage{}, channel.ErrNotAvailable.With(
			"namespace \"" + ns.Policy.Namespace + "\" keeps its entries in the order of their keys; set state.order to score")
	}
	t, err := h.acquire(ctx, r.Channel, ns)
	if err != nil {
		return channel.StatePage{}, err
	}
	defer h.release(t)
	var e entries
	var page channel.StatePage
	if err := t.withState(ctx, func(now entries) { e, page.At = now, t.mu.top }); err != nil {
		return channel.StatePage{}, err
	}
	rank := 0
	if r.Cursor != "" {
		c, err := parseScoreCursor(r.Cursor)
		if err != nil {
			return channel.StatePage{}, err
		}
		last := &channel.Publication{Key: c.key, Score: c.score}
		rank = e.byScore.Rank(last)
		_, there := e.byScore.Get(last)
		switch {
		case r.Descending:
			rank = e.byScore.Len() - rank
		case there:
			rank++
		}
	}
	list, next := pageOf(e.byScore, rank, r.Limit, r.Descending)
	page.Items = list
	if n := len(list); n > 0 && next < e.byScore.Len() {
		page.Next = scoreCursor{list[n-1].Score, list[n-1].Key}.String()
	}
	return page, nil
}
