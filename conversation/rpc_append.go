package conversation

import (
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// appendAnswer is the answer of rpc("myelin.append").
type appendAnswer struct {
	Offset    uint64 `json:"offset"`
	Length    int    `json:"length"`
	Done      bool   `json:"done"`
	Duplicate bool   `json:"duplicate"`
}

// rpcAppend appends to a growing entry of a state channel.
func (c *Conversation) rpcAppend(data []byte) (any, error) {
	var r struct {
		Channel text              `json:"channel"`
		Key     text              `json:"key"`
		Text    text              `json:"text"`
		At      *int              `json:"at"`
		Done    bool              `json:"done"`
		Tags    map[string]string `json:"tags"`
	}
	if err := decodeStrict("myelin.append", `{"channel","key","text","at","done","tags"}`, data, &r); err != nil {
		return nil, err
	}
	ack, err := c.session.Append(c.host.ctx, hub.AppendRequest{
		Channel: string(r.Channel), Key: string(r.Key), Text: string(r.Text), At: r.At, Done: r.Done, Tags: r.Tags,
	})
	if err != nil {
		return nil, err
	}
	return &appendAnswer{ack.Offset, ack.Length, ack.Done, ack.Duplicate}, nil
}

// grow has a publication of a growing entry show what the client has not got.
func (w *Wire) grow(out *protocol.Publication, p *channel.Publication, whole bool) {
	if data, ok := hub.Grown(p, whole); ok {
		out.Data = data
	}
}

// entries returns entries of a state channel as the wire shows them to one who
// has none of them.
func (w *Wire) entries(pubs []*channel.Publication) []*protocol.Publication {
	return w.grownOf(pubs, true)
}

// grownOf returns publications, those of growing entries as they are shown.
func (w *Wire) grownOf(pubs []*channel.Publication, whole bool) []*protocol.Publication {
	out := w.publications(pubs)
	for i, p := range pubs {
		w.grow(out[i], p, whole)
	}
	return out
}
