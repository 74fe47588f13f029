package conversation

import (
	"encoding/json"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// stateChange asks to put or remove an entry.
type stateChange struct {
	Channel text              `json:"channel"`
	Key     text              `json:"key"`
	Data    json.RawMessage   `json:"data"`
	ID      text              `json:"id"`
	Tags    map[string]string `json:"tags"`
	Score   int64             `json:"score"`
	TTLMs   int64             `json:"ttl_ms"`
	If      string            `json:"if"`
	Offset  *uint64           `json:"offset"`
	// While, "subscribed", removes the entry with the subscription.
	While string `json:"while"`
}

// takesState says where it is said what the methods of state channels take.
const takesState = "what docs/state.md says"

// maxTTLMs is the longest ttl, 100 years.
const maxTTLMs = 100 * 365 * 24 * 3600 * 1000

func (s *stateChange) request(remove bool) (hub.EntryRequest, error) {
	r := hub.EntryRequest{
		Channel: string(s.Channel), Key: string(s.Key), Remove: remove, Data: s.Data, Tags: s.Tags, Score: s.Score,
		TTL: time.Duration(s.TTLMs) * time.Millisecond, ID: string(s.ID),
	}
	if s.TTLMs < 0 || s.TTLMs > maxTTLMs {
		return r, channel.ErrBadRequest.With("ttl_ms is in milliseconds, from 1 to 100 years; leave it out for that of the namespace")
	}
	var err error
	if r.If, r.At, err = hub.ParseCondition(s.If, s.Offset); err != nil {
		return r, err
	}
	switch s.While {
	case "":
	case "subscribed":
		r.Leave = true
	default:
		return r, channel.ErrBadRequest.With("while is \"subscribed\", or left out")
	}
	return r, nil
}

func (c *Conversation) rpcStateSet(data []byte) (any, error) {
	return c.changeState("myelin.state.set", data, false)
}

func (c *Conversation) rpcStateRemove(data []byte) (any, error) {
	return c.changeState("myelin.state.remove", data, true)
}

func (c *Conversation) changeState(method string, data []byte, remove bool) (any, error) {
	var s stateChange
	if err := decodeStrict(method, takesState, data, &s); err != nil {
		return nil, err
	}
	r, err := s.request(remove)
	if err != nil {
		return nil, err
	}
	ack, err := c.session.SetEntry(c.host.ctx, r)
	if err != nil {
		return nil, err
	}
	return &publishAck{ack.Epoch, ack.Offset, ack.Duplicate}, nil
}

// stateEntry is an entry as an rpc shows it.
type stateEntry struct {
	Key    string               `json:"key"`
	Data   protocol.Raw         `json:"data"`
	Offset uint64               `json:"offset"`
	Score  int64                `json:"score,omitzero"`
	Tags   map[string]string    `json:"tags,omitempty"`
	TimeMs int64                `json:"time_ms"`
	Info   *protocol.ClientInfo `json:"info,omitempty"`
}

// entryOf returns an entry in JSON, whatever the format of the connection: that
// is what an rpc speaks.
func entryOf(p *channel.Publication) *stateEntry {
	e := &stateEntry{
		Key: p.Key, Data: protocol.Payload(protocol.JSON, p), Offset: p.Offset, Score: p.Score, Tags: p.Tags, TimeMs: p.Time,
	}
	if p.Info != nil {
		e.Info = &protocol.ClientInfo{User: p.Info.User, Client: p.Info.Client}
	}
	return e
}

func (c *Conversation) rpcStateGet(data []byte) (any, error) {
	var r struct {
		Channel text `json:"channel"`
		Key     text `json:"key"`
	}
	if err := decodeStrict("myelin.state.get", takesState, data, &r); err != nil {
		return nil, err
	}
	page, err := c.session.Entry(c.host.ctx, string(r.Channel), string(r.Key))
	if err != nil {
		return nil, err
	}
	out := &struct {
		Entry  *stateEntry `json:"entry"`
		Epoch  string      `json:"epoch"`
		Offset uint64      `json:"offset"`
	}{Epoch: page.At.Epoch, Offset: page.At.Offset}
	if len(page.Items) > 0 {
		out.Entry = entryOf(page.Items[0])
	}
	return out, nil
}

func (c *Conversation) rpcStateList(data []byte) (any, error) {
	var r struct {
		Channel string `json:"channel"`
		Cursor  string `json:"cursor"`
		Limit   int    `json:"limit"`
		Order   string `json:"order"`
	}
	if err := decodeStrict("myelin.state.list", takesState, data, &r); err != nil {
		return nil, err
	}
	q := hub.ListRequest{Channel: r.Channel, Cursor: r.Cursor, Limit: r.Limit}
	if err := q.By(r.Order); err != nil {
		return nil, err
	}
	page, err := c.session.Entries(c.host.ctx, q)
	if err != nil {
		return nil, err
	}
	out := &struct {
		Entries []*stateEntry `json:"entries"`
		Cursor  string        `json:"cursor"`
		Epoch   string        `json:"epoch"`
		Offset  uint64        `json:"offset"`
	}{Entries: make([]*stateEntry, len(page.Items)), Cursor: page.Next, Epoch: page.At.Epoch, Offset: page.At.Offset}
	for i, p := range page.Items {
		out.Entries[i] = entryOf(p)
	}
	return out, nil
}
