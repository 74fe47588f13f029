package conversation

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// rpcs is the methods of Myelin itself by name. Each takes and returns JSON.
func rpcs() map[string]func(*Conversation, []byte) (any, error) {
	return map[string]func(*Conversation, []byte) (any, error){
		"myelin.append":         (*Conversation).rpcAppend,
		"myelin.channels":       (*Conversation).rpcChannels,
		"myelin.presence.users": (*Conversation).rpcPresenceUsers,
		"myelin.publish":        (*Conversation).rpcPublish,
		"myelin.time":           (*Conversation).rpcTime,

		"myelin.state.set":    (*Conversation).rpcStateSet,
		"myelin.state.remove": (*Conversation).rpcStateRemove,
		"myelin.state.get":    (*Conversation).rpcStateGet,
		"myelin.state.list":   (*Conversation).rpcStateList,
	}
}

// asks are the methods that change nothing and ask the engine or other nodes,
// which may take its time.
var asks = map[string]bool{"myelin.channels": true, "myelin.state.get": true, "myelin.state.list": true}

// rpc answers one of the methods.
func (c *Conversation) rpc(id uint32, r *protocol.RPCRequest) error {
	method := c.host.rpcs[r.Method]
	if method == nil && c.host.asksRPC(r.Method) {
		return c.askRPC(id, r)
	}
	if method == nil {
		return channel.ErrMethodNotFound.With("rpc knows " + strings.Join(slices.Sorted(maps.Keys(c.host.rpcs)), ", "))
	}
	if !asks[r.Method] {
		out, err := method(c, r.Data)
		if err != nil {
			return err
		}
		return c.answerRPC(id, out)
	}
	data := slices.Clone(r.Data) // the frame goes before the answer comes
	return aside(c, id, func() (any, error) { return method(c, data) }, func(out any) error { return c.answerRPC(id, out) })
}

// answerRPC answers with what a method came to.
func (c *Conversation) answerRPC(id uint32, out any) error {
	b, err := json.Marshal(out)
	if err != nil {
		return channel.ErrInternal.Wrap(err)
	}
	c.send(&protocol.Reply{Id: id, Rpc: &protocol.RPCResult{Data: b}})
	return nil
}

func (c *Conversation) rpcTime([]byte) (any, error) {
	return struct {
		TimeMs int64 `json:"time_ms"`
	}{time.Now().UnixMilli()}, nil
}

// publishAck is the answer of rpc("myelin.publish").
type publishAck struct {
	Epoch     string `json:"epoch"`
	Offset    uint64 `json:"offset"`
	Duplicate bool   `json:"duplicate"`
}

func (c *Conversation) rpcPublish(data []byte) (any, error) {
	var r struct {
		Channel text              `json:"channel"`
		Data    json.RawMessage   `json:"data"`
		ID      text              `json:"id"`
		Tags    map[string]string `json:"tags"`
		Expires int64             `json:"expires_in_ms"`
	}
	if err := decodeStrict("myelin.publish", `{"channel","data","id","tags","expires_in_ms"}`, data, &r); err != nil {
		return nil, err
	}
	p := &channel.PublishRequest{Channel: string(r.Channel), Data: r.Data, ID: string(r.ID), Tags: r.Tags}
	if err := hub.ExpireIn(p, r.Expires); err != nil {
		return nil, err
	}
	ack, err := c.session.Publish(c.host.ctx, p)
	if err != nil {
		return nil, err
	}
	return &publishAck{ack.Epoch, ack.Offset, ack.Duplicate}, nil
}

// maxListed is how many channels rpc("myelin.channels") lists.
const maxListed = 1000

func (c *Conversation) rpcChannels(data []byte) (any, error) {
	if !c.host.opts.Introspect {
		return nil, channel.ErrPermissionDenied.With("clients may list channels only with --dev; the HTTP API's \"channels\" always can")
	}
	var r struct {
		Pattern string `json:"pattern"`
	}
	if len(data) > 0 {
		if err := decodeStrict("myelin.channels", `{"pattern"}`, data, &r); err != nil {
			return nil, err
		}
	}
	type entry struct {
		NumClients int `json:"num_clients"`
	}
	out := make(map[string]entry)
	found, err := c.host.hub.Channels(c.host.ctx, r.Pattern, maxListed)
	if err != nil {
		return nil, err
	}
	for name, n := range found {
		out[name] = entry{n}
	}
	return struct {
		Channels map[string]entry `json:"channels"`
	}{out}, nil
}
