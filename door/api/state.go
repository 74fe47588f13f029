package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// The requests and results of keyed state, which are Myelin's own.

type stateSetRequest struct {
	Channel        string            `json:"channel"`
	Key            string            `json:"key"`
	Data           json.RawMessage   `json:"data"`
	B64Data        string            `json:"b64data"`
	Tags           map[string]string `json:"tags"`
	Score          int64             `json:"score"`
	TTLMs          uint64            `json:"ttl_ms"`
	If             string            `json:"if"`
	Offset         *uint64           `json:"offset"`
	IdempotencyKey string            `json:"idempotency_key"`
}

type stateRemoveRequest struct {
	Channel        string  `json:"channel"`
	Key            string  `json:"key"`
	If             string  `json:"if"`
	Offset         *uint64 `json:"offset"`
	IdempotencyKey string  `json:"idempotency_key"`
}

type stateGetRequest struct {
	Channel string `json:"channel"`
	Key     string `json:"key"`
}

type stateListRequest struct {
	Channel string `json:"channel"`
	Cursor  string `json:"cursor"`
	Limit   uint32 `json:"limit"`
	Order   string `json:"order"`
}

type stateEntry struct {
	Key    string            `json:"key"`
	Data   json.RawMessage   `json:"data"`
	Offset uint64            `json:"offset"`
	Score  int64             `json:"score,omitzero"`
	Tags   map[string]string `json:"tags,omitempty"`
	Info   *clientInfo       `json:"info,omitempty"`
	TimeMs int64             `json:"time_ms"`
}

type stateGetResult struct {
	Entry  *stateEntry `json:"entry,omitempty"`
	Epoch  string      `json:"epoch"`
	Offset uint64      `json:"offset"`
}

type stateListResult struct {
	Entries []*stateEntry `json:"entries"`
	Cursor  string        `json:"cursor"`
	Epoch   string        `json:"epoch"`
	Offset  uint64        `json:"offset"`
}

// maxTTLMs is the longest ttl, 100 years.
const maxTTLMs = 100 * 365 * 24 * 3600 * 1000

// stateSet puts an entry.
func (c *call) stateSet(ctx context.Context, r *stateSetRequest) (any, error) {
	m, err := c.messageOf(&publishRequest{Data: r.Data, B64Data: r.B64Data, Tags: r.Tags, IdempotencyKey: r.IdempotencyKey})
	if err != nil {
		return nil, err
	}
	if r.TTLMs > maxTTLMs {
		return nil, channel.ErrBadRequest.With(fmt.Sprintf("ttl_ms is %d, at most 100 years (%d) are allowed", r.TTLMs, int64(maxTTLMs)))
	}
	return c.setEntry(ctx, hub.EntryRequest{
		Channel: r.Channel, Key: r.Key, Data: m.data, ContentType: m.contentType, Tags: m.tags, Score: r.Score,
		TTL: time.Duration(r.TTLMs) * time.Millisecond, ID: m.id,
	}, r.If, r.Offset)
}

// stateRemove removes an entry.
func (c *call) stateRemove(ctx context.Context, r *stateRemoveRequest) (any, error) {
	return c.setEntry(ctx, hub.EntryRequest{Channel: r.Channel, Key: r.Key, Remove: true, ID: r.IdempotencyKey}, r.If, r.Offset)
}

func (c *call) setEntry(ctx context.Context, e hub.EntryRequest, condition string, offset *uint64) (any, error) {
	var err error
	if e.If, e.At, err = hub.ParseCondition(condition, offset); err != nil {
		return nil, err
	}
	ack, err := c.door.opts.Hub.SetEntry(ctx, e)
	if err != nil {
		return nil, err
	}
	return &publishResult{Offset: ack.Offset, Epoch: ack.Epoch}, nil
}

// stateGet reads one entry.
func (c *call) stateGet(ctx context.Context, r *stateGetRequest) (any, error) {
	page, err := c.door.opts.Hub.Entry(ctx, r.Channel, r.Key)
	if err != nil {
		return nil, err
	}
	entries, err := c.entriesOf(&page)
	if err != nil {
		return nil, err
	}
	out := &stateGetResult{Epoch: page.At.Epoch, Offset: page.At.Offset}
	if len(entries) > 0 {
		out.Entry = entries[0]
	}
	return out, nil
}

// stateList reads a page of entries.
func (c *call) stateList(ctx context.Context, r *stateListRequest) (any, error) {
	h := c.door.opts.Hub
	if most := h.Limits().HistoryRead; r.Limit > uint32(min(most, math.MaxInt32)) {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf(
			"limit is %d, one answer holds at most %d entries (limits.history_read); go on with cursor", r.Limit, most))
	}
	q := hub.ListRequest{Channel: r.Channel, Cursor: r.Cursor, Limit: int(r.Limit)}
	if err := q.By(r.Order); err != nil {
		return nil, err
	}
	page, err := h.Entries(ctx, q)
	if err != nil {
		return nil, err
	}
	entries, err := c.entriesOf(&page)
	if err != nil {
		return nil, err
	}
	return &stateListResult{Entries: entries, Cursor: page.Next, Epoch: page.At.Epoch, Offset: page.At.Offset}, nil
}

// entriesOf returns the entries of a page as callers see them.
func (c *call) entriesOf(page *channel.StatePage) ([]*stateEntry, error) {
	size := 0
	for _, p := range page.Items {
		size += sizeOfPublication(p) + len(p.Key)
	}
	if err := c.take(size); err != nil {
		return nil, err
	}
	out := make([]*stateEntry, len(page.Items))
	for i, p := range page.Items {
		out[i] = &stateEntry{
			Key: p.Key, Data: json.RawMessage(protocol.Payload(protocol.JSON, p)), Offset: p.Offset, Score: p.Score,
			Tags: p.Tags, Info: infoOf(p.Info), TimeMs: p.Time,
		}
	}
	return out, nil
}
