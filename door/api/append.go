package api

import (
	"context"

	"myelin/hub"
)

type appendRequest struct {
	Channel string            `json:"channel"`
	Key     string            `json:"key"`
	Text    string            `json:"text"`
	At      *uint32           `json:"at"`
	Done    bool              `json:"done"`
	Tags    map[string]string `json:"tags"`
}

type appendResult struct {
	Offset    uint64 `json:"offset"`
	Epoch     string `json:"epoch"`
	Length    int    `json:"length"`
	Done      bool   `json:"done"`
	Duplicate bool   `json:"duplicate"`
}

// appendText appends to the text of a growing entry.
func (c *call) appendText(ctx context.Context, r *appendRequest) (any, error) {
	req := hub.AppendRequest{Channel: r.Channel, Key: r.Key, Text: r.Text, Done: r.Done, Tags: r.Tags}
	if r.At != nil {
		at := int(*r.At)
		req.At = &at
	}
	ack, err := c.door.opts.Hub.Append(ctx, req)
	if err != nil {
		return nil, err
	}
	return &appendResult{Offset: ack.Offset, Epoch: ack.Epoch, Length: ack.Length, Done: ack.Done, Duplicate: ack.Duplicate}, nil
}
